//! One SQLite transaction that several changes share. Each is undone alone when it fails; all of them hear of the commit
//! before any is answered. Who takes part, and when it ends, is line.rs's.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;

use super::connection::{Manager, Pooled};
use super::{Db, Error, transaction};

/// How many changes share a commit.
const MOST: usize = 64;

/// An open transaction, with at least one change in it once the first has run. Undone when it is dropped.
pub struct Batch {
    connection: r2d2::PooledConnection<Manager>,
    fate: Arc<Fate>,
    began: Instant,
    /// Those that stand.
    changes: usize,
    /// Those that stand and those that were undone.
    members: usize,
    settled: bool,
}

/// Why a change is not written.
#[derive(Debug)]
pub enum Failure {
    /// By its own doing, or by what nobody else had a part in.
    Own(Error),
    /// Because the batch came to nothing, which may have been another's fault.
    Shared(Error),
}

impl Batch {
    /// Begins one; the connection may be waited for.
    pub fn begin(pool: &r2d2::Pool<Manager>, wait: Duration) -> Result<Self, Error> {
        let mut connection =
            pool.get_timeout(wait).map_err(|cause| Error::Unavailable(format!("no connection: {cause}")))?;
        let begun = transaction::begin(&mut connection.db);
        // Until it has proved itself, lest a panic leave a transaction open in the pool.
        connection.suspect = true;
        begun?;
        let fate = Arc::new(Fate::default());
        Ok(Self { connection, fate, began: Instant::now(), changes: 0, members: 0, settled: false })
    }

    /// Runs a change as a part of it. `Ok(Err(_))` is a change that failed and has been undone alone; after an `Err` the
    /// batch must be dropped.
    pub fn run<T>(
        &mut self,
        change: &mut impl FnMut(&mut Db) -> Result<T, Error>,
    ) -> Result<Result<T, Error>, Failure> {
        // The first needs no savepoint: if it fails, nothing is lost with the transaction.
        let joined = self.changes > 0;
        let Pooled { db, suspect, .. } = &mut *self.connection;
        let broken = |cause| Failure::Shared(Error::from(cause));
        if joined {
            transaction::savepoint(db).map_err(broken)?;
        }
        let outcome = change(db);
        self.members += 1;
        match &outcome {
            Ok(_) => {
                if joined {
                    transaction::release(db).map_err(broken)?;
                }
                self.changes += 1;
            }
            Err(_) if joined => transaction::return_to_savepoint(db).map_err(broken)?,
            Err(_) => {}
        }
        match outcome {
            Err(error) if !joined => {
                *suspect = matches!(error, Error::Unavailable(_));
                Err(Failure::Own(error))
            }
            outcome => Ok(outcome),
        }
    }

    /// Where its end will be told.
    pub fn fate(&self) -> Arc<Fate> {
        Arc::clone(&self.fate)
    }

    /// Whether only one change took part.
    pub fn is_of_one(&self) -> bool {
        self.members == 1
    }

    /// Whether it should end now, whoever waits.
    pub fn is_full(&self, longest: Duration) -> bool {
        self.members >= MOST || self.began.elapsed() >= longest
    }

    /// Ends it and gives the connection back; how many rows it changed. The fate is the caller's to tell.
    pub fn commit(mut self) -> Result<usize, Error> {
        let Pooled { db, rows_changed, .. } = &mut *self.connection;
        // A count that cannot be had is no reason to commit nothing.
        let total = rows_changed_by(db).unwrap_or(*rows_changed);
        let rows = total.saturating_sub(std::mem::replace(rows_changed, total));
        let outcome = transaction::commit(db, self.began);
        self.settled = true;
        self.connection.suspect = matches!(outcome, Err(Error::Unavailable(_)));
        outcome.map(|()| usize::try_from(rows).unwrap_or_default())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let Pooled { db, suspect, .. } = &mut *self.connection;
        if *suspect {
            // In the middle of a part, perhaps of a panic; the pool takes it back only to close it.
            let _ = db.batch_execute("ROLLBACK");
        } else {
            transaction::roll_back(db);
        }
        self.fate.tell(false);
    }
}

diesel::define_sql_function! {
    /// SQLite's count of the rows that a connection has changed since it was opened, those that go with others included.
    fn total_changes() -> BigInt;
}

fn rows_changed_by(db: &mut Db) -> Result<i64, DieselError> {
    match db {
        Db::Sqlite(db) => diesel::select(total_changes()).get_result(db),
        Db::Postgres(_) => Ok(0),
    }
}

/// Whether a batch was committed, as soon as that is known.
#[derive(Debug, Default)]
pub struct Fate {
    committed: Mutex<Option<bool>>,
    told: Condvar,
}

impl Fate {
    /// Tells everybody who waits.
    pub fn tell(&self, committed: bool) {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(committed);
        self.told.notify_all();
    }

    /// Waits until it is known; some thread that takes part is always on its way to the end of the batch.
    pub fn wait(&self) -> bool {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *committed {
                Some(known) => return known,
                None => committed = self.told.wait(committed).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
