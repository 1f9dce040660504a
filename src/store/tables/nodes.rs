//! The `nodes` table: the running processes of this database, with the ids of their keys and the offset of their clocks. What
//! a difference means is decided in core/maintenance/node_registry.rs.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::schema::nodes;
use crate::clock::Timestamp;
use crate::store::connection::{Db, on_backend};
use crate::store::error::StoreError;
use crate::store::tables::columns::NodeId;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = nodes)]
pub struct NodeRow {
    /// Random, for each start of a process.
    pub id: NodeId,
    /// The ids of its signing keys, separated by spaces.
    pub signing_keys: String,
    /// The ids of its peppers, separated by spaces.
    pub peppers: String,
    /// When it was last seen, by the database's clock; 0 once it has stopped.
    pub seen_at: Timestamp,
    /// Its clock minus the database's, in milliseconds.
    pub clock_offset: i64,
}

#[derive(QueryableByName)]
struct DatabaseTime {
    #[diesel(sql_type = BigInt)]
    millis: i64,
}

/// The database's clock: PostgreSQL's, or that of SQLite's host.
pub fn database_time(db: &mut Db) -> Result<Timestamp, StoreError> {
    let sql = match db {
        Db::Sqlite(_) => "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS millis",
        Db::Postgres(_) => "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS millis",
    };
    let time: DatabaseTime = on_backend!(db, |db| diesel::sql_query(sql).get_result(db))?;
    Ok(Timestamp::from_millis(time.millis))
}

/// Inserts or updates the row of a node.
pub fn save(db: &mut Db, row: &NodeRow) -> Result<(), StoreError> {
    let updated = diesel::update(nodes::table.find(row.id)).set(row).execute(db)?;
    if updated == 0 {
        diesel::insert_into(nodes::table).values(row).execute(db)?;
    }
    Ok(())
}

/// All rows but one node's own, the one that was seen last first.
pub fn list_others(db: &mut Db, own: NodeId) -> Result<Vec<NodeRow>, StoreError> {
    let query = nodes::table.filter(nodes::id.ne(own)).order(nodes::seen_at.desc());
    Ok(query.load(db)?)
}

/// Deletes the rows of nodes that were last seen before `before`.
pub fn purge(db: &mut Db, before: Timestamp) -> Result<usize, StoreError> {
    Ok(diesel::delete(nodes::table.filter(nodes::seen_at.lt(before))).execute(db)?)
}
