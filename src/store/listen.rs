//! A connection of its own on which a node hears that revocations were written, and reads them. What is done with
//! them, how often it polls nevertheless, and what follows from silence is core/feed.rs's.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::connection;
use super::tables::revocations;
use super::tables::revocations::{CHANNEL, RevocationRow};
use crate::store::connection::{DatabaseUrl, Db};
use crate::store::error::Error;

/// What was heard since the last time.
#[derive(Debug)]
pub enum Notification {
    /// Nothing.
    Nothing,
    /// That there is something to read.
    Something,
    /// What was written.
    Rows(Vec<RevocationRow>),
}

/// The connection.
pub struct Listener {
    db: Db,
    version: i64,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = BigInt)]
    data_version: i64,
}

impl Listener {
    /// Connects and listens: from here on nothing that is committed is missed while the connection lives. What was
    /// committed before must be read after this.
    pub fn open(url: &DatabaseUrl, wait: Duration) -> Result<Self, Error> {
        let mut db = connection::open(url, wait).map_err(|cause| Error::no_connection(&cause))?;
        let version = match &mut db {
            Db::Sqlite(db) => data_version(db)?,
            Db::Postgres(db) => db.batch_execute(&format!("LISTEN {CHANNEL}")).map(|()| 0)?,
        };
        Ok(Self { db, version })
    }

    /// What is there to hear now; does not wait. PostgreSQL sends the rows; SQLite tells whether another connection
    /// committed anything. An error means that the connection is gone.
    pub fn poll_notifications(&mut self) -> Result<Notification, Error> {
        match &mut self.db {
            Db::Sqlite(db) => {
                let before = std::mem::replace(&mut self.version, data_version(db)?);
                Ok(if before == self.version { Notification::Nothing } else { Notification::Something })
            }
            Db::Postgres(db) => {
                let mut rows = Vec::new();
                let mut unclear = false;
                for notice in db.notifications_iter() {
                    match RevocationRow::from_notice(&notice?.payload) {
                        Some(row) => rows.push(row),
                        None => unclear = true,
                    }
                }
                Ok(match (unclear, rows.is_empty()) {
                    (true, _) => Notification::Something,
                    (false, true) => Notification::Nothing,
                    (false, false) => Notification::Rows(rows),
                })
            }
        }
    }

    /// How long to wait before the next look: libpq's socket is out of reach, and a look costs microseconds.
    pub fn pause(&self) -> Duration {
        match self.db {
            Db::Sqlite(_) => Duration::from_millis(20),
            Db::Postgres(_) => Duration::from_millis(5),
        }
    }

    /// Up to `limit` rows with an id above `after`, in order.
    pub fn list_after(&mut self, after: i64, limit: i64) -> Result<Vec<RevocationRow>, Error> {
        revocations::list_after(&mut self.db, after, limit)
    }
}

/// A number that changes when another connection, of this process or of another, has committed.
fn data_version(db: &mut SqliteConnection) -> Result<i64, Error> {
    let asked = diesel::sql_query("PRAGMA data_version").get_result::<Version>(db)?;
    Ok(asked.data_version)
}
