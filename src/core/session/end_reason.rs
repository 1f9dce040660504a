//! End reason: why a session ended, as its row and the audit table say it.

use crate::core::audit::Kind;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its owner signed out.
    SignOut,
    /// Its owner signed out everywhere.
    SignOutEverywhere,
    /// Its owner ended it from another session.
    EndedByOwner,
    /// A sign-in from the same browser or device took its place.
    Replaced,
    /// The account's secret was changed from another session.
    SecretChange,
    /// A spent refresh token came back.
    RefreshReuse,
    /// An operator.
    Operator,
    /// The key of its refresh token was retired.
    KeyRetired,
}

impl EndReason {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignOut => "sign_out",
            Self::SignOutEverywhere => "sign_out_everywhere",
            Self::EndedByOwner => "ended_by_owner",
            Self::Replaced => "replaced",
            Self::SecretChange => "secret_change",
            Self::RefreshReuse => "refresh_reuse",
            Self::Operator => "operator",
            Self::KeyRetired => "key_retired",
        }
    }

    pub(in crate::core) const fn kind(self) -> Kind {
        match self {
            Self::SignOut => Kind::SignOut,
            Self::SignOutEverywhere => Kind::SignOutEverywhere,
            Self::RefreshReuse => Kind::RefreshReuse,
            Self::EndedByOwner | Self::Replaced | Self::SecretChange | Self::Operator | Self::KeyRetired => {
                Kind::SessionEnded
            }
        }
    }
}
