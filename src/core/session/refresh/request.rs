//! Refresh request: a presented refresh token, the mount that is asked, and the policy that the session's own mount has for it.
//! What follows from it is decide.rs's and carried out by refresh.rs.

use std::sync::Arc;
use std::time::Duration;

use crate::core::session::caller::Client;
use crate::core::session::{MountPolicies, TokenPolicy};
use crate::secret::RefreshToken;
use crate::store::tables::sessions::SessionRow;

/// A request to refresh.
#[derive(Debug, Clone)]
pub struct RefreshRequest {
    /// The refresh token.
    pub token: RefreshToken,
    /// The policy of the mount that was asked.
    pub asked: TokenPolicy,
    /// The lifetime of the access token that the request asks for. It counts for sessions that began at the asked mount, up to
    /// the larger of the mount's lifetime and what their sign-in asked for.
    pub access_ttl: Option<Duration>,
    /// The policies of all mounts.
    pub policies: Arc<MountPolicies>,
    /// Where the request comes from.
    pub client: Client,
}

impl RefreshRequest {
    /// The policy of the session's own mount, with the lifetime of this request's access token.
    pub(super) fn policy_of(&self, row: &SessionRow) -> TokenPolicy {
        let own = self.policies.of_dialect(&row.dialect);
        let longest = own.access_ttl.max(Duration::from_millis(row.access_ttl.try_into().unwrap_or(0)));
        let requested = self.access_ttl.filter(|_| row.dialect == self.asked.dialect);
        TokenPolicy { access_ttl: requested.map_or(own.access_ttl, |ttl| ttl.min(longest)), ..own.clone() }
    }

    /// The policy of a session that the fast path rotates: it began at the asked mount.
    pub(super) fn fast_policy(&self) -> TokenPolicy {
        TokenPolicy { access_ttl: self.access_ttl.unwrap_or(self.asked.access_ttl), ..self.asked.clone() }
    }
}
