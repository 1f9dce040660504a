//! Housekeeping: a purge works in bounded batches, so that it never blocks writers for long, however many rows depend
//! on a session.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use doorward::store::tables::{accounts, opaque_tokens, sessions};
use doorward::store::{AccountId, AccountStatus, Db, StoreError};

use crate::refresh_rotation::{HOUR, NOW, account, session, tables_on};
use crate::support::process::until;
use crate::support::{Backend, on_both_backends, on_postgres};

on_both_backends!(a_session_with_many_tokens_is_purged_in_batches_after_its_tokens);
on_postgres!(two_nodes_purging_the_same_tokens_delete_no_session);

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Whether a backend waits for a lock in this database.
fn is_lock_awaited(db: &mut Db) -> bool {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    diesel::sql_query(query).get_result::<Waiting>(db).unwrap().count > 0
}

fn two_nodes_purging_the_same_tokens_delete_no_session() {
    let (_folder, store) = tables_on(Backend::Postgres);
    store.write(fill).unwrap();
    let before = NOW.plus(HOUR * 3);
    std::thread::scope(|scope| {
        store
            .write(|db| {
                sessions::purge(db, before, BATCH)?;
                let other = scope.spawn(|| store.write(|db| sessions::purge(db, before, BATCH)));
                // It has selected the same tokens and now waits for this transaction.
                until(Duration::from_secs(30), "the other node to wait", || {
                    (other.is_finished() || is_lock_awaited(db)).then_some(())
                });
                Ok(())
            })
            .unwrap();
    });
    let all_there = |db: &mut Db| {
        let mut left = 0;
        for number in 1..=3 {
            assert!(is_there(db, number)?, "session {number} went before its tokens");
            left += tokens_of(db, number)?;
        }
        Ok(left)
    };
    let left = store.read(all_there).unwrap();
    assert!((55..=65).contains(&left), "{left} of 75");
}

const OWNER: AccountId = AccountId(1);

/// Opaque tokens a session.
const TOKENS: u64 = 25;

/// Rows deleted in one batch.
const BATCH: i64 = 10;

fn digest(session: u128, token: u64) -> Vec<u8> {
    [session.to_be_bytes().as_slice(), &token.to_be_bytes()].concat()
}

/// Three expired sessions and a live one, each with the tokens of many refreshes.
fn fill(db: &mut Db) -> Result<(), StoreError> {
    accounts::insert(db, &account(OWNER.0, AccountStatus::Active))?;
    for number in 1..=4 {
        let mut row = session(number, OWNER);
        if number == 4 {
            row.expires_at = NOW.plus(HOUR * 100);
        }
        sessions::insert(db, &row)?;
        for token in 0..TOKENS {
            opaque_tokens::insert_if_absent(db, &digest(number, token), row.id, token.cast_signed())?;
        }
    }
    Ok(())
}

fn tokens_of(db: &mut Db, session: u128) -> Result<usize, StoreError> {
    let found: Result<Vec<_>, StoreError> =
        (0..TOKENS).map(|token| opaque_tokens::find(db, &digest(session, token))).collect();
    Ok(found?.into_iter().flatten().count())
}

fn is_there(db: &mut Db, number: u128) -> Result<bool, StoreError> {
    Ok(sessions::find(db, session(number, OWNER).id)?.is_some())
}

fn a_session_with_many_tokens_is_purged_in_batches_after_its_tokens(backend: Backend) {
    let (_folder, store) = tables_on(backend);
    store.write(fill).unwrap();
    let before = NOW.plus(HOUR * 3);
    let mut gone = 0;
    loop {
        let some = store.write(|db| sessions::purge(db, before, BATCH)).unwrap();
        assert!(some <= usize::try_from(BATCH).unwrap(), "{some} rows in one portion");
        gone += some;
        let left = |db: &mut Db| {
            for number in 1..=3 {
                let (tokens, there) = (tokens_of(db, number)?, is_there(db, number)?);
                assert!(there || tokens == 0, "{tokens} tokens outlive session {number}");
            }
            Ok(())
        };
        store.read(left).unwrap();
        if some == 0 {
            break;
        }
    }
    assert_eq!(gone, 3 * (usize::try_from(TOKENS).unwrap() + 1));
    let stays = |db: &mut Db| Ok((is_there(db, 4)?, tokens_of(db, 4)?));
    assert_eq!(store.read(stays).unwrap(), (true, usize::try_from(TOKENS).unwrap()));
}
