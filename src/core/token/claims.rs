//! Token claims: the contents of access and refresh tokens. How they are encoded is token.rs's, how signed signature.rs's.

use crate::clock::Timestamp;
use crate::store::{AccountUuid, SessionId};

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// The account.
    pub account: AccountUuid,
    /// The session.
    pub session: SessionId,
    /// The session's generation at issuance.
    pub generation: i64,
    /// The account's epoch at issuance.
    pub epoch: i64,
    /// The account's role at issuance.
    pub role: String,
    /// Whether the account had to change its password at issuance.
    pub must_change_password: bool,
    /// `iat`, whole seconds.
    pub issued_at: Timestamp,
    /// `exp`, whole seconds: the first second at which it is expired.
    pub expires_at: Timestamp,
    /// `jti`, unique.
    pub id: String,
}

/// The claims of an access token whose signature was verified. Only token.rs constructs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedClaims {
    pub(super) claims: AccessClaims,
    pub(super) not_before: Option<i64>,
}

impl std::ops::Deref for VerifiedClaims {
    type Target = AccessClaims;

    fn deref(&self) -> &AccessClaims {
        &self.claims
    }
}

/// The claims of a refresh token. All come from the session's row, so that each generation has exactly one token text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshClaims {
    /// The account.
    pub account: AccountUuid,
    /// The session.
    pub session: SessionId,
    /// The session's generation that it belongs to.
    pub generation: i64,
    /// `iat`, whole seconds.
    pub issued_at: Timestamp,
    /// `exp`, whole seconds.
    pub expires_at: Timestamp,
}
