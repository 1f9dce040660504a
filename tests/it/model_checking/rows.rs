//! Shared parts of the models: a session's row small enough to be hashed, its statements as one atomic step each, and
//! the production's own decisions on it. The statements mirror store/tables/sessions.rs; the decisions are called, not
//! mirrored. The exploration is checker.rs's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::error::Refusal;
use doorward::core::revocation::cache::RevocationCache;
use doorward::core::session::confirmations::PendingConfirmations;
use doorward::core::session::refresh::decide::{RotationRules, Verdict, decide, first_confirmation};
use doorward::core::token::claims::AccessClaims;
use doorward::core::{AccountId, AccountStatus, AccountUuid, EndReason, SessionId};
use doorward::store::tables::revocations::RevocationRow;
use doorward::store::tables::sessions::{AccountState, SessionRow};
use uuid::Uuid;

/// The time at which the models begin.
pub const START: Timestamp = Timestamp::from_seconds(1_000_000);

/// A mount that rotates, with `REFRESH_GRACE` and `REFRESH_LOST_AFTER`.
const RULES: RotationRules =
    RotationRules { rotates: true, grace: Duration::from_secs(30), lost_after: Duration::from_secs(60) };

const OWNER: AccountUuid = AccountUuid(Uuid::from_u128(1));

/// How a rotation is written to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// `UPDATE … WHERE generation = … AND ended_at IS NULL`, as store/tables/sessions.rs has it.
    CompareAndSet,
    /// Broken variant: the row is read, and written back whole.
    ReadThenWrite,
}

/// A session's row, as far as the protocol depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub generation: i64,
    pub parent: Option<i64>,
    pub min_generation: i64,
    pub epoch: i64,
    pub rotated_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub ended: Option<(Timestamp, EndReason)>,
}

impl Row {
    pub fn new(expires_at: Timestamp) -> Self {
        Self {
            generation: 0,
            parent: None,
            min_generation: 0,
            epoch: 0,
            rotated_at: START,
            confirmed_at: None,
            expires_at,
            ended: None,
        }
    }

    /// The production's decision on a refresh token of this session.
    pub fn verdict(&self, now: Timestamp, presented: i64, epoch: i64, confirmed: Option<Timestamp>) -> Verdict {
        self.verdict_by(&RULES, now, presented, epoch, confirmed)
    }

    /// The same, by other settings.
    pub fn verdict_by(
        &self,
        rules: &RotationRules,
        now: Timestamp,
        presented: i64,
        epoch: i64,
        confirmed: Option<Timestamp>,
    ) -> Verdict {
        let account = AccountState {
            uuid: OWNER,
            epoch,
            status: AccountStatus::Active,
            role: String::new(),
            must_change_password: false,
        };
        decide(now, presented, &self.in_full(), &account, confirmed, rules)
    }

    /// When the current generation was first used, by the production's own code.
    pub fn first_confirmation(&self, seen_here: Option<Timestamp>) -> Option<Timestamp> {
        first_confirmation(&self.in_full(), seen_here)
    }

    /// `sessions::rotate`: whether the row was updated.
    pub fn rotate(&mut self, read: &Self, now: Timestamp, writing: Writing) -> bool {
        let current = self.generation == read.generation && self.ended.is_none();
        let rotated = match writing {
            Writing::CompareAndSet if !current => return false,
            Writing::CompareAndSet => *self,
            Writing::ReadThenWrite => *read,
        };
        let generation = read.generation + 1;
        *self = Self { generation, parent: Some(read.generation), confirmed_at: None, rotated_at: now, ..rotated };
        true
    }

    /// `sessions::replace_unconfirmed`: whether the row was updated.
    pub fn replace_unconfirmed(&mut self, read: &Self, parent: i64, now: Timestamp) -> bool {
        let lost = self.parent == Some(parent) && self.confirmed_at.is_none();
        let is_replaced = lost && self.rotate(read, now, Writing::CompareAndSet);
        if is_replaced {
            self.parent = Some(parent);
        }
        is_replaced
    }

    /// `sessions::rotate_without_parent`, for the account's new epoch: whether the row was updated.
    pub fn rotate_without_parent(&mut self, read: &Self, epoch: i64, now: Timestamp) -> bool {
        let is_rotated = self.rotate(read, now, Writing::CompareAndSet);
        if is_rotated {
            *self = Self { parent: None, min_generation: self.generation, epoch, ..*self };
        }
        is_rotated
    }

    /// `sessions::continue_in_epoch`: whether the session was live.
    pub fn continue_in_epoch(&mut self, epoch: i64) -> bool {
        let live = self.ended.is_none() && self.epoch == epoch - 1;
        if live {
            self.epoch = epoch;
        }
        live
    }

    /// `sessions::touch`: whether the session is still at this generation.
    pub fn touch(&mut self, generation: i64, confirmed: Option<Timestamp>) -> bool {
        let current = self.generation == generation && self.ended.is_none();
        if current {
            self.confirmed_at = self.confirmed_at.or(confirmed);
        }
        current
    }

    /// `sessions::confirm`.
    pub fn confirm(&mut self, generation: i64, at: Timestamp) {
        if self.generation == generation {
            self.confirmed_at.get_or_insert(at);
        }
    }

    /// `sessions::end`: whether the session was live.
    pub fn end(&mut self, at: Timestamp, why: EndReason) -> bool {
        let alive = self.ended.is_none();
        if alive {
            (self.ended, self.expires_at) = (Some((at, why)), at);
        }
        alive
    }

    fn in_full(&self) -> SessionRow {
        SessionRow {
            id: session_id(0),
            account_id: AccountId(1),
            dialect: String::new(),
            epoch: self.epoch,
            generation: self.generation,
            min_generation: self.min_generation,
            key_id: String::new(),
            rotated_at: self.rotated_at,
            confirmed_at: self.confirmed_at,
            created_at: START,
            last_seen_at: self.rotated_at,
            idle_expires_at: self.expires_at,
            expires_at: self.expires_at,
            access_expires_at: self.expires_at,
            persistent: true,
            device_id: None,
            device_name: None,
            user_agent: None,
            address: None,
            ended_at: self.ended.map(|(at, _)| at),
            end_reason: self.ended.map(|(_, why)| why),
            parent: self.parent,
            access_ttl: 0,
        }
    }
}

/// Whether the decision is answered with tokens.
pub fn gives_tokens(verdict: &Verdict) -> bool {
    !matches!(verdict, Verdict::Reuse | Verdict::Refuse(_))
}

/// Whether the answer clears the browser's cookies.
pub fn clears_cookies(refusal: Refusal) -> bool {
    refusal.of_refresh().ends_session()
}

fn session_id(number: u8) -> SessionId {
    SessionId(Uuid::from_u128(u128::from(number)))
}

/// What is revoked before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dead {
    /// All tokens of a session.
    Session(u8),
    /// The account's tokens of lower epochs, but those of the one session.
    Epochs(i64, Option<u8>),
}

impl Dead {
    pub fn until(self, until: Timestamp) -> RevocationRow {
        let (session, epoch, except) = match self {
            Self::Session(session) => (Some(session), None, None),
            Self::Epochs(epoch, except) => (None, Some(epoch), except),
        };
        RevocationRow {
            id: 1,
            session_id: session.map(session_id),
            generation: None,
            account_uuid: epoch.map(|_| OWNER),
            epoch,
            except_session_id: except.map(session_id),
            created_at: START,
            expires_at: until,
        }
    }
}

/// An access token: its session, generation and epoch.
pub type Access = (u8, i64, i64);

/// The production's revocation cache, with this row in it.
pub fn cache_of(row: &RevocationRow) -> RevocationCache {
    let cache = RevocationCache::default();
    cache.apply(row);
    cache
}

/// Whether a revocation cache with these entries revokes the token, by the production's own code.
pub fn is_revoked(known: &[Dead], token: Access) -> bool {
    memoized(&REVOKED, (known.to_vec(), token), || {
        let view = RevocationCache::default();
        known.iter().for_each(|dead| view.apply(&dead.until(START)));
        view.is_revoked(&claims_of(token))
    })
}

/// When the current generation was confirmed, after this confirmation, by the production's own code.
pub fn seen(mark: (i64, Timestamp), current: i64) -> Option<Timestamp> {
    memoized(&SEEN, (mark, current), || {
        let confirmations = PendingConfirmations::default();
        confirmations.record(session_id(0), mark.0, mark.1);
        confirmations.first_seen(session_id(0), current)
    })
}

type Asked<Q, A> = RefCell<HashMap<Q, A>>;

thread_local! {
    static REVOKED: Asked<(Vec<Dead>, Access), bool> = RefCell::default();
    static SEEN: Asked<((i64, Timestamp), i64), Option<Timestamp>> = RefCell::default();
}

/// Memoises the production's answers: the states of a model ask the same few questions repeatedly.
fn memoized<Q: Hash + Eq, A: Clone>(
    cache: &'static std::thread::LocalKey<Asked<Q, A>>,
    question: Q,
    compute: impl FnOnce() -> A,
) -> A {
    cache.with_borrow_mut(|cache| cache.entry(question).or_insert_with(compute).clone())
}

/// The claims of an access token that a revocation depends on.
fn claims_of((session, generation, epoch): Access) -> AccessClaims {
    AccessClaims {
        account: OWNER,
        session: session_id(session),
        generation,
        epoch,
        role: String::new(),
        must_change_password: false,
        issued_at: START,
        expires_at: START,
        id: String::new(),
    }
}
