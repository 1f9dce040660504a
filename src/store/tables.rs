//! The tables, one file each: rows, and the queries on them.

pub mod accounts;
pub mod audit_events;
pub mod canonical_forms;
pub(crate) mod columns;
pub mod nodes;
pub mod opaque_tokens;
pub mod pending_sign_ups;
pub mod revocations;
#[expect(missing_docs, reason = "diesel's macro documents nothing that it makes")]
pub mod schema;
pub mod sessions;
pub mod throttles;
mod timestamp;
