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
use crate::store::error::StoreError;

/// Pages (of 4 KiB) from which the log must restart from its beginning: 16 MiB. It does so by itself only when a writer finds
/// all of it checkpointed, which never happens under load: without this the log grew to `AUTOCHECKPOINT_PAGES`. A restart
/// pauses the writers for some 20 ms, at 5,600 refreshes a second about once a second; fewer pages would mean more pauses.
const RESTART_PAGES: i32 = 4000;

/// How long a restart waits for readers that still use the log, while writers wait for it: the busy timeout of the thread's
/// connection. A reader that takes longer postpones the restart to the next checkpoint.
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
    pub fn start(url: &DatabaseUrl, queue: Arc<WriteQueue>, pressure: Arc<WalPressure>) -> Result<Self, StoreError> {
        let (url, waker) = (url.clone(), Arc::clone(&pressure));
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || run(&url, &queue, &waker));
        // Without threads there is no service either: a limit of the system, not of the database.
        let thread = thread.map_err(StoreError::broken)?;
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
            Some(db) => checkpoint_wal(db, queue),
            none => connection::open(url, READERS_WAIT)
                .map_err(StoreError::from)
                .and_then(|db| checkpoint_wal(none.insert(db), queue)),
        };
        if let Err(error) = outcome {
            // The next one retries, and SQLite's own checkpoint is the fallback.
            log::debug!(error:%; "the checkpoint failed");
            connected = None;
        }
    }
}

/// Checkpoints while writers go on. If the log is long, a second pass checkpoints what they wrote meanwhile, and then the
/// writers pause for the rest, so that the next write restarts the log from its beginning.
///
/// Measured at full load in two runs, the pause has a median of 17 and 26 ms with the second pass, 31 and 28 ms without it,
/// and 33 ms in both with up to four more passes: most of it is the sync of the database file. With 64 writers, throughput
/// of the three differs by less than 1 % in the longer run.
fn checkpoint_wal(db: &mut Db, queue: &WriteQueue) -> Result<(), StoreError> {
    if checkpoint(db, "PASSIVE")? >= RESTART_PAGES {
        checkpoint(db, "PASSIVE")?;
        queue.pause_writers(|| checkpoint(db, "RESTART"))??;
    }
    Ok(())
}

/// Runs a checkpoint in one of SQLite's modes; returns the number of pages in the log.
pub fn checkpoint(db: &mut Db, mode: &str) -> Result<i32, StoreError> {
    Ok(diesel::sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result::<CheckpointResult>(db)?.log)
}
