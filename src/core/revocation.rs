//! What is dead before its tokens expire, in memory: the view that every check reads, and how it keeps up with the table.
//! Which act revokes what is decided in sign_out.rs, sign_in.rs, account/password_change.rs and refresh.rs.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use papaya::HashMap;

use super::refusal::Fault;
use super::token::AccessClaims;
use crate::clock::Timestamp;
use crate::store::revocations::{self, NewRevocation, RevocationRow};
use crate::store::{self, AccountId, Db, LONGEST_TRANSACTION, SessionId, Store};

/// How long a row is kept after the last token that it concerns: a clock set back by less revives nothing.
pub const SLACK: Duration = Duration::from_hours(24);

/// How far back a poll looks: beyond the longest transaction, with room for its commit.
const OVERLAP: Duration = LONGEST_TRANSACTION.saturating_add(Duration::from_secs(4));

const PAGE: i64 = 1000;

/// A bar: numbers below it are dead, until the last token that it concerns has expired.
#[derive(Debug, Clone, Copy)]
struct Bar {
    below: i64,
    until: Timestamp,
}

impl Bar {
    /// Two bars on one thing: the higher, for as long as the longer one.
    fn and(self, other: Self) -> Self {
        Self { below: self.below.max(other.below), until: self.until.max(other.until) }
    }
}

/// The revocations in memory. Readers take no lock that a writer can hold.
#[derive(Debug)]
pub struct View {
    sessions: HashMap<SessionId, Bar>,
    accounts: HashMap<AccountId, Bar>,
    started: Instant,
    fresh_at: AtomicU64,
    marks: Mutex<VecDeque<(Instant, i64)>>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            sessions: HashMap::new(),
            accounts: HashMap::new(),
            started: Instant::now(),
            fresh_at: AtomicU64::new(0),
            marks: Mutex::new(VecDeque::new()),
        }
    }
}

impl View {
    /// Whether the token is dead, as far as memory knows.
    pub fn is_revoked(&self, claims: &AccessClaims) -> bool {
        let session = self.sessions.pin().get(&claims.session).is_some_and(|bar| claims.generation < bar.below);
        session || self.accounts.pin().get(&claims.account).is_some_and(|bar| claims.epoch < bar.below)
    }

    /// Takes a row in. Taking it in twice, or late, changes nothing.
    pub fn apply(&self, row: &RevocationRow) {
        if let Some(session) = row.session_id {
            let bar = Bar { below: row.generation.unwrap_or(i64::MAX), until: row.expires_at };
            self.sessions.pin().update_or_insert(session, |old| old.and(bar), bar);
        }
        if let (Some(account), Some(epoch)) = (row.account_id, row.epoch) {
            let bar = Bar { below: epoch, until: row.expires_at };
            self.accounts.pin().update_or_insert(account, |old| old.and(bar), bar);
        }
    }

    /// Forgets what has been of no use since `before`.
    pub fn forget(&self, before: Timestamp) {
        self.sessions.pin().retain(|_, bar| bar.until >= before);
        self.accounts.pin().retain(|_, bar| bar.until >= before);
    }

    /// How many sessions and accounts it holds.
    pub fn len(&self) -> usize {
        self.sessions.pin().len() + self.accounts.pin().len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long ago the view last agreed with the table, by a clock that nobody sets.
    pub fn age(&self) -> Duration {
        let now = self.started.elapsed();
        now.saturating_sub(Duration::from_millis(self.fresh_at.load(Ordering::Acquire)))
    }

    /// Reads what the table has that memory may lack. The first time that is everything.
    ///
    /// Ids do not become visible in order on PostgreSQL, so each poll begins where a poll of `OVERLAP` ago
    /// ended: whatever had an id by then is visible by now. SQLite has one writer, so there the last poll's end will do.
    pub fn poll(&self, store: &Store) -> Result<(), store::Error> {
        let asked_at = Instant::now();
        let overlap = if store.commits_in_order() { Duration::ZERO } else { OVERLAP };
        let mut after = self.safe_mark(asked_at, overlap);
        loop {
            let rows = store.read(|db| revocations::list_after(db, after, PAGE))?;
            rows.iter().for_each(|row| self.apply(row));
            match rows.last() {
                Some(last) => after = last.id,
                None => break,
            }
        }
        self.remember(asked_at, after);
        let fresh = asked_at.saturating_duration_since(self.started).as_millis();
        self.fresh_at.fetch_max(u64::try_from(fresh).unwrap_or(u64::MAX), Ordering::AcqRel);
        Ok(())
    }

    /// The greatest id that was known long enough ago; 0 while there is none.
    fn safe_mark(&self, now: Instant, overlap: Duration) -> i64 {
        let Ok(mut marks) = self.marks.lock() else { return 0 };
        let old = |(at, _): &(Instant, i64)| now.duration_since(*at) >= overlap;
        while marks.get(1).is_some_and(old) {
            marks.pop_front();
        }
        marks.front().filter(|mark| old(mark)).map_or(0, |(_, id)| *id)
    }

    fn remember(&self, at: Instant, id: i64) {
        if let Ok(mut marks) = self.marks.lock() {
            marks.push_back((at, id));
        }
    }
}

/// Revokes a whole session, or, given a generation, its tokens of lower ones.
pub fn revoke_session(
    db: &mut Db,
    session: SessionId,
    generation: Option<i64>,
    now: Timestamp,
    until: Timestamp,
) -> Result<RevocationRow, store::Error> {
    let row = NewRevocation {
        session_id: Some(session),
        generation,
        account_id: None,
        epoch: None,
        created_at: now,
        expires_at: until,
    };
    revocations::insert(db, &row)
}

/// Revokes an account's tokens of epochs below this one.
pub fn revoke_account(
    db: &mut Db,
    account: AccountId,
    epoch: i64,
    now: Timestamp,
    until: Timestamp,
) -> Result<RevocationRow, store::Error> {
    let row = NewRevocation {
        session_id: None,
        generation: None,
        account_id: Some(account),
        epoch: Some(epoch),
        created_at: now,
        expires_at: until,
    };
    revocations::insert(db, &row)
}

/// Asks the table about one token: what a check does when memory is too old to be believed.
pub fn is_revoked_in_table(store: &Store, claims: &AccessClaims) -> Result<bool, Fault> {
    let rows = store.read(|db| revocations::list_concerning(db, claims.session, claims.account))?;
    let view = View::default();
    rows.iter().for_each(|row| view.apply(row));
    Ok(view.is_revoked(claims))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Id128;
    use uuid::Uuid;

    fn token(session: u128, generation: i64, account: i64, epoch: i64) -> AccessClaims {
        let at = Timestamp::from_seconds(0);
        AccessClaims {
            account: AccountId(account),
            session: Id128(Uuid::from_u128(session)),
            generation,
            epoch,
            role: String::new(),
            issued_at: at,
            expires_at: at,
            id: String::new(),
        }
    }

    fn row(session: Option<u128>, generation: Option<i64>, account: Option<(i64, i64)>, until: i64) -> RevocationRow {
        RevocationRow {
            id: 1,
            session_id: session.map(|id| Id128(Uuid::from_u128(id))),
            generation,
            account_id: account.map(|(id, _)| AccountId(id)),
            epoch: account.map(|(_, epoch)| epoch),
            created_at: Timestamp::from_seconds(0),
            expires_at: Timestamp::from_seconds(until),
        }
    }

    #[test]
    fn a_session_or_its_older_generations_are_dead() {
        let view = View::default();
        view.apply(&row(Some(1), None, None, 9));
        view.apply(&row(Some(2), Some(5), None, 9));
        assert!(view.is_revoked(&token(1, 99, 0, 0)));
        assert!(view.is_revoked(&token(2, 4, 0, 0)) && !view.is_revoked(&token(2, 5, 0, 0)));
        assert!(!view.is_revoked(&token(3, 0, 0, 0)));
    }

    #[test]
    fn a_late_row_takes_nothing_back() {
        let view = View::default();
        view.apply(&row(None, None, Some((7, 3)), 9));
        view.apply(&row(None, None, Some((7, 2)), 5));
        assert!(view.is_revoked(&token(1, 0, 7, 2)) && !view.is_revoked(&token(1, 0, 7, 3)));
        view.forget(Timestamp::from_seconds(9));
        assert!(view.is_revoked(&token(1, 0, 7, 2)));
        view.forget(Timestamp::from_seconds(10));
        assert!(view.is_empty());
    }
}
