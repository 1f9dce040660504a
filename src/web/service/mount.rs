//! Mount: a dialect under a path prefix, with its token policy. Which dialects exist is decided by dialects.rs.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::ServiceConfig;

use crate::core::session::TokenPolicy;
use crate::settings::{KnownDialect, Mount, Settings};
use crate::web::response::error::ErrorContext;

/// A dialect: one wire contract over the core.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a clause of the contract by itself")]
pub struct Dialect {
    /// Its name in DIALECTS.
    pub name: &'static str,
    /// The default path prefix.
    pub prefix: &'static str,
    /// Adds its routes to a scope.
    pub routes: fn(&mut ServiceConfig),
    /// The path prefixes that its routes stand under. At the root only these are its own, so that an embedding service can
    /// have routes beside it; empty: every path.
    pub roots: &'static [&'static str],
    /// Says a refusal or a fault in its own shape.
    pub refuse: fn(&ErrorContext<'_>) -> HttpResponse,
    /// The access token's lifetime, unless settings override it; `None`: ACCESS_TTL.
    pub access_ttl: Option<Duration>,
    /// The session's idle lifetime, unless settings override it; `None`: REFRESH_TTL.
    pub refresh_ttl: Option<Duration>,
    /// Whether a refresh rotates the refresh token, unless settings turn it off.
    pub rotates: bool,
    /// Whether a rotation revokes the access tokens issued before it.
    pub revokes_on_rotation: bool,
    /// Whether its refresh tokens have the shape of a UUID.
    pub opaque_refresh: bool,
    /// The longest lifetime of an access token that a sign-in may ask for; `None`: it cannot.
    pub access_ttl_max: Option<Duration>,
    /// Whether its response to a refresh has a place for a new refresh token.
    pub returns_refresh_token: bool,
    /// Whether the contract answers a registration with a session and with nothing else.
    pub registers_into_session: bool,
    /// The role of accounts that register here; `None`: SIGNUP_ROLE.
    pub signup_role: Option<&'static str>,
}

impl Dialect {
    /// What the settings are checked against.
    pub fn known(&self) -> KnownDialect {
        KnownDialect { name: self.name, prefix: self.prefix, rotates: self.rotates }
    }

    /// A dialect with the lifetimes of the settings and JWTs that rotate.
    pub const fn new(
        name: &'static str,
        prefix: &'static str,
        routes: fn(&mut ServiceConfig),
        refuse: fn(&ErrorContext<'_>) -> HttpResponse,
    ) -> Self {
        Self {
            name,
            prefix,
            routes,
            roots: &[],
            refuse,
            access_ttl: None,
            refresh_ttl: None,
            rotates: true,
            revokes_on_rotation: false,
            opaque_refresh: false,
            access_ttl_max: None,
            returns_refresh_token: true,
            registers_into_session: false,
            signup_role: None,
        }
    }
}

/// A dialect under a prefix, with its resolved policy.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// The dialect.
    pub dialect: Dialect,
    /// `/`, or a path without its last slash.
    pub prefix: String,
    /// The token policy.
    pub policy: TokenPolicy,
}

impl Mounted {
    /// The mount by its settings and its dialect; `None` if no dialect has the name.
    pub fn new(mount: &Mount, dialects: &[Dialect], settings: &Settings) -> Option<Self> {
        let dialect = *dialects.iter().find(|dialect| dialect.name == mount.dialect)?;
        let access_ttl = mount.access_ttl.or(dialect.access_ttl).unwrap_or(settings.tokens.access_ttl);
        let policy = TokenPolicy {
            dialect: dialect.name.to_owned(),
            access_ttl,
            access_ttl_max: dialect.access_ttl_max.unwrap_or(access_ttl).max(access_ttl),
            returns_refresh_token: dialect.returns_refresh_token,
            refresh_ttl: mount.refresh_ttl.or(dialect.refresh_ttl).unwrap_or(settings.tokens.refresh_ttl),
            rotates: mount.rotates,
            revokes_on_rotation: dialect.revokes_on_rotation,
            opaque_refresh: dialect.opaque_refresh,
        };
        Some(Self { dialect, prefix: mount.prefix.clone(), policy })
    }

    /// The scope's path: empty for the root.
    pub fn scope(&self) -> &str {
        self.prefix.trim_end_matches('/')
    }

    /// Whether a path under the mount's prefix belongs to the dialect.
    pub fn owns(&self, path: &str) -> bool {
        let path = path.strip_prefix(self.scope()).unwrap_or(path);
        let below = |root: &&str| path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.dialect.roots.is_empty() || self.dialect.roots.iter().any(below)
    }
}
