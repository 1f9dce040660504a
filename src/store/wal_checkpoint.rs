//! Checkpoints of SQLite's write-ahead log (WAL), on a thread of its own, so that no writer waits for them: by itself,
//! SQLite checkpoints within the commit that finds the log long. When a checkpoint is due is wal_pressure.rs's to decide.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::connection;
use super::wal_pressure::WalPressure;
use super::write_queue::WriteQueue;
use crate::store::connection::{DatabaseUrl, Db};
use crate::store::error::Error;

/// Pages (of 4 KiB) from which the log must restart from its beginning, which it does by itself only in a pause between
/// two writes: 16 MiB.
const RESTART_PAGES: i32 = 4000;

/// Changed rows that may be left for the last step of a checkpoint, for which writers wait.
const MAX_ROWS_IN_PAUSE: usize = 100;

/// How often the log is checkpointed before that step, while writers go on.
const MAX_PASSES: usize = 4;

/// How long that step waits for readers that still use the log.
const READERS_WAIT: Duration = Duration::from_millis(20);

/// The thread. It ends when this is dropped.
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
        let thread = thread.map_err(|cause| Error::Broken(format!("no thread for checkpoints: {cause}")))?;
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
                .map_err(|cause| Error::no_connection(&cause))
                .and_then(|db| checkpoint_wal(none.insert(db), queue, pressure)),
        };
        if let Err(error) = outcome {
            // The next one tries again, and SQLite's own checkpoint is the fallback.
            log::debug!(error:%; "no checkpoint");
            connected = None;
        }
    }
}

/// Checkpoints beside the writers until next to nothing is left; then, if the log is long, the rest while they wait, so
/// that the next of them restarts the log from its beginning.
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

/// Runs a checkpoint in one of SQLite's modes; how many pages the log has.
pub fn checkpoint(db: &mut Db, mode: &str) -> Result<i32, Error> {
    Ok(diesel::sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result::<CheckpointResult>(db)?.log)
}
