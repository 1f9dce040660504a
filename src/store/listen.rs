//! Notifications of revocations (LISTEN/NOTIFY on PostgreSQL, `data_version` on SQLite), on a connection of its own. How
//! they are applied, the fallback poll and reconnection are core/revocation/feed.rs's.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::connection;
use super::database_url::DatabaseUrl;
use super::tables::revocations;
use super::tables::revocations::{CHANNEL, RevocationRow, Selection};
use crate::store::connection::Db;
use crate::store::error::{OutageCause, StoreError};

/// What `poll_notifications` found since its last call.
#[derive(Debug)]
pub enum Notification {
    /// Nothing.
    Nothing,
    /// Something was committed: the table must be read.
    Committed,
    /// These rows were committed.
    Rows(Vec<RevocationRow>),
}

/// The listening connection. It is none of the pool's: LISTEN belongs to the connection that ran it, and `data_version` shows
/// the commits of all connections but its own.
pub struct Listener {
    db: Db,
    data_version: i64,
}

#[derive(QueryableByName)]
struct DataVersion {
    #[diesel(sql_type = BigInt)]
    data_version: i64,
}

impl Listener {
    /// Connects and subscribes: every later commit is reported while the connection lives. Rows that were committed before
    /// must be read after this call, or those committed between reading and subscribing would be missed.
    pub fn open(url: &DatabaseUrl, wait: Duration) -> Result<Self, StoreError> {
        let mut db = connection::open(url, wait)?;
        let data_version = match &mut db {
            Db::Sqlite(db) => data_version(db)?,
            Db::Postgres(db) => subscribe(db)?,
        };
        Ok(Self { db, data_version })
    }

    /// The notifications that have arrived; does not wait. PostgreSQL sends the rows; SQLite reports only that another
    /// connection has committed. An error means that the connection is lost.
    pub fn poll_notifications(&mut self) -> Result<Notification, StoreError> {
        match &mut self.db {
            Db::Sqlite(db) => {
                let before = std::mem::replace(&mut self.data_version, data_version(db)?);
                Ok(if before == self.data_version { Notification::Nothing } else { Notification::Committed })
            }
            Db::Postgres(db) => {
                let mut rows = Vec::new();
                let mut unreadable = false;
                for notification in db.notifications_iter() {
                    match RevocationRow::from_notification(&notification?.payload) {
                        Some(row) => rows.push(row),
                        // Another version of this service may send other columns.
                        None => unreadable = true,
                    }
                }
                Ok(match (unreadable, rows.is_empty()) {
                    (true, _) => Notification::Committed,
                    (false, true) => Notification::Nothing,
                    (false, false) => Notification::Rows(rows),
                })
            }
        }
    }

    /// The interval between two calls of `poll_notifications`: diesel does not expose libpq's socket to wait on, and a call
    /// costs microseconds, since it reads no table. The interval of the fallback poll of the table, which does, is feed.rs's.
    pub fn notification_check_interval(&self) -> Duration {
        match self.db {
            Db::Sqlite(_) => Duration::from_millis(20),
            Db::Postgres(_) => Duration::from_millis(5),
        }
    }

    /// Up to `limit` rows.
    pub fn list(&mut self, selection: Selection, limit: i64) -> Result<Vec<RevocationRow>, StoreError> {
        revocations::list(&mut self.db, selection, limit)
    }
}

/// LISTEN, but on a standby, which takes none: there the poll of the table is all there is. Once a standby is promoted it must
/// be connected to anew, as a failover makes of all connections.
fn subscribe(db: &mut PgConnection) -> Result<i64, StoreError> {
    match db.batch_execute(&format!("LISTEN {CHANNEL}")).map_err(StoreError::from) {
        Err(StoreError::Unavailable { cause: OutageCause::ReadOnly, source }) => {
            log::warn!(cause:% = source; "the database takes no LISTEN; revocations of other nodes arrive by polling");
            Ok(0)
        }
        other => other.map(|()| 0),
    }
}

/// A number that changes when another connection, of this process or of another, has committed.
fn data_version(db: &mut SqliteConnection) -> Result<i64, StoreError> {
    let row = diesel::sql_query("PRAGMA data_version").get_result::<DataVersion>(db)?;
    Ok(row.data_version)
}
