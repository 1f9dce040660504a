//! The `audit_events` table: the audit log of accounts and sessions. Which events exist is decided in core/audit.rs.

use diesel::prelude::*;

use super::schema::audit_events;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::statement_cache::CacheStatement as _;
use crate::store::tables::columns::{AccountId, SessionId};

/// One row. Never holds a secret, a token or an identifier as it was entered.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = audit_events)]
#[expect(missing_docs, reason = "the columns' meaning stands in core/audit.rs")]
pub struct AuditRow {
    pub at: Timestamp,
    pub kind: String,
    pub account_id: Option<AccountId>,
    pub session_id: Option<SessionId>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    pub detail: Option<String>,
    pub count: i64,
    pub minute: Option<i64>,
}

/// Counts an event in the row of its kind, account, address and minute; returns whether there is one. Of two transactions that
/// find none both insert theirs: the counts stay exact.
pub fn add_to_minute(db: &mut Db, row: &AuditRow) -> Result<bool, StoreError> {
    let same = audit_events::table
        .filter(audit_events::account_id.eq(row.account_id))
        .filter(audit_events::minute.eq(row.minute))
        .filter(audit_events::kind.eq(&row.kind));
    // At most as many as the rate of writes allows.
    let rows: Vec<(i64, Option<String>)> = same.select((audit_events::id, audit_events::address)).load(db)?;
    let first = rows.into_iter().filter(|(_, address)| *address == row.address).map(|(id, _)| id).min();
    let Some(id) = first else { return Ok(false) };
    let count = audit_events::count.eq(audit_events::count + 1);
    Ok(diesel::update(audit_events::table.find(id)).set(count).cached().execute(db)? == 1)
}

/// Inserts a row.
pub fn insert(db: &mut Db, row: &AuditRow) -> Result<(), StoreError> {
    diesel::insert_into(audit_events::table).values(row).execute(db)?;
    Ok(())
}

/// A filter of rows; a field that is `None` matches every row.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "each is the column of its name")]
pub struct AuditFilter {
    pub account_id: Option<AccountId>,
    pub session_id: Option<SessionId>,
    pub kind: Option<String>,
    pub address: Option<String>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// The newest `limit` rows that match the filter, newest first.
pub fn list(db: &mut Db, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = audit_events::table.select(AuditRow::as_select()).into_boxed();
    if let Some(account) = filter.account_id {
        query = query.filter(audit_events::account_id.eq(account));
    }
    if let Some(session) = filter.session_id {
        query = query.filter(audit_events::session_id.eq(session));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(audit_events::kind.eq(kind));
    }
    if let Some(address) = &filter.address {
        query = query.filter(audit_events::address.eq(address));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit_events::at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit_events::at.lt(until));
    }
    Ok(query.order((audit_events::at.desc(), audit_events::id.desc())).limit(limit).load(db)?)
}

/// Deletes up to `limit` rows from before `before`; returns the number of deleted rows.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let query = audit_events::table.filter(audit_events::at.lt(before)).order(audit_events::at);
    let old: Vec<i64> = query.select(audit_events::id).limit(limit).load(db)?;
    Ok(diesel::delete(audit_events::table.filter(audit_events::id.eq_any(old))).execute(db)?)
}
