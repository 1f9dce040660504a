//! How a transaction begins, ends and is undone on either backend, and how a part of one is. Who shares one, and who runs
//! it again, is for store.rs and group_commit.rs.

use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::result::Error as DieselError;

use crate::store::connection::Db;
use crate::store::error::Error;

/// No transaction is committed that was open longer. The poll of revocations relies on it: a row may become visible that
/// much later than one with a higher id, and no more.
pub const LONGEST_TRANSACTION: Duration = Duration::from_secs(8);

/// Runs one change in a transaction of its own.
pub fn run<T>(db: &mut Db, change: &mut impl FnMut(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
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

/// Begins by hand to keep the enum (diesel's own immediate transaction hands out the SQLite connection), and immediately:
/// a SQLite transaction that starts as a reader fails at once when it wants to write beside another writer.
pub fn begin(db: &mut Db) -> Result<(), Error> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::begin_transaction_sql(db, "BEGIN IMMEDIATE")?,
        Db::Postgres(db) => AnsiTransactionManager::begin_transaction_sql(db, "BEGIN")?,
    }
    Ok(())
}

/// Ends what is open since `began`: when this is an error, nothing of it is there.
pub fn commit(db: &mut Db, began: Instant) -> Result<(), Error> {
    if began.elapsed() > LONGEST_TRANSACTION {
        roll_back(db);
        return Err(Error::Unavailable("the transaction took too long and was given up".to_owned()));
    }
    let outcome = release(db);
    if outcome.is_err() {
        roll_back(db);
    }
    outcome.map_err(Error::from)
}

/// Undoes all that is open.
pub fn roll_back(db: &mut Db) {
    if let Err(error) = return_to_savepoint(db) {
        log::debug!(error:%; "rollback failed; the connection is dropped");
        let _ = db.batch_execute("ROLLBACK");
    }
}

/// Begins a part that can be undone by itself.
pub fn savepoint(db: &mut Db) -> Result<(), DieselError> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::begin_transaction(db),
        Db::Postgres(db) => AnsiTransactionManager::begin_transaction(db),
    }
}

/// Keeps the part, if one is open, and commits the transaction otherwise.
pub fn release(db: &mut Db) -> Result<(), DieselError> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::commit_transaction(db),
        Db::Postgres(db) => AnsiTransactionManager::commit_transaction(db),
    }
}

/// Undoes the part, if one is open, and the transaction otherwise.
pub fn return_to_savepoint(db: &mut Db) -> Result<(), DieselError> {
    match db {
        Db::Sqlite(db) => AnsiTransactionManager::rollback_transaction(db),
        Db::Postgres(db) => AnsiTransactionManager::rollback_transaction(db),
    }
}
