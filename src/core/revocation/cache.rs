//! Revocation cache (deny-list): which sessions and accounts have tokens that are invalid before they expire, in memory, and
//! how the cache is resynchronised with the `revocations` table. Every check of an access token reads it.
//! Which act revokes what is decided in session/end.rs, credential/ and account.rs; when to read the table is feed.rs's and
//! maintenance/housekeeping.rs's; what a check does with a stale cache is session.rs's.
//!
//! An entry is a watermark: a session's tokens of lower generations are revoked, an account's tokens of lower epochs. It
//! passes through these states:
//!
//! **Applied.** A row comes from this node's own write (before the request is answered), from a notification, or from a
//! poll. The three may deliver a row twice or out of order, so applying one only ever raises a watermark and its expiry.
//!
//! **Confirmed by a resync.** After a reconnection the database may be another one: a promoted replica can lack the last
//! commits. A resync reads the table under a new generation. Until it ends, an account's watermark is the higher one
//! of before and of the rows read so far, since a revoked token must not be accepted between two pages. When it ends, an
//! account keeps only what this generation has seen: an epoch that was lost with the old server is going to be given
//! to a live session again. A resync that fails lowers no watermark. Session watermarks always stay: session
//! ids are random, so no other session can meet them.
//!
//! **Pruned.** Once the last token that a watermark applies to has expired, the entry is dropped, and the time up to which
//! this happened is recorded. Should the clock be set back behind it, expired tokens look valid again; `may_have_pruned`
//! then sends the check to the table, which keeps its rows longer.
//!
//! **Never read.** A resync reads only rows whose tokens can be alive by this node's clock, as if the others had been pruned:
//! the table may keep a million dead ones. A row expires with the last token that it applies to, and the `exp` of a token is
//! strict, so this node's clock alone decides which tokens are alive. After a clock step the whole table is read.

use std::cmp;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use papaya::HashMap;

use crate::clock::Timestamp;
use crate::core::account::identity_cache::IdentityCache;
use crate::core::error::InternalError;
use crate::core::token::claims::AccessClaims;
use crate::store::tables::revocations;
use crate::store::tables::revocations::{RevocationRow, Selection};
use crate::store::{self, AccountUuid, SessionId, Store};

/// A clock that steps back by less does not cause a resync.
const CLOCK_JITTER: Duration = Duration::from_secs(5);

/// How long a row may have expired and is still read: as far as the clocks of two nodes may differ (the maximum of CLOCK_SKEW).
/// The row of an account without a live session expires when it is written, by the writer's clock, and it invalidates the
/// account's cached identity.
const EXPIRED_MARGIN: Duration = Duration::from_mins(1);

/// Rows that one query of a resync or a poll returns at most.
const PAGE_SIZE: i64 = 1000;

/// Generations or epochs below `minimum` are revoked, until the last token that this applies to has expired.
#[derive(Debug, Clone, Copy)]
struct Watermark {
    minimum: i64,
    expires_at: Timestamp,
}

impl Watermark {
    /// Two watermarks of one session or account: the higher, for the longer time.
    fn merge(self, other: Self) -> Self {
        Self { minimum: self.minimum.max(other.minimum), expires_at: self.expires_at.max(other.expires_at) }
    }
}

/// Epochs below `minimum` are revoked, but for the tokens of one session, until the last token that this applies to has expired.
#[derive(Debug, Clone, Copy)]
struct EpochWatermark {
    minimum: i64,
    except: Option<SessionId>,
    /// Below this the tokens of the excepted session are revoked too: by a row that does not except it.
    floor: i64,
    expires_at: Timestamp,
}

impl EpochWatermark {
    fn applies_to(&self, claims: &AccessClaims) -> bool {
        claims.epoch < if self.except == Some(claims.session) { self.floor } else { self.minimum }
    }

    /// Of two watermarks of an account the higher one has the last word on which session is excepted: a session that a change
    /// of the password excepted ends with the next one, unless that excepts it again. Two that are equally high are one row, or
    /// of two databases, and then except only what both do.
    fn merge(self, other: Self) -> Self {
        let except = match other.minimum.cmp(&self.minimum) {
            cmp::Ordering::Less => self.except,
            cmp::Ordering::Equal => self.except.filter(|session| other.except == Some(*session)),
            cmp::Ordering::Greater => other.except,
        };
        let floor_of = |one: &Self| if one.except == except { one.floor } else { one.minimum };
        Self {
            minimum: self.minimum.max(other.minimum),
            except,
            floor: floor_of(&self).max(floor_of(&other)),
            expires_at: self.expires_at.max(other.expires_at),
        }
    }
}

/// Numbers the full resyncs of this process.
type ResyncGeneration = u32;

/// The watermark of an account, and what of it the current resync has confirmed.
#[derive(Debug, Clone, Copy)]
struct AccountWatermark {
    /// What checks compare with. It never falls during a resync.
    effective: EpochWatermark,
    /// The resync that last saw a row of this account.
    generation: ResyncGeneration,
    /// The rows which that resync has seen; takes the place of `effective` when it ends.
    confirmed: EpochWatermark,
}

impl AccountWatermark {
    fn merge(self, row: EpochWatermark, generation: ResyncGeneration) -> Self {
        let confirmed = if self.generation == generation { self.confirmed.merge(row) } else { row };
        Self { effective: self.effective.merge(row), generation, confirmed }
    }

    fn after_resync(self) -> Self {
        Self { effective: self.confirmed, ..self }
    }
}

/// The revocations in memory. Readers take no lock that a writer can hold.
#[derive(Debug)]
pub struct RevocationCache {
    sessions: HashMap<SessionId, Watermark>,
    accounts: HashMap<AccountUuid, AccountWatermark>,
    generation: AtomicU32,
    resync: Mutex<()>,
    started: Instant,
    /// Milliseconds from `started` to when the last read of the table began.
    synced_at: AtomicU64,
    /// Watermarks that expired before this time may be gone.
    pruned_before: AtomicI64,
    /// Account data, invalidated by the same rows that revoke.
    pub(in crate::core) identity_cache: IdentityCache,
}

impl Default for RevocationCache {
    fn default() -> Self {
        Self {
            sessions: HashMap::new(),
            accounts: HashMap::new(),
            generation: AtomicU32::new(0),
            resync: Mutex::new(()),
            started: Instant::now(),
            synced_at: AtomicU64::new(0),
            pruned_before: AtomicI64::new(i64::MIN),
            identity_cache: IdentityCache::default(),
        }
    }
}

impl RevocationCache {
    /// Whether the token is revoked, as far as this node knows.
    pub fn is_revoked(&self, claims: &AccessClaims) -> bool {
        let session = self.sessions.pin().get(&claims.session).is_some_and(|mark| claims.generation < mark.minimum);
        session || self.accounts.pin().get(&claims.account).is_some_and(|of| of.effective.applies_to(claims))
    }

    /// Adds a row. Rows that arrive twice or out of order change nothing.
    pub fn apply(&self, row: &RevocationRow) {
        if let Some(session) = row.session_id {
            let mark = Watermark { minimum: row.generation.unwrap_or(i64::MAX), expires_at: row.expires_at };
            self.sessions.pin().update_or_insert(session, |old| old.merge(mark), mark);
        }
        if let (Some(account), Some(epoch)) = (row.account_uuid, row.epoch) {
            let mark = EpochWatermark {
                minimum: epoch,
                except: row.except_session_id,
                floor: i64::MIN,
                expires_at: row.expires_at,
            };
            // Loaded inside the update: under the number of an earlier resync the row would reset what the current one has
            // confirmed.
            let generation = || self.generation.load(Ordering::Acquire);
            let new = AccountWatermark { effective: mark, generation: generation(), confirmed: mark };
            self.accounts.pin().update_or_insert(account, |old| old.merge(mark, generation()), new);
            self.identity_cache.invalidate(account);
        }
    }

    /// Drops watermarks that only apply to tokens which expired before `before`.
    pub fn prune(&self, before: Timestamp) {
        // Recorded first: a check in between must already be sent to the table.
        self.pruned_before.fetch_max(before.as_millis(), Ordering::AcqRel);
        self.sessions.pin().retain(|_, mark| mark.expires_at >= before);
        self.accounts.pin().retain(|_, of| of.effective.expires_at >= before);
    }

    /// Whether a watermark that applies to this token may have been pruned: the token had expired by then.
    pub fn may_have_pruned(&self, claims: &AccessClaims) -> bool {
        claims.expires_at.as_millis() <= self.pruned_before.load(Ordering::Acquire)
    }

    /// Whether the clock was set back behind the last pruning, by more than jitter.
    pub(in crate::core) fn is_pruned_beyond(&self, now: Timestamp) -> bool {
        self.pruned_before.load(Ordering::Acquire) > now.plus(CLOCK_JITTER).as_millis()
    }

    /// The earliest expiry of the rows that a resync reads.
    pub(in crate::core) fn earliest_expiry(now: Timestamp) -> Timestamp {
        now.minus(EXPIRED_MARGIN)
    }

    /// The number of sessions and accounts with a watermark.
    pub fn len(&self) -> usize {
        self.sessions.pin().len() + self.accounts.pin().len()
    }

    /// Whether there is no watermark.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long ago the cache last agreed with the table, by the monotonic clock.
    pub fn age(&self) -> Duration {
        let now = self.started.elapsed();
        now.saturating_sub(Duration::from_millis(self.synced_at.load(Ordering::Acquire)))
    }

    /// Resync, also against another database than before (see above), with the rows that expire at `since` or later; `None`
    /// reads the whole table, after which nothing counts as pruned. Returns the greatest id, from which the next poll continues.
    pub fn resync(
        &self,
        since: Option<Timestamp>,
        mut read_page: impl FnMut(Selection, i64) -> Result<Vec<RevocationRow>, store::StoreError>,
    ) -> Result<i64, store::StoreError> {
        // One at a time: rows that a second resync reads would count for the wrong generation.
        let _exclusive = self.resync.lock().unwrap_or_else(PoisonError::into_inner);
        // Recorded first, as in `prune`.
        self.pruned_before.fetch_max(since.map_or(i64::MIN, Timestamp::as_millis), Ordering::AcqRel);
        let generation = self.generation.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        // Reading marks the cache as fresh, the identities with it, so they are invalidated before; and again after, as
        // identities that were cached meanwhile may still come from the old database.
        self.identity_cache.invalidate_all();
        let last = self.read_unexpired(since.unwrap_or(Timestamp::from_millis(i64::MIN)), &mut read_page)?;
        let accounts = self.accounts.pin();
        accounts.retain(|_, of| of.generation == generation);
        for account in accounts.keys() {
            accounts.update(*account, |of| of.after_resync());
        }
        if since.is_none() {
            self.pruned_before.store(i64::MIN, Ordering::Release);
        }
        self.identity_cache.invalidate_all();
        Ok(last)
    }

    /// Reads the rows after an id, or, without one, again those that expire at `since` or later. That must not be later
    /// than the `since` of the last resync: what that left out counts as pruned. Returns the greatest id.
    pub fn catch_up(
        &self,
        after: Option<i64>,
        since: Timestamp,
        read_page: &mut impl FnMut(Selection, i64) -> Result<Vec<RevocationRow>, store::StoreError>,
    ) -> Result<i64, store::StoreError> {
        let Some(after) = after else { return self.read_unexpired(since, read_page) };
        let mut last = after;
        self.read_pages(Selection::InsertedAfter(after), read_page, |row| {
            last = row.id;
            Selection::InsertedAfter(row.id)
        })?;
        Ok(last)
    }

    /// Reads the rows that expire at `since` or later. Returns the greatest id of all rows.
    fn read_unexpired(
        &self,
        since: Timestamp,
        read_page: &mut impl FnMut(Selection, i64) -> Result<Vec<RevocationRow>, store::StoreError>,
    ) -> Result<i64, store::StoreError> {
        // Before the pages, which are not in the order of ids: the poll that continues here reads what they miss.
        let last = read_page(Selection::Newest, 1)?.last().map_or(0, |row| row.id);
        let next = |row: &RevocationRow| Selection::ExpiringAfter(row.expires_at, row.id);
        self.read_pages(Selection::ExpiringAfter(since, i64::MIN), read_page, next)?;
        Ok(last)
    }

    /// Applies page after page, each after the last row of the one before, and records how fresh the cache now is.
    fn read_pages(
        &self,
        mut page: Selection,
        read_page: &mut impl FnMut(Selection, i64) -> Result<Vec<RevocationRow>, store::StoreError>,
        mut next: impl FnMut(&RevocationRow) -> Selection,
    ) -> Result<(), store::StoreError> {
        // Fresh as of the beginning: a row that is committed while the pages are read may be missed.
        let began = Instant::now();
        loop {
            let rows = read_page(page, PAGE_SIZE)?;
            rows.iter().for_each(|row| self.apply(row));
            match rows.last() {
                Some(last) => page = next(last),
                None => break,
            }
        }
        let synced_at = began.saturating_duration_since(self.started).as_millis();
        self.synced_at.fetch_max(u64::try_from(synced_at).unwrap_or(u64::MAX), Ordering::AcqRel);
        Ok(())
    }
}

/// Checks one token against the table: for a check whose cache is too old.
pub fn is_revoked_in_table(store: &Store, claims: &AccessClaims) -> Result<bool, InternalError> {
    let rows = store.read(|db| revocations::list_concerning(db, claims.session, claims.account))?;
    let cache = RevocationCache::default();
    rows.iter().for_each(|row| cache.apply(row));
    Ok(cache.is_revoked(claims))
}

#[cfg(test)]
mod tests;
