//! The store: connection pools, transactions and retries over SQLite or PostgreSQL. All access goes through `read`, `write`
//! and, for a write of one statement, `write_one_statement`. What a row means is decided in `core`.
//!
//! SQLite gets several reading connections and one writing connection behind a write queue with group commit
//! (sqlite_writer/): it has one writer anyway, and connections that compete for its lock stall for seconds. PostgreSQL gets
//! one pool. Query functions take a connection and never begin a transaction. They select the row of a unique key by
//! `get_result`: `first` adds `LIMIT ?`, and SQLite parses a statement anew whenever that is bound.

mod availability;
mod connection;
mod database_file;
mod database_url;
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

pub use connection::Db;
pub use database_url::{DatabaseUrl, DatabaseUrlError};
pub use error::{BoxedError, OutageCause, StoreError};
pub use tables::columns::{AccountId, AccountStatus, AccountUuid, EndReason, PendingSignUpId, SessionId};
pub use transaction::MAX_TRANSACTION_AGE;

use crate::metrics::Metrics;
use availability::Availability;
use connection::{Manager, Pooled};
use database_file::DatabaseFile;
use sqlite_writer::wal_checkpoint::Checkpointer;
use sqlite_writer::wal_pressure::WalPressure;
use sqlite_writer::write_queue::WriteQueue;

/// How long a starting node retries while another one holds SQLite's lock.
const STARTUP_RETRY_TIME: Duration = Duration::from_secs(60);

/// How often a PostgreSQL transaction runs at most that deadlocks or fails to serialize. Each retry waits for the winner's
/// locks, so more of them would exceed the request's timeout.
const MAX_ATTEMPTS: usize = 4;

/// The part of a request's timeout for which it may wait for a connection or a lock: the rest is for the work itself.
const WAIT_SHARE: f32 = 0.75;

/// Needs a transaction id, the right to write, and the lock that a change takes, of every table that requests change.
const POSTGRES_WRITE_PROBE: &str = "SELECT pg_current_xact_id(); UPDATE accounts SET id = id WHERE false; \
     LOCK TABLE accounts, sessions, opaque_tokens, revocations, throttles, audit_events, pending_sign_ups \
     IN ROW EXCLUSIVE MODE";

/// The database of one service. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: r2d2::Pool<Manager>,
    writers: Writers,
    url: DatabaseUrl,
    file: DatabaseFile,
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
    fn queued(url: &DatabaseUrl, pool: r2d2::Pool<Manager>, max_wait: Duration) -> Result<Self, StoreError> {
        let wal_pressure = Arc::new(WalPressure::default());
        let queue = Arc::new(WriteQueue::new(pool, max_wait, Arc::clone(&wal_pressure)));
        let checkpointer = Checkpointer::start(url, Arc::clone(&queue), wal_pressure)?;
        Ok(Self::Queued(queue, Arc::new(checkpointer)))
    }
}

impl Store {
    /// Opens the pools; fails when the database cannot be reached now. All calls of one request have `timeout` together.
    pub fn open(url: &DatabaseUrl, connections: u32, timeout: Duration, metrics: Metrics) -> Result<Self, StoreError> {
        let wait = timeout.mul_f32(WAIT_SHARE);
        connection::create_private(url).map_err(|error| StoreError::unavailable(OutageCause::Storage, error))?;
        let file = DatabaseFile::of(url)?;
        let build = |size: u32, idle: u32| {
            r2d2::Pool::builder()
                .max_size(size)
                .min_idle(Some(idle))
                .connection_timeout(wait)
                .error_handler(Box::new(r2d2::NopErrorHandler))
                .build_unchecked(Manager { url: url.clone(), file: file.clone(), lock_wait: wait })
        };
        connection::warn_about_message_language(&mut retry_while_locked(|| connect(url))?);
        // One more than there are request threads, so that housekeeping never takes a request's connection.
        let readers = build(connections.max(1) + 1, 1);
        let writers = match url.file() {
            Some(_) => Writers::queued(url, build(1, 1), wait)?,
            None => Writers::Pooled(readers.clone()),
        };
        let availability = Arc::new(Availability::new(metrics));
        Ok(Self { readers, writers, url: url.clone(), file, lock_wait: wait, availability })
    }

    /// The database's URL.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Whether the database has one writer, so that rows become visible in the order of their ids.
    pub fn is_single_writer(&self) -> bool {
        self.url.file().is_some()
    }

    /// Runs the pending migrations; returns their names. With none it only reads: the role may have no right to create tables,
    /// and the server may be a standby.
    pub fn migrate(&self) -> Result<Vec<String>, StoreError> {
        retry_while_locked(|| {
            let mut db = connect(&self.url)?;
            if migrate::pending(&mut db)? == 0 { Ok(Vec::new()) } else { migrate::run(&mut db) }
        })
    }

    /// Whether no migration was ever applied.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        retry_while_locked(|| migrate::is_empty(&mut connect(&self.url)?))
    }

    /// The encoding of its texts.
    pub fn encoding(&self) -> Result<String, StoreError> {
        retry_while_locked(|| connection::encoding(&mut connect(&self.url)?))
    }

    /// Whether any account exists.
    pub fn has_accounts(&self) -> Result<bool, StoreError> {
        self.read(|db| Ok(!tables::accounts::list(db, AccountId(i64::MIN), 1)?.is_empty()))
    }

    /// The number of pending migrations.
    pub fn pending_migrations(&self) -> Result<usize, StoreError> {
        retry_while_locked(|| migrate::pending(&mut connect(&self.url)?))
    }

    /// Opens a connection of its own that receives notifications of revocations.
    pub fn listen(&self) -> Result<listen::Listener, StoreError> {
        // Another file's revocations are none of this service's.
        self.file.check()?;
        listen::Listener::open(&self.url, self.lock_wait)
    }

    /// Whether the last read or the last write found the database unavailable.
    pub fn is_unavailable(&self) -> bool {
        self.availability.is_unavailable()
    }

    /// Whether SQLite's file was deleted or replaced since it was opened.
    pub fn is_file_lost(&self) -> bool {
        self.file.check().is_err()
    }

    /// Records that a caller stopped waiting for a result.
    pub fn record_timeout(&self) {
        self.availability.record_timeout();
    }

    /// The readiness probe: reads a row and commits a transaction that changes nothing. It fails when the disk is full, a table is
    /// locked, only reads are allowed or SQLite's file is gone. Only its success ends an outage: it needs every table, while
    /// a request may need none of those that are locked.
    pub fn probe(&self) -> Result<(), StoreError> {
        let read = self.read(|db| tables::accounts::find(db, AccountId(0)).map(|_| ()));
        self.availability.record_read_probe(&read);
        read?;
        let written = self.write(|db| match db {
            // Writes the header page, with the value that it has.
            Db::Sqlite(db) => Ok(db.batch_execute("PRAGMA user_version = 0")?),
            Db::Postgres(db) => Ok(db.batch_execute(POSTGRES_WRITE_PROBE)?),
        });
        self.availability.record_write_probe(&written);
        written
    }

    /// Logs the end of an outage whose last failure was some seconds ago. To be called regularly.
    pub fn log_recovery(&self) {
        self.availability.log_recovery();
    }

    /// Runs statements that change nothing and need no common snapshot.
    pub fn read<T>(&self, mut query: impl FnMut(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let began = Instant::now();
        let mut outcome = with_connection(&self.readers, &mut query);
        let failed = matches!(outcome, Err(StoreError::Unavailable { .. } | StoreError::Conflict { .. }));
        if failed && began.elapsed() < self.lock_wait / 2 {
            // A connection that a restarted server closed reports it only when it is used; reading twice does no harm. But
            // a caller that has waited for the database must not wait again: a request that was answered 503 would go on to write.
            outcome = with_connection(&self.readers, &mut query);
        }
        self.availability.record_read(began, &outcome);
        outcome
    }

    /// Changes rows in one transaction: all of it is durable when this returns `Ok`, and none of it is written otherwise. The
    /// change runs again from its beginning after a conflict on PostgreSQL, or when SQLite could not commit its group, so it
    /// must have no effect but on rows.
    pub fn write<T>(&self, mut change: impl FnMut(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.change(&mut change, |db, change| transaction::run(db, change))
    }

    /// As `write`, for a change that is one statement: PostgreSQL makes that a transaction by itself, and beginning and
    /// committing one would be two more round trips.
    pub fn write_one_statement<T>(
        &self,
        mut change: impl FnMut(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.change(&mut change, |db, change| change(db))
    }

    fn change<T, C: FnMut(&mut Db) -> Result<T, StoreError>>(
        &self,
        change: &mut C,
        on_postgres: impl Fn(&mut Db, &mut C) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let outcome = match &self.writers {
            Writers::Pooled(pool) => retry_on_conflict(|| with_connection(pool, |db| on_postgres(db, change))),
            Writers::Queued(queue, _) => queue.write(change),
        };
        self.availability.record_write(began, &outcome);
        outcome
    }
}

fn connect(url: &DatabaseUrl) -> Result<Db, StoreError> {
    Ok(connection::open_for_startup(url)?)
}

/// Repeats what a starting node does while another starting node holds SQLite's lock: where two connections change a new
/// file's journal mode, SQLite reports the lock immediately, whatever the busy timeout.
pub fn retry_while_locked<T>(mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.is_locked() && began.elapsed() < STARTUP_RETRY_TIME => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// Runs a transaction again after a conflict, `MAX_ATTEMPTS` times in all.
fn retry_on_conflict<T>(mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 1..MAX_ATTEMPTS {
        match attempt() {
            Err(StoreError::Conflict { .. }) => {}
            other => return other,
        }
    }
    attempt()
}

fn with_connection<T>(
    pool: &r2d2::Pool<Manager>,
    work: impl FnOnce(&mut Db) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut pooled = pool.get()?;
    let pooled: &mut Pooled = &mut pooled;
    let outcome = work(&mut pooled.db);
    pooled.broken = matches!(&outcome, Err(error) if error.discards_connection());
    outcome
}

#[cfg(test)]
mod tests;
