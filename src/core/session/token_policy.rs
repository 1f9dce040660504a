//! Token policy: lifetimes, rotation and shape of a mount's tokens. A session follows the policy of the mount that it began at,
//! whichever mount is asked. How a mount gets its own is web/service/mount.rs's.

use std::time::Duration;

/// The properties of a mount that its sessions' tokens depend on.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of the contract by itself")]
pub struct TokenPolicy {
    /// The dialect's name.
    pub dialect: String,
    /// Lifetime of an access token.
    pub access_ttl: Duration,
    /// Lifetime of a refresh token, and so of a session that is not refreshed.
    pub refresh_ttl: Duration,
    /// Whether a refresh issues a new refresh token.
    pub rotates: bool,
    /// Whether a rotation revokes the older access tokens.
    pub revokes_on_rotation: bool,
    /// Whether its refresh tokens are opaque, in the form of a UUID.
    pub opaque_refresh: bool,
    /// The longest lifetime of an access token that a sign-in may ask for.
    pub access_ttl_max: Duration,
    /// Whether its response to a refresh has a place for a new refresh token.
    pub returns_refresh_token: bool,
}

/// The policies of all mounts. A session follows the policy of the mount that it began at, whichever mount is asked.
#[derive(Debug, Clone)]
pub struct MountPolicies {
    policies: Vec<TokenPolicy>,
    /// For sessions of a dialect that is not mounted any more.
    fallback: TokenPolicy,
}

impl MountPolicies {
    /// The policies, and the one for sessions that began at none of their mounts.
    pub fn new(policies: Vec<TokenPolicy>, fallback: TokenPolicy) -> Self {
        Self { policies, fallback }
    }

    /// The policy of sessions that began at this dialect.
    pub fn of_dialect(&self, dialect: &str) -> &TokenPolicy {
        self.policies.iter().find(|policy| policy.dialect == dialect).unwrap_or(&self.fallback)
    }

    /// The lifetime of access tokens, of each mount.
    pub fn access_ttls(&self) -> impl Iterator<Item = Duration> {
        self.policies.iter().chain([&self.fallback]).map(|policy| policy.access_ttl)
    }

    /// The longest lifetime of any access token.
    pub fn longest_access_ttl(&self) -> Duration {
        let all = self.policies.iter().chain([&self.fallback]);
        all.map(|policy| policy.access_ttl.max(policy.access_ttl_max)).max().unwrap_or_default()
    }
}
