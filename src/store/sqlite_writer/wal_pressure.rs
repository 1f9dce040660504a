//! The trigger for checkpoints of SQLite's write-ahead log (WAL): counts the rows that commits changed and wakes the
//! checkpoint thread. How a checkpoint is made is wal_checkpoint.rs's to decide.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Changed rows between two checkpoints. A changed row is about one page in the log (its leaf), or a few with indexes:
/// SQLite's own default is a checkpoint each 1,000 pages. Rows and not commits are counted, since one clean-up changes
/// thousands in one commit.
const CHECKPOINT_ROWS: usize = 1000;

/// SQLite checkpoints by itself, within a commit, when the log has this many pages (64 MiB). It is the fallback for the case
/// that the checkpoint thread makes no progress: high, because the commit that does it, and with it every writer, waits.
pub const AUTOCHECKPOINT_PAGES: i32 = 16_000;

/// The rows that were changed since the last checkpoint.
#[derive(Debug, Default)]
pub struct WalPressure {
    state: Mutex<PressureState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PressureState {
    rows: usize,
    stopped: bool,
}

impl WalPressure {
    /// Adds the rows of a commit.
    pub fn record_rows(&self, rows: usize) {
        let mut state = self.lock();
        state.rows += rows;
        if state.rows >= CHECKPOINT_ROWS {
            self.changed.notify_one();
        }
    }

    /// Waits until a checkpoint is due, and resets the count. False when the thread must end.
    pub fn wait(&self) -> bool {
        let idle = |state: &mut PressureState| state.rows < CHECKPOINT_ROWS && !state.stopped;
        let mut state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        // Before the checkpoint: rows that are committed while it runs may not be part of it, and count towards the next.
        state.rows = 0;
        !state.stopped
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, PressureState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
