//! Transactions and savepoints: begin, commit and rollback on either backend. Which SQLite changes share a
//! transaction is sqlite_writer/write_queue.rs's to decide; which PostgreSQL transactions are retried is store.rs's.

use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::result::Error as DieselError;

use crate::store::connection::Db;
use crate::store::error::{OutageCause, StoreError};

/// No transaction is committed that was open longer. The poll of revocations relies on it: a row becomes visible at most
/// that much later than one with a higher id.
pub const MAX_TRANSACTION_AGE: Duration = Duration::from_secs(8);

/// Runs one change in a transaction of its own.
pub fn run<T>(db: &mut Db, change: &mut impl FnMut(&mut Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
    begin(db)?;
    let began = Instant::now();
    match change(db) {
        Ok(value) => commit(db, began).map(|()| value),
        Err(error) => {
            roll_back(db);
            Err(error)
        }
    }
}

/// Begins a transaction, with statements of its own to keep the enum: diesel's immediate transaction hands out the SQLite
/// connection itself. Immediate, because a SQLite transaction that begins as a reader fails without waiting when it turns
/// into a writer beside another one. The isolation level is the session's, which connection.rs sets.
pub fn begin(db: &mut Db) -> Result<(), StoreError> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::begin_transaction_sql(db, "BEGIN IMMEDIATE")?,
        Db::Postgres(db) => AnsiTransactionManager::begin_transaction_sql(db, "BEGIN")?,
    }
    Ok(())
}

/// Commits the transaction that has been open since `began`. After an error none of its rows are written.
pub fn commit(db: &mut Db, began: Instant) -> Result<(), StoreError> {
    if began.elapsed() > MAX_TRANSACTION_AGE {
        roll_back(db);
        return Err(StoreError::unavailable(OutageCause::Timeout, "the transaction took too long and was rolled back"));
    }
    let outcome = release(db);
    if outcome.is_err() {
        roll_back(db);
    }
    outcome.map_err(StoreError::from)
}

/// Rolls the transaction back with all its savepoints.
pub fn roll_back(db: &mut Db) {
    if let Err(error) = roll_back_to_savepoint(db) {
        log::debug!(error:%; "rollback failed; the connection is dropped");
        let _ = db.batch_execute("ROLLBACK");
    }
}

/// Sets a savepoint.
pub fn savepoint(db: &mut Db) -> Result<(), DieselError> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::begin_transaction(db),
        Db::Postgres(db) => AnsiTransactionManager::begin_transaction(db),
    }
}

/// Releases the innermost savepoint, or commits the transaction if there is none.
pub fn release(db: &mut Db) -> Result<(), DieselError> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::commit_transaction(db),
        Db::Postgres(db) => AnsiTransactionManager::commit_transaction(db),
    }
}

/// Rolls back to the innermost savepoint, or rolls the transaction back if there is none.
pub fn roll_back_to_savepoint(db: &mut Db) -> Result<(), DieselError> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::rollback_transaction(db),
        Db::Postgres(db) => AnsiTransactionManager::rollback_transaction(db),
    }
}
