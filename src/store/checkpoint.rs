//! Carries SQLite's write-ahead log over into the database file on a thread of its own, so that no writer waits for it:
//! by itself, SQLite does it inside the commit that finds the log long.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::line::Line;
use super::{DatabaseUrl, Db, Error, connection};

/// Rows changed between two checkpoints; each is a page of the log or a few. Rows and not changes: a clean-up is one change.
const EVERY: usize = 1000;

/// A log of so many pages (of 4 KiB) must begin anew, which it does by itself only in a pause between two writes.
const LONG: i32 = 4000;

/// A log of so many pages is cut down by the writer itself, inside its commit, as if there were no thread for it.
pub const TOO_LONG: i32 = 16_000;

/// What may be left for the last step of a checkpoint, for which writers wait.
const FEW: usize = 100;

/// How often the log is gone through before that step, while writers go on.
const ROUNDS: usize = 4;

/// How long that step waits for readers that still use the log.
const READERS: Duration = Duration::from_millis(20);

/// Counts the rows that were changed, and wakes the thread.
#[derive(Debug, Default)]
pub struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rows: usize,
    stopped: bool,
}

/// The thread. Ends when it is dropped.
#[derive(Debug)]
pub struct Checkpointer {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

#[derive(QueryableByName)]
struct Log {
    #[diesel(sql_type = Integer)]
    log: i32,
}

impl Bell {
    /// Notes that so many changed rows were committed.
    pub fn count(&self, rows: usize) {
        let mut state = self.lock();
        state.rows += rows;
        if state.rows >= EVERY {
            self.rung.notify_one();
        }
    }

    /// Waits until there is something to do; false when there will be no more.
    fn wait(&self) -> bool {
        let idle = |state: &mut State| state.rows < EVERY && !state.stopped;
        !self.rung.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner).stopped
    }

    /// How many rows were changed since the last time this was asked.
    fn take(&self) -> usize {
        std::mem::take(&mut self.lock().rows)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkpointer {
    /// Starts the thread for the file whose writers stand in `line`.
    pub fn start(url: &DatabaseUrl, line: Arc<Line>, bell: Arc<Bell>) -> Result<Self, Error> {
        let (url, theirs) = (url.clone(), Arc::clone(&bell));
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || run(&url, &line, &theirs));
        let thread = thread.map_err(|cause| Error::Broken(format!("no thread for checkpoints: {cause}")))?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.bell.lock().stopped = true;
        self.bell.rung.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(url: &DatabaseUrl, line: &Line, bell: &Bell) {
    let mut connected = None;
    while bell.wait() {
        bell.take();
        let outcome = match &mut connected {
            Some(db) => carry_over(db, line, bell),
            none => connection::open(url, READERS)
                .map_err(|cause| Error::no_connection(&cause))
                .and_then(|db| carry_over(none.insert(db), line, bell)),
        };
        if let Err(error) = outcome {
            // Writers help themselves when the log grows too long.
            log::debug!(error:%; "no checkpoint");
            connected = None;
        }
    }
}

/// Beside the writers, until next to nothing is left; then, if the log is long, the rest while they wait, so that the
/// next of them begins it anew.
fn carry_over(db: &mut Db, line: &Line, bell: &Bell) -> Result<(), Error> {
    if checkpoint(db, "PASSIVE")? < LONG {
        return Ok(());
    }
    for _ in 0..ROUNDS {
        if bell.take() < FEW {
            break;
        }
        checkpoint(db, "PASSIVE")?;
    }
    line.pause(|| checkpoint(db, "RESTART"))??;
    Ok(())
}

/// How many pages the log has.
pub fn checkpoint(db: &mut Db, mode: &str) -> Result<i32, Error> {
    Ok(diesel::sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result::<Log>(db)?.log)
}
