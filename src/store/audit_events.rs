//! The `audit_events` table: what happened to accounts and sessions. What is worth an event is decided in core/audit.rs.

use diesel::prelude::*;

use super::schema::audit_events;
use super::{AccountId, Db, Error, SessionId};
use crate::clock::Timestamp;

/// One row. Never holds a secret, a token or an identifier as it was typed.
#[derive(Debug, Clone, Insertable, Queryable)]
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
}

/// Adds a row.
pub fn insert(db: &mut Db, row: &AuditRow) -> Result<(), Error> {
    diesel::insert_into(audit_events::table).values(row).execute(db)?;
    Ok(())
}
