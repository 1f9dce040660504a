//! The write queue: a single-writer queue with group commit before SQLite's one writing connection. It decides which change
//! runs next and which changes share a commit; what a shared transaction is, and how one change in it is undone, is
//! group_commit.rs's.
//!
//! # Protocol
//!
//! A durable commit costs a sync of the log, many times what a change costs. So changes that wait at the same time
//! share one transaction (a *group*), and each of them runs on its caller's own thread, where it may borrow from its
//! caller. The open transaction moves from thread to thread; there is no writer thread. A change goes through these states:
//!
//! 1. **Waiting.** If the queue is idle, the change starts a new transaction immediately. Otherwise it waits in order of
//!    arrival, at most `max_wait`, and can leave the queue until it is granted the connection.
//! 2. **Granted.** `NewTransaction`: the previous group has ended, and this change starts the next. `JoinTransaction`: the
//!    change gets the open transaction of the group.
//! 3. **Running.** The first change of a group runs without a savepoint: if it fails, the transaction is rolled back, and
//!    nothing else is lost. Each further one runs in a savepoint and is undone alone when it fails.
//! 4. **Hand-off** (leader hand-off). If another change waits and the group is neither full nor too old, the thread gives
//!    the transaction and the right to write to that change, and then waits for the group's outcome.
//! 5. **Commit.** A thread that finds no change to hand off to is the last of the group, and commits for all of it. A change
//!    that meets no other therefore commits without a wait, alone.
//! 6. **Resolved.** The outcome reaches all members of the group. If the commit succeeded, each returns what its own change
//!    returned. If not, no member's rows were written, and the cause may be another's (a deferred constraint, a full disk, a
//!    panic): each runs once more, at the head of the queue, in a transaction that it shares with no other.
//!
//! Three invariants follow. A caller gets `Ok` only after the commit that holds its rows. A group always has a running
//! thread on its way to the commit or the rollback, so waiting for the outcome needs no timeout. And a change that fails,
//! even by a panic, harms no other change.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::group_commit::{GroupTransaction, WriteError};
use super::wal_pressure::WalPressure;
use crate::store::connection::{Db, Manager};
use crate::store::error::{OutageCause, StoreError};

/// A group that is older takes no further member: its first member waits for its last. Two milliseconds are in the order of
/// one sync of the log, so membership at most about doubles the wait of the first.
const MAX_GROUP_AGE: Duration = Duration::from_millis(2);

/// The queue before the one writing connection.
pub struct WriteQueue {
    pool: r2d2::Pool<Manager>,
    max_wait: Duration,
    max_group_age: Duration,
    state: Mutex<QueueState>,
    wal_pressure: Arc<WalPressure>,
}

#[derive(Default)]
struct QueueState {
    /// Whether a thread holds the right to write. While it is false, no change waits.
    ///
    /// A right that passes to a waiter leaves this true: if it became false in between, a change that has just arrived could
    /// overtake those that wait.
    busy: bool,
    waiting: VecDeque<Arc<Waiter>>,
}

/// Whether a change may share its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grouping {
    Shared,
    Exclusive,
}

/// A change that waits, and what it has been granted. Each has a condition variable of its own, so that a grant wakes one
/// thread and not all that wait.
struct Waiter {
    grouping: Grouping,
    grant: Mutex<Option<Grant>>,
    granted: Condvar,
}

/// The right to write, with the transaction to write in.
enum Grant {
    NewTransaction,
    JoinTransaction(Box<GroupTransaction>),
}

/// The right to write. Dropping it passes the right to the next waiter, with a new transaction.
struct WriterGuard<'a> {
    queue: &'a WriteQueue,
    /// False once the right was handed off together with the transaction.
    owns_right: bool,
}

impl WriteQueue {
    /// A queue for the one connection of `pool`. No change waits longer than `max_wait` for its grant.
    pub fn new(pool: r2d2::Pool<Manager>, max_wait: Duration, wal_pressure: Arc<WalPressure>) -> Self {
        Self { pool, max_wait, max_group_age: MAX_GROUP_AGE, state: Mutex::default(), wal_pressure }
    }

    /// Runs a change: all of it is durable when this returns `Ok`, and none of it is written otherwise.
    pub fn write<T>(&self, change: &mut impl FnMut(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // One deadline for both attempts: the caller's request has one timeout.
        let deadline = Instant::now() + self.max_wait;
        let mut outcome = self.run_in_group(change, deadline, Grouping::Shared);
        if matches!(outcome, Err(WriteError::GroupAborted(_))) {
            // The change that made the commit fail now fails alone.
            outcome = self.run_in_group(change, deadline, Grouping::Exclusive);
        }
        outcome.map_err(|(WriteError::Change(error) | WriteError::GroupAborted(error))| error)
    }

    /// Runs `action` while no transaction is open and every writer waits.
    pub fn pause_writers<T>(&self, action: impl FnOnce() -> T) -> Result<T, StoreError> {
        let (_guard, _) = self.acquire(Instant::now() + self.max_wait, Grouping::Exclusive)?;
        Ok(action())
    }

    /// States 1 to 6 of the protocol, once.
    fn run_in_group<T>(
        &self,
        change: &mut impl FnMut(&mut Db) -> Result<T, StoreError>,
        deadline: Instant,
        grouping: Grouping,
    ) -> Result<T, WriteError> {
        // The guard is declared before the transaction, so it is dropped after it: a group that is rolled back on the way
        // out has given its connection back before the next group takes it from the pool.
        let (mut guard, grant) = self.acquire(deadline, grouping).map_err(WriteError::Change)?;
        let mut group = match grant {
            Grant::JoinTransaction(group) => group,
            Grant::NewTransaction => {
                Box::new(GroupTransaction::begin(&self.pool, time_left(deadline)).map_err(WriteError::Change)?)
            }
        };
        // On an error the group is dropped here, which rolls it back and tells its other members to run again.
        let outcome = group.run(change)?;
        let commit_outcome = group.commit_outcome();
        let Some(group) = guard.hand_off(group, grouping) else {
            // A change that was undone alone waits too: the row it failed for (a taken name) may be another member's, and is
            // there only if the commit succeeds.
            return if commit_outcome.wait() { outcome.map_err(WriteError::Change) } else { Err(group_aborted()) };
        };
        let alone = group.has_one_member();
        let committed = group.commit();
        // Before the members are woken up, so that the next group starts while they do.
        drop(guard);
        commit_outcome.resolve(committed.is_ok());
        match committed {
            Ok(rows) => {
                self.wal_pressure.record_rows(rows);
                outcome.map_err(WriteError::Change)
            }
            Err(error) if alone => Err(WriteError::Change(error)),
            Err(error) => Err(WriteError::GroupAborted(error)),
        }
    }

    /// Waits for the right to write.
    fn acquire(&self, deadline: Instant, grouping: Grouping) -> Result<(WriterGuard<'_>, Grant), StoreError> {
        let mut state = self.lock();
        if !state.busy {
            state.busy = true;
            return Ok((WriterGuard { queue: self, owns_right: true }, Grant::NewTransaction));
        }
        let waiter = Arc::new(Waiter { grouping, grant: Mutex::default(), granted: Condvar::new() });
        match grouping {
            Grouping::Shared => state.waiting.push_back(Arc::clone(&waiter)),
            // A change that runs again has waited already.
            Grouping::Exclusive => state.waiting.push_front(Arc::clone(&waiter)),
        }
        drop(state);
        let grant = waiter.wait(deadline).or_else(|| self.withdraw(&waiter));
        let grant =
            grant.ok_or_else(|| StoreError::unavailable(OutageCause::Timeout, "other writers took too long"))?;
        Ok((WriterGuard { queue: self, owns_right: true }, grant))
    }

    /// Leaves the queue after a timeout. A waiter that is no longer in the queue was granted the right in the meantime
    /// (grants are made under the queue's lock) and must use it: no other thread would pass it on.
    fn withdraw(&self, waiter: &Arc<Waiter>) -> Option<Grant> {
        let mut state = self.lock();
        match state.waiting.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            Some(at) => {
                state.waiting.remove(at);
                None
            }
            None => waiter.lock().take(),
        }
    }

    /// Poisoning is ignored, here and below: no change runs under a lock, so a change that panics leaves no state half-changed.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn group_aborted() -> WriteError {
    // The cause is with the thread that ended the group; its members retry alone and then meet it themselves, if it lasts.
    WriteError::GroupAborted(StoreError::unavailable(OutageCause::Storage, "the group's transaction was not committed"))
}

impl WriterGuard<'_> {
    /// Gives the open transaction and the right to write to the next waiter. Returns the transaction if it must end here:
    /// no change waits, the group is full or too old, or the change at either side shares with no other.
    fn hand_off(&mut self, group: Box<GroupTransaction>, grouping: Grouping) -> Option<Box<GroupTransaction>> {
        if grouping == Grouping::Exclusive || group.is_full(self.queue.max_group_age) {
            return Some(group);
        }
        let mut state = self.queue.lock();
        if state.waiting.front().is_none_or(|next| next.grouping == Grouping::Exclusive) {
            return Some(group);
        }
        let Some(next) = state.waiting.pop_front() else { return Some(group) };
        self.owns_right = false;
        next.grant(Grant::JoinTransaction(group));
        None
    }
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        if !self.owns_right {
            return;
        }
        let mut state = self.queue.lock();
        match state.waiting.pop_front() {
            Some(next) => next.grant(Grant::NewTransaction),
            None => state.busy = false,
        }
    }
}

impl Waiter {
    fn lock(&self) -> MutexGuard<'_, Option<Grant>> {
        self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grant(&self, grant: Grant) {
        *self.lock() = Some(grant);
        self.granted.notify_one();
    }

    /// The grant, or `None` at the deadline.
    fn wait(&self, deadline: Instant) -> Option<Grant> {
        let waited = self.granted.wait_timeout_while(self.lock(), time_left(deadline), |grant| grant.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

#[cfg(test)]
mod tests;
