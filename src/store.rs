//! Rows: the pool, and the only doors to it: `read`, `write` and, for a write of one statement, `write_one_statement`. What a
//! row means is decided in `core`.
//!
//! SQLite gets one writing connection, since it has one writer anyway and connections that queue for its lock stall for
//! seconds, beside several readers, and writers that wait for it together commit together; PostgreSQL gets one pool.
//! Query functions take a connection and never begin a transaction. They ask for the row of a unique key by `get_result`:
//! `first` adds `LIMIT ?`, and SQLite parses a statement anew whenever that is bound.

mod availability;
mod connection;
mod error;
pub mod listen;
mod migrate;
pub mod sqlite_writer;
mod statement_cache;
pub mod tables;
mod transaction;

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;

pub use connection::{DatabaseUrl, Db};
pub use error::Error;
use error::LOST_A_RACE;
pub use tables::columns::{AccountId, AccountStatus, AccountUuid, EndReason, PendingSignUpId, SessionId};
pub use transaction::LONGEST_TRANSACTION;

use crate::metrics::Metrics;
use availability::Availability;
use connection::{Manager, Pooled};
use sqlite_writer::wal_checkpoint::Checkpointer;
use sqlite_writer::wal_pressure::WalPressure;
use sqlite_writer::write_queue::WriteQueue;

/// How long a start waits for other nodes that start.
const START_WAIT: Duration = Duration::from_secs(60);

/// How often a PostgreSQL transaction that lost a deadlock or a serialisation race is tried again.
const TRIES: usize = 4;

/// The rows of one database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: r2d2::Pool<Manager>,
    writers: Writers,
    url: DatabaseUrl,
    lock_wait: Duration,
    availability: Arc<Availability>,
}

#[derive(Clone)]
enum Writers {
    /// PostgreSQL has many writers, and groups their commits itself.
    Pooled(r2d2::Pool<Manager>),
    /// SQLite has one writer.
    Queued(Arc<WriteQueue>, #[expect(dead_code, reason = "stops with the last clone")] Arc<Checkpointer>),
}

impl Writers {
    fn queued(url: &DatabaseUrl, pool: r2d2::Pool<Manager>, max_wait: Duration) -> Result<Self, Error> {
        let wal_pressure = Arc::new(WalPressure::default());
        let queue = Arc::new(WriteQueue::new(pool, max_wait, Arc::clone(&wal_pressure)));
        let checkpointer = Checkpointer::start(url, Arc::clone(&queue), wal_pressure)?;
        Ok(Self::Queued(queue, Arc::new(checkpointer)))
    }
}

impl Store {
    /// Opens the pool: fails when the database cannot be reached now. A request has `timeout` for all it asks here.
    pub fn open(url: &DatabaseUrl, connections: u32, timeout: Duration, metrics: Metrics) -> Result<Self, Error> {
        // Waiting for a connection or for a lock leaves some of it for the work.
        let wait = timeout.mul_f32(0.75);
        let build = |size: u32, idle: u32| {
            r2d2::Pool::builder()
                .max_size(size)
                .min_idle(Some(idle))
                .connection_timeout(wait)
                .error_handler(Box::new(r2d2::NopErrorHandler))
                .build_unchecked(Manager { url: url.clone(), lock_wait: wait })
        };
        connection::create_private(url).map_err(|cause| Error::Unavailable(cause.to_string()))?;
        retry_while_locked(|| connect(url))?;
        // One more than there are threads for requests, for housekeeping.
        let readers = build(connections.max(1) + 1, 1);
        let writers = match url.file() {
            Some(_) => Writers::queued(url, build(1, 1), wait)?,
            None => Writers::Pooled(readers.clone()),
        };
        let availability = Arc::new(Availability::new(metrics));
        Ok(Self { readers, writers, url: url.clone(), lock_wait: wait, availability })
    }

    /// Where the rows are.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Whether rows become visible in the order of their ids: with one writer they do.
    pub fn is_single_writer(&self) -> bool {
        self.url.file().is_some()
    }

    /// Brings the tables to this version; names what it ran.
    pub fn migrate(&self) -> Result<Vec<String>, Error> {
        retry_while_locked(|| migrate::run(&mut connect(&self.url)?))
    }

    /// Whether anybody is registered.
    pub fn has_accounts(&self) -> Result<bool, Error> {
        self.read(|db| Ok(!tables::accounts::list(db, AccountId(i64::MIN), 1)?.is_empty()))
    }

    /// How many migrations are missing.
    pub fn pending_migrations(&self) -> Result<usize, Error> {
        retry_while_locked(|| migrate::pending(&mut connect(&self.url)?))
    }

    /// Connects a listener of its own.
    pub fn listen(&self) -> Result<listen::Listener, Error> {
        listen::Listener::open(&self.url, self.lock_wait)
    }

    /// Whether the last read or the last write found the database unavailable.
    pub fn is_unavailable(&self) -> bool {
        self.availability.is_unavailable()
    }

    /// Records that a caller stopped waiting for a result.
    pub fn record_timeout(&self) {
        self.availability.record_timeout();
    }

    /// Asks, and commits a transaction that changes nothing: whether the disk has room, the lock is free, the server is no
    /// replica.
    pub fn probe(&self) -> Result<(), Error> {
        self.read(|db| tables::accounts::find(db, AccountId(0)).map(|_| ()))?;
        self.write(|db| match db {
            // Writes the header page, to the value that it has.
            Db::Sqlite(db) => Ok(db.batch_execute("PRAGMA user_version = 0")?),
            Db::Postgres(db) => Ok(db.batch_execute("SELECT pg_current_xact_id()")?),
        })
    }

    /// Asks with one or more statements that change nothing and need no common snapshot.
    pub fn read<T>(&self, mut ask: impl FnMut(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
        let began = Instant::now();
        let mut answer = with(&self.readers, &mut ask);
        if matches!(answer, Err(Error::Unavailable(_))) {
            // A connection that a restarted server cut says so only when used; asking twice does no harm.
            answer = with(&self.readers, &mut ask);
        }
        self.availability.record_read(began, &answer);
        answer
    }

    /// Changes rows in one transaction: all of it is there when this returns `Ok`, none of it otherwise. Run again
    /// from its beginning when PostgreSQL made it lose a race, or SQLite could not commit it together with what others
    /// wrote, so it must have no effect but on rows.
    pub fn write<T>(&self, mut change: impl FnMut(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
        self.change(&mut change, |db, change| transaction::run(db, change))
    }

    /// As `write`, for a change that is one statement: PostgreSQL makes that a transaction by itself, and beginning and
    /// committing one would be two more round trips.
    pub fn write_one_statement<T>(&self, mut change: impl FnMut(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
        self.change(&mut change, |db, change| change(db))
    }

    fn change<T, C: FnMut(&mut Db) -> Result<T, Error>>(
        &self,
        change: &mut C,
        on_postgres: impl Fn(&mut Db, &mut C) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let outcome = match &self.writers {
            Writers::Pooled(pool) => try_again(|| with(pool, |db| on_postgres(db, change))),
            Writers::Queued(queue, _) => queue.write(change),
        };
        self.availability.record_write(began, &outcome);
        outcome
    }
}

fn connect(url: &DatabaseUrl) -> Result<Db, Error> {
    connection::open_patiently(url).map_err(|cause| Error::no_connection(&cause))
}

/// What a start asks, again while another node that starts beside it holds SQLite's lock: where two connections change a
/// new file's journal mode, SQLite says so at once, whatever the busy timeout.
pub fn retry_while_locked<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(Error::Unavailable(cause)) if cause.contains("database is locked") && began.elapsed() < START_WAIT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// Again while PostgreSQL makes it lose.
fn try_again<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut outcome = attempt();
    for _ in 1..TRIES {
        match outcome {
            Err(Error::Unavailable(ref cause)) if lost_a_race(cause) => outcome = attempt(),
            _ => break,
        }
    }
    outcome
}

/// 40P01 comes as PostgreSQL's own words only.
fn lost_a_race(cause: &str) -> bool {
    cause == LOST_A_RACE || cause.contains("deadlock detected")
}

fn with<T>(pool: &r2d2::Pool<Manager>, work: impl FnOnce(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
    let mut pooled = pool.get().map_err(|cause| Error::Unavailable(format!("no connection: {cause}")))?;
    let pooled: &mut Pooled = &mut pooled;
    let outcome = work(&mut pooled.db);
    pooled.broken = matches!(outcome, Err(Error::Unavailable(_)));
    outcome
}

#[cfg(test)]
mod tests;
