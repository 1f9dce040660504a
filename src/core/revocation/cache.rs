//! What is dead before its tokens expire, in memory: the view that every check reads, and how it keeps up with the table.
//! Which act revokes what is decided in sign_out.rs, sign_in.rs, account/password_change.rs and refresh.rs.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use papaya::HashMap;

use crate::clock::Timestamp;
use crate::core::account::identity_cache::IdentityCache;
use crate::core::error::InternalError;
use crate::core::token::claims::AccessClaims;
use crate::store::tables::revocations;
use crate::store::tables::revocations::RevocationRow;
use crate::store::{self, AccountId, SessionId, Store};

/// A clock that is set back by less is not worth reading everything again.
const CLOCK_JITTER: Duration = Duration::from_secs(5);

const PAGE: i64 = 1000;

/// A bar: numbers below it are dead, until the last token that it concerns has expired.
#[derive(Debug, Clone, Copy)]
struct Watermark {
    below: i64,
    until: Timestamp,
}

impl Watermark {
    /// Two bars on one thing: the higher, for as long as the longer one.
    fn and(self, other: Self) -> Self {
        Self { below: self.below.max(other.below), until: self.until.max(other.until) }
    }
}

/// A rebuilding, by number.
type Round = u32;

/// A bar on an account, and what of it the rebuilding under way has seen.
#[derive(Debug, Clone, Copy)]
struct AccountWatermark {
    /// What checks go by. Never lower than before while a rebuilding reads one row after the other: a token that is dead must
    /// not be believed between two of them.
    bar: Watermark,
    /// The rebuilding in which it was last seen…
    round: Round,
    /// …and as what: what is left of it once that is done.
    seen: Watermark,
}

impl AccountWatermark {
    fn joined_by(self, bar: Watermark, round: Round) -> Self {
        let seen = if self.round == round { self.seen.and(bar) } else { bar };
        Self { bar: self.bar.and(bar), round, seen }
    }

    fn settled(self) -> Self {
        Self { bar: self.seen, ..self }
    }
}

/// The revocations in memory. Readers take no lock that a writer can hold.
#[derive(Debug)]
pub struct View {
    sessions: HashMap<SessionId, Watermark>,
    accounts: HashMap<AccountId, AccountWatermark>,
    round: AtomicU32,
    rebuilding: Mutex<()>,
    started: Instant,
    fresh_at: AtomicU64,
    /// Bars of tokens that expired before this may be gone.
    forgotten: AtomicI64,
    /// What is known of accounts until a row says that one changed.
    pub(in crate::core) identity_cache: IdentityCache,
}

impl Default for View {
    fn default() -> Self {
        Self {
            sessions: HashMap::new(),
            accounts: HashMap::new(),
            round: AtomicU32::new(0),
            rebuilding: Mutex::new(()),
            started: Instant::now(),
            fresh_at: AtomicU64::new(0),
            forgotten: AtomicI64::new(i64::MIN),
            identity_cache: IdentityCache::default(),
        }
    }
}

impl View {
    /// Whether the token is dead, as far as memory knows.
    pub fn is_revoked(&self, claims: &AccessClaims) -> bool {
        let session = self.sessions.pin().get(&claims.session).is_some_and(|bar| claims.generation < bar.below);
        session || self.accounts.pin().get(&claims.account).is_some_and(|of| claims.epoch < of.bar.below)
    }

    /// Takes a row in. Taking it in twice, or late, changes nothing.
    pub fn apply(&self, row: &RevocationRow) {
        if let Some(session) = row.session_id {
            let bar = Watermark { below: row.generation.unwrap_or(i64::MAX), until: row.expires_at };
            self.sessions.pin().update_or_insert(session, |old| old.and(bar), bar);
        }
        if let (Some(account), Some(epoch)) = (row.account_id, row.epoch) {
            let bar = Watermark { below: epoch, until: row.expires_at };
            // Asked for at the last moment: a row that came under the number of a former rebuilding would take out of this
            // one what it has seen.
            let round = || self.round.load(Ordering::Acquire);
            let new = AccountWatermark { bar, round: round(), seen: bar };
            self.accounts.pin().update_or_insert(account, |old| old.joined_by(bar, round()), new);
            self.identity_cache.invalidate(account);
        }
    }

    /// Forgets what concerns only tokens that expired before `before`. Should the clock be set back behind it, they would
    /// seem to live: then the table is asked, which keeps them longer.
    pub fn forget(&self, before: Timestamp) {
        self.forgotten.fetch_max(before.as_millis(), Ordering::AcqRel);
        self.sessions.pin().retain(|_, bar| bar.until >= before);
        self.accounts.pin().retain(|_, of| of.bar.until >= before);
    }

    /// Whether a bar on this token may have been forgotten: it should have expired by then.
    pub fn may_have_forgotten(&self, claims: &AccessClaims) -> bool {
        claims.expires_at.as_millis() <= self.forgotten.load(Ordering::Acquire)
    }

    /// After a resync everything is known again.
    pub(in crate::core) fn forget_nothing(&self) {
        self.forgotten.store(i64::MIN, Ordering::Release);
    }

    /// Whether the clock was set back behind what was forgotten, by more than nothing to speak of.
    pub(in crate::core) fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.forgotten.load(Ordering::Acquire) > now.plus(CLOCK_JITTER).as_millis()
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

    /// Reads everything, from a database that may not be the one of before: a promoted replica can lack the last
    /// commits, and give their numbers to others. A session's bar stays in any case, for its id is no one else's. An
    /// account's bar stays only if the table has it, for an epoch that was lost will be reached again by a living session.
    ///
    /// Answers the greatest id, from which the next poll goes on.
    pub fn rebuild(
        &self,
        mut list_after: impl FnMut(i64, i64) -> Result<Vec<RevocationRow>, store::Error>,
    ) -> Result<i64, store::Error> {
        // One at a time: what another one reads meanwhile belongs to another round.
        let _alone = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let round = self.round.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        // What is known of accounts counts as fresh as soon as the rows are read, so it goes before; and what was read
        // meanwhile may still be from the database of before.
        self.identity_cache.invalidate_all();
        let last = self.read_on(0, &mut list_after)?;
        let accounts = self.accounts.pin();
        accounts.retain(|_, of| of.round == round);
        for account in accounts.keys() {
            accounts.update(*account, |of| of.settled());
        }
        self.identity_cache.invalidate_all();
        Ok(last)
    }

    /// Reads what the table has after an id. Answers the greatest id, and from when on the view is fresh.
    pub fn read_on(
        &self,
        mut after: i64,
        list_after: &mut impl FnMut(i64, i64) -> Result<Vec<RevocationRow>, store::Error>,
    ) -> Result<i64, store::Error> {
        let asked_at = Instant::now();
        loop {
            let rows = list_after(after, PAGE)?;
            rows.iter().for_each(|row| self.apply(row));
            match rows.last() {
                Some(last) => after = last.id,
                None => break,
            }
        }
        let fresh = asked_at.saturating_duration_since(self.started).as_millis();
        self.fresh_at.fetch_max(u64::try_from(fresh).unwrap_or(u64::MAX), Ordering::AcqRel);
        Ok(after)
    }
}

/// Asks the table about one token: what a check does when memory is too old to be believed.
pub fn is_revoked_in_table(store: &Store, claims: &AccessClaims) -> Result<bool, InternalError> {
    let rows = store.read(|db| revocations::list_concerning(db, claims.session, claims.account))?;
    let view = View::default();
    rows.iter().for_each(|row| view.apply(row));
    Ok(view.is_revoked(claims))
}

#[cfg(test)]
mod tests;
