//! Refresh rotation in a single SQL statement: it updates exactly the rows that the decision in code would rotate, for
//! every combination of the values on which either depends.

use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::session::refresh::decide::{RotationRules, Verdict, decide};
use doorward::metrics::Metrics;
use doorward::store::tables::accounts;
use doorward::store::tables::sessions;
use doorward::store::tables::sessions::rotation::{self, Rotation};
use doorward::store::tables::sessions::{AccountState, SessionRow};
use doorward::store::{AccountId, AccountStatus, AccountUuid, Db, EndReason, SessionId, Store, StoreError};
use uuid::Uuid;

use crate::support::{Backend, on_both_backends};

on_both_backends!(the_sql_statement_and_the_decision_in_code_agree_on_every_row);

/// The time of the decision.
pub const NOW: Timestamp = Timestamp::from_seconds(1_795_262_400);
/// An hour.
pub const HOUR: Duration = Duration::from_secs(3600);
const GENERATION: i64 = 7;
const GRACE: Duration = Duration::from_secs(30);

/// An account with its number in every field.
pub fn account(number: i64, status: AccountStatus) -> accounts::NewAccount {
    accounts::NewAccount {
        id: Some(AccountId(number)),
        uuid: AccountUuid(Uuid::from_u128(number.unsigned_abs().into())),
        email: None,
        email_canonical: None,
        email_verified: false,
        username: Some(format!("person{number}")),
        username_canonical: Some(format!("person{number}")),
        name: None,
        name_canonical: None,
        first_name: None,
        last_name: None,
        gender: None,
        image: None,
        phone: None,
        role: format!("ROLE{number}"),
        permissions: String::new(),
        stats: "{}".to_owned(),
        profile: "{}".to_owned(),
        status,
        password: None,
        pin: None,
        must_change_password: number % 2 == 1,
        last_sign_in_at: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// A session of that account in the middle of its lifetime.
pub fn session(number: u128, account_id: AccountId) -> SessionRow {
    SessionRow {
        id: SessionId(Uuid::from_u128(number)),
        account_id,
        dialect: "native".to_owned(),
        epoch: 1,
        generation: GENERATION,
        min_generation: 0,
        key_id: "old".to_owned(),
        rotated_at: NOW.minus(HOUR),
        confirmed_at: Some(NOW.minus(HOUR)),
        created_at: NOW.minus(HOUR),
        last_seen_at: NOW.minus(HOUR),
        idle_expires_at: NOW.plus(HOUR),
        expires_at: NOW.plus(HOUR * 2),
        access_expires_at: NOW,
        persistent: true,
        device_id: None,
        device_name: None,
        user_agent: None,
        address: None,
        ended_at: None,
        end_reason: None,
        parent: Some(GENERATION - 1),
        access_ttl: 900_000,
    }
}

/// Every session that the statement or the decision can distinguish, of these accounts.
fn combinations(owners: &[AccountId]) -> Vec<SessionRow> {
    let tick = Duration::from_millis(1);
    let ends = [NOW.minus(HOUR), NOW, NOW.plus(tick), NOW.plus(HOUR), NOW.plus(HOUR * 100)];
    let mut rows = vec![];
    for owner in owners {
        for idle_expires_at in ends {
            for expires_at in ends {
                for epoch in [0, 1] {
                    for min_generation in [0, GENERATION, GENERATION + 1] {
                        for ended_at in [None, Some(NOW.minus(HOUR))] {
                            for access_expires_at in [NOW, NOW.plus(HOUR * 50)] {
                                let number = 1 + u128::try_from(rows.len()).unwrap();
                                let end_reason = ended_at.map(|_| EndReason::SignOut);
                                rows.push(SessionRow {
                                    idle_expires_at,
                                    expires_at,
                                    epoch,
                                    min_generation,
                                    ended_at,
                                    end_reason,
                                    access_expires_at,
                                    ..session(number, *owner)
                                });
                            }
                        }
                    }
                }
            }
        }
    }
    rows
}

/// Sessions of every age that decides whether a rotation is due, of both kinds of generation and of two dialects.
fn ages(first: usize, owner: AccountId) -> Vec<SessionRow> {
    let tick = Duration::from_millis(1);
    let mut rows = vec![];
    for rotated_at in [NOW.minus(GRACE), NOW.minus(GRACE + tick), NOW.minus(HOUR)] {
        for confirmed_at in [None, Some(NOW.minus(GRACE * 2)), Some(NOW.minus(GRACE * 2 + tick)), Some(NOW.minus(HOUR))]
        {
            for generation in [0, GENERATION] {
                for dialect in ["native", "flat"] {
                    let number = 1 + u128::try_from(first + rows.len()).unwrap();
                    let dialect = dialect.to_owned();
                    rows.push(SessionRow { rotated_at, confirmed_at, generation, dialect, ..session(number, owner) });
                }
            }
        }
    }
    rows
}

/// The expected row, if a token of this generation rotates it.
fn expected(row: &SessionRow, state: &AccountState, presented: i64, to: &Rotation) -> Option<SessionRow> {
    let rules = RotationRules { rotates: true, grace: GRACE, lost_after: GRACE };
    let verdict = decide(NOW, presented, row, state, row.confirmed_at, &rules);
    (verdict == Verdict::Rotate && row.dialect == to.dialect).then(|| SessionRow {
        generation: row.generation + 1,
        parent: Some(row.generation),
        confirmed_at: None,
        rotated_at: NOW,
        last_seen_at: NOW,
        key_id: to.key_id.clone(),
        idle_expires_at: to.idle_expires_at.min(row.expires_at),
        access_expires_at: to.access_expires_at.min(row.expires_at).max(row.access_expires_at),
        ..row.clone()
    })
}

fn compare(db: &mut Db, row: &SessionRow, presented: i64, to: &Rotation) -> Result<bool, StoreError> {
    sessions::insert(db, row)?;
    let (before, state) = sessions::find(db, row.id)?.unwrap();
    let owner = account(row.account_id.0, AccountStatus::Active).uuid;
    let stranger = account(row.account_id.0 % 4 + 1, AccountStatus::Active).uuid;
    assert!(rotation::rotate_live(db, row.id, stranger, (presented, None), to)?.is_none(), "another's: {row:?}");
    let rotated = rotation::rotate_live(db, row.id, owner, (presented, None), to)?;
    let should = expected(&before, &state, presented, to);
    let (after, _) = sessions::find(db, row.id)?.unwrap();
    let returned = rotated.as_ref().map(|(row, _)| row.clone());
    assert_eq!(format!("{returned:?}"), format!("{should:?}"), "{before:?} {state:?}");
    assert_eq!(format!("{after:?}"), format!("{:?}", should.as_ref().unwrap_or(&before)));
    if let Some((_, returned)) = &rotated {
        assert_eq!(*returned, state);
    }
    Ok(rotated.is_some())
}

/// Empty tables, and the folder that holds them if they are in a file.
pub fn tables_on(backend: Backend) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let url = match backend {
        Backend::Sqlite => format!("sqlite://{}", folder.path().join("doorward.db").display()),
        Backend::Postgres => crate::support::postgres::new_database(),
    };
    let store = Store::open(&url.parse().unwrap(), 2, Duration::from_secs(60), Metrics::new().unwrap()).unwrap();
    store.migrate().unwrap();
    (folder, store)
}

fn the_sql_statement_and_the_decision_in_code_agree_on_every_row(backend: Backend) {
    let (_folder, store) = tables_on(backend);
    let statuses = [AccountStatus::Active, AccountStatus::Inactive, AccountStatus::Locked, AccountStatus::Suspended];
    let owners: Vec<AccountId> = (1..=4).map(AccountId).collect();
    store
        .write(|db| {
            for (owner, status) in owners.iter().zip(statuses) {
                accounts::insert(db, &account(owner.0, status))?;
                accounts::raise_epoch(db, *owner, 0, Timestamp::from_seconds(0))?;
            }
            Ok(())
        })
        .unwrap();
    let to = Rotation {
        dialect: "native".to_owned(),
        made_before: NOW.minus(GRACE),
        confirmed_before: NOW.minus(GRACE * 2),
        at: NOW,
        key_id: "new".to_owned(),
        idle_expires_at: NOW.plus(HOUR * 30),
        access_expires_at: NOW.plus(HOUR / 4),
    };
    let mut rows = combinations(&owners);
    rows.extend(ages(rows.len(), owners[0]));
    for behind in [1, 0, -1] {
        let mut rotations = 0;
        for some in rows.chunks(200) {
            let done = store.write(|db| {
                let outcomes: Result<Vec<bool>, StoreError> =
                    some.iter().map(|row| compare(db, row, row.generation - behind, &to)).collect();
                let rotated = outcomes?.into_iter().filter(|rotated| *rotated).count();
                sessions::purge(db, NOW.plus(HOUR * 1000), 400)?;
                Ok(rotated)
            });
            rotations += done.unwrap();
        }
        // One status, one epoch, two revocation levels, not ended, three live idle expiries by three live expiries, two
        // stored access expiries. Of the ages, the one that is settled, and all of generation 0.
        let due = 2 * 3 * 3 * 2 + 2 * 2 + 3 * 4;
        assert_eq!(rotations, if behind == 0 { due } else { 0 });
    }
}
