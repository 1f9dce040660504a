//! Group commit: one SQLite transaction that several changes share. It decides what one change's failure means for the
//! others, and reports the commit's outcome to all members before any of them returns. Which changes form a group,
//! and when it ends, is write_queue.rs's to decide.
//!
//! A group goes through four states: *begun* (a transaction is open, no change has run), *open* (at least one change has
//! been applied), *committing*, and *resolved* (committed or rolled back; the connection is back in the pool). Dropping a
//! group in any state but the last rolls it back and resolves it as aborted: a panic cannot leave its members waiting.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;

use crate::store::connection::{Db, Manager, Pooled};
use crate::store::error::StoreError;
use crate::store::transaction;

/// How many changes share a commit at most. The sync is divided by the members: beyond 64 there is little left to save,
/// and the first member waits for the last.
const MAX_MEMBERS: usize = 64;

/// An open transaction. Rolled back when it is dropped.
pub struct GroupTransaction {
    connection: r2d2::PooledConnection<Manager>,
    outcome: Arc<CommitOutcome>,
    began: Instant,
    /// Changes that succeeded, whose rows the commit will write.
    applied: usize,
    /// Changes that ran, with those that failed and were undone.
    members: usize,
    finished: bool,
}

/// Why the rows of a change are not written.
#[derive(Debug)]
pub enum WriteError {
    /// The change itself failed, or it was alone in its transaction. Running it again would not help.
    Change(StoreError),
    /// The transaction of the whole group was rolled back, perhaps because of another member. Run again alone, the change
    /// may succeed.
    GroupAborted(StoreError),
}

impl GroupTransaction {
    /// Begins a transaction; waits at most `wait` for the connection.
    pub fn begin(pool: &r2d2::Pool<Manager>, wait: Duration) -> Result<Self, StoreError> {
        let mut connection = pool.get_timeout(wait)?;
        let begun = transaction::begin(&mut connection.db);
        // Counts as broken until the commit: if a panic unwinds through the group, the pool closes the connection, and
        // no open transaction survives in it.
        connection.broken = true;
        begun?;
        let outcome = Arc::new(CommitOutcome::default());
        Ok(Self { connection, outcome, began: Instant::now(), applied: 0, members: 0, finished: false })
    }

    /// Runs a change as a member of the group. `Ok(Err(_))` is a change that failed and was undone alone: the group stays
    /// open. After an `Err` the group must be dropped.
    ///
    /// A change is undone alone by its savepoint. The first one needs none, since a rollback loses nothing else.
    pub fn run<T>(
        &mut self,
        change: &mut impl FnMut(&mut Db) -> Result<T, StoreError>,
    ) -> Result<Result<T, StoreError>, WriteError> {
        let in_savepoint = self.applied > 0;
        let Pooled { db, broken, .. } = &mut *self.connection;
        // A savepoint that cannot be set, released or rolled back leaves the transaction in an unknown state.
        let aborted = |error| WriteError::GroupAborted(StoreError::from(error));
        if in_savepoint {
            transaction::savepoint(db).map_err(aborted)?;
        }
        let outcome = change(db);
        self.members += 1;
        match &outcome {
            Ok(_) => {
                if in_savepoint {
                    transaction::release(db).map_err(aborted)?;
                }
                self.applied += 1;
            }
            Err(_) if in_savepoint => transaction::roll_back_to_savepoint(db).map_err(aborted)?,
            Err(_) => {}
        }
        match outcome {
            Err(error) if !in_savepoint => {
                // A refused statement does not make the one writing connection suspect; an outage (a lock, a full disk) does.
                *broken = matches!(error, StoreError::Unavailable { .. });
                Err(WriteError::Change(error))
            }
            outcome => Ok(outcome),
        }
    }

    /// The latch on which its members wait for the outcome.
    pub fn commit_outcome(&self) -> Arc<CommitOutcome> {
        Arc::clone(&self.outcome)
    }

    /// Whether no other change took part, so that a failed commit is this one's own failure.
    pub fn has_one_member(&self) -> bool {
        self.members == 1
    }

    /// Whether it takes no further member.
    pub fn is_full(&self, max_age: Duration) -> bool {
        self.members >= MAX_MEMBERS || self.began.elapsed() >= max_age
    }

    /// Commits, gives the connection back to the pool and returns the number of changed rows. The caller resolves the
    /// outcome.
    ///
    /// A commit to a file that was deleted or replaced would be acknowledged and lost, so it is refused.
    pub fn commit(mut self) -> Result<usize, StoreError> {
        let Pooled { db, file, rows_changed, .. } = &mut *self.connection;
        // The count only decides when the log is checkpointed: without one the commit goes on.
        let total = rows_changed_by(db).unwrap_or(*rows_changed);
        let rows = total.saturating_sub(std::mem::replace(rows_changed, total));
        let committed = match file.check() {
            Ok(()) => transaction::commit(db, self.began),
            Err(error) => {
                transaction::roll_back(db);
                Err(error)
            }
        };
        // Also after a failed commit, which rolled back: the caller resolves the outcome, once it has passed on the right.
        self.finished = true;
        self.connection.broken = matches!(committed, Err(StoreError::Unavailable { .. }));
        committed.map(|()| usize::try_from(rows).unwrap_or_default())
    }
}

impl Drop for GroupTransaction {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let Pooled { db, broken, .. } = &mut *self.connection;
        if *broken {
            // Within a change, perhaps by a panic: diesel's count of savepoints may be wrong, so the transaction ends by
            // hand, and the pool closes the connection.
            let _ = db.batch_execute("ROLLBACK");
        } else {
            transaction::roll_back(db);
        }
        self.outcome.resolve(false);
    }
}

diesel::define_sql_function! {
    /// SQLite's count of the rows that a connection has changed since it was opened, by triggers and cascades too.
    fn total_changes() -> BigInt;
}

fn rows_changed_by(db: &mut Db) -> Result<i64, DieselError> {
    match db {
        Db::Sqlite(db) => diesel::select(total_changes()).get_result(db),
        Db::Postgres(_) => Ok(0),
    }
}

/// A one-shot latch: whether a group was committed, for all its members to wait for.
#[derive(Debug, Default)]
pub struct CommitOutcome {
    committed: Mutex<Option<bool>>,
    resolved: Condvar,
}

impl CommitOutcome {
    /// Wakes all members.
    pub fn resolve(&self, committed: bool) {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(committed);
        self.resolved.notify_all();
    }

    /// Waits for the end of the group. Needs no timeout: some member's thread is always on its way to it.
    pub fn wait(&self) -> bool {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let resolved = self.resolved.wait_while(committed, |committed| committed.is_none());
        resolved.unwrap_or_else(PoisonError::into_inner).unwrap_or_default()
    }
}
