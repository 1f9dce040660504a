//! Checkpoints of SQLite's write-ahead log (WAL), on a thread of its own, so that no writer waits for them: by itself,
//! SQLite checkpoints within the commit that finds the log long. When a checkpoint is due is wal_pressure.rs's to decide.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::wal_pressure::WalPressure;
use super::write_queue::WriteQueue;
use crate::store::connection;
use crate::store::connection::Db;
use crate::store::database_url::DatabaseUrl;
use crate::store::error::Error;

/// Pages (of 4 KiB) from which the log must restart from its beginning, which it does by itself only in a pause between
/// two writes: 16 MiB.
const RESTART_PAGES: i32 = 4000;

/// Changed rows that may be left for the last step of a checkpoint, during which writers wait.
const MAX_ROWS_IN_PAUSE: usize = 100;

/// How often the log is checkpointed before that step, while writers go on.
const MAX_PASSES: usize = 4;

/// How long that step waits for readers that still use the log.
const READERS_WAIT: Duration = Duration::from_millis(20);

/// The checkpoint thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Checkpointer {
    pressure: Arc<WalPressure>,
    thread: Option<JoinHandle<()>>,
}

#[derive(QueryableByName)]
struct CheckpointResult {
    #[diesel(sql_type = Integer)]
    log: i32,
}

impl Checkpointer {
    /// Starts the thread for the file that `queue` writes to.
    pub fn start(url: &DatabaseUrl, queue: Arc<WriteQueue>, pressure: Arc<WalPressure>) -> Result<Self, Error> {
        let (url, waker) = (url.clone(), Arc::clone(&pressure));
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || run(&url, &queue, &waker));
        // Without threads there is no service either: a limit of the system, not of the database.
        let thread = thread.map_err(Error::broken)?;
        Ok(Self { pressure, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.pressure.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(url: &DatabaseUrl, queue: &WriteQueue, pressure: &WalPressure) {
    let mut connected = None;
    while pressure.wait() {
        let outcome = match &mut connected {
            Some(db) => checkpoint_wal(db, queue, pressure),
            none => connection::open(url, READERS_WAIT)
                .map_err(Error::from)
                .and_then(|db| checkpoint_wal(none.insert(db), queue, pressure)),
        };
        if let Err(error) = outcome {
            // The next one retries, and SQLite's own checkpoint is the fallback.
            log::debug!(error:%; "the checkpoint failed");
            connected = None;
        }
    }
}

/// Checkpoints while writers go on, until few rows are left. If the log is long, it then pauses the writers and checkpoints
/// the rest, so that the next write restarts the log from its beginning.
fn checkpoint_wal(db: &mut Db, queue: &WriteQueue, pressure: &WalPressure) -> Result<(), Error> {
    if checkpoint(db, "PASSIVE")? < RESTART_PAGES {
        return Ok(());
    }
    for _ in 0..MAX_PASSES {
        if pressure.take_rows() < MAX_ROWS_IN_PAUSE {
            break;
        }
        checkpoint(db, "PASSIVE")?;
    }
    queue.pause_writers(|| checkpoint(db, "RESTART"))??;
    Ok(())
}

/// Runs a checkpoint in one of SQLite's modes; returns the number of pages in the log.
pub fn checkpoint(db: &mut Db, mode: &str) -> Result<i32, Error> {
    Ok(diesel::sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result::<CheckpointResult>(db)?.log)
}
