//! Audit of duplicate cookies: writes the aggregated rows of duplicate_cookies.rs and their log lines.

use super::duplicate_cookies::Row;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::caller::Client;
use crate::core::error::Error;

fn event(row: &Row) -> AuditEvent {
    let requests = if row.requests == 1 { "request" } else { "requests" };
    let detail = format!("{} {requests} with two of one name: a sibling domain may plant one", row.requests);
    AuditEvent::new(EventKind::DuplicateCookie, &row.client).detail(detail)
}

impl Core {
    /// Counts a request, in memory alone.
    pub fn record_duplicate_cookie(&self, client: Client) {
        self.duplicate_cookies.record(client, self.now());
    }

    /// Writes the audit rows that are due, and then their log lines.
    pub fn write_duplicate_cookies(&self) -> Result<(), Error> {
        let insert = |rows: &[Row]| self.store.write(|db| rows.iter().try_for_each(|row| event(row).write(db, row.at)));
        let written = self.duplicate_cookies.flush(insert)?;
        written.iter().for_each(|row| self.log_event(&event(row)));
        Ok(())
    }
}
