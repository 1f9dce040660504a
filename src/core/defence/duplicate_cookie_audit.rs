//! Audit of duplicate cookies: writes the aggregated rows of duplicate_cookies.rs and their log lines. What counts as a
//! duplicate cookie is decided by web/request/session_cookie.rs; how often rows are written by duplicate_cookies.rs.

use super::duplicate_cookies::DuplicateCookieRow;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::error::Error;
use crate::core::session::caller::Client;

fn event(row: &DuplicateCookieRow) -> AuditEvent {
    let requests = if row.requests == 1 { "request" } else { "requests" };
    let detail = format!("{} {requests} with two of one name: a sibling domain may have set one", row.requests);
    AuditEvent::new(EventKind::DuplicateCookie, &row.client).detail(detail)
}

impl Core {
    /// Counts a request in memory.
    pub fn record_duplicate_cookie(&self, client: Client) {
        self.duplicate_cookies.record(client, self.now());
    }

    /// Writes the due audit rows, and once they are committed their log lines.
    pub fn write_duplicate_cookies(&self) -> Result<(), Error> {
        let insert = |rows: &[DuplicateCookieRow]| {
            self.store.write(|db| rows.iter().try_for_each(|row| event(row).write(db, row.at)))
        };
        let written = self.duplicate_cookies.flush(insert)?;
        written.iter().for_each(|row| self.log_event(&event(row)));
        Ok(())
    }
}
