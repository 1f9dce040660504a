//! Token claims: what the two tokens say, apart from how they are written (token.rs) and signed (signature.rs).

use crate::clock::Timestamp;
use crate::store::{AccountId, SessionId};

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// Whose.
    pub account: AccountId,
    /// Of which session.
    pub session: SessionId,
    /// The session's generation at minting.
    pub generation: i64,
    /// The account's epoch at minting.
    pub epoch: i64,
    /// The account's role at minting.
    pub role: String,
    /// Whether the account had to change its password at minting.
    pub must_change_password: bool,
    /// `iat`, whole seconds.
    pub issued_at: Timestamp,
    /// `exp`, whole seconds: dead from then on.
    pub expires_at: Timestamp,
    /// Makes it unlike every other.
    pub id: String,
}

/// What an access token says that this service signed.
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

/// What a refresh token says. All of it comes from the session's row, so that one generation has one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshClaims {
    /// Whose.
    pub account: AccountId,
    /// Of which session.
    pub session: SessionId,
    /// The generation it opens.
    pub generation: i64,
    /// `iat`, whole seconds.
    pub issued_at: Timestamp,
    /// `exp`, whole seconds.
    pub expires_at: Timestamp,
}
