//! End reason: which audit event the end of a session is recorded as. The reasons themselves, and their words in the table,
//! are store/tables/columns.rs's.

use crate::core::audit::EventKind;

pub use crate::store::EndReason;

impl EndReason {
    /// The kind of the audit event that records this end.
    pub(in crate::core) const fn event_kind(self) -> EventKind {
        match self {
            Self::SignOut => EventKind::SignOut,
            Self::SignOutEverywhere => EventKind::SignOutEverywhere,
            Self::RefreshReuse => EventKind::RefreshReuse,
            Self::EndedByOwner
            | Self::TooMany
            | Self::Replaced
            | Self::SecretChange
            | Self::Operator
            | Self::KeyRetired => EventKind::SessionEnded,
        }
    }
}
