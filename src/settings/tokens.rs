//! How long tokens and sessions live, and how strictly they are read.

use std::time::Duration;

use super::values::{duration, lifetime};

/// Settings of tokens and sessions.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tokens and sessions")]
pub struct Tokens {
    /// Life of an access token. <DIALECT>_ACCESS_TTL sets it for one mount: NATIVE_ACCESS_TTL=5m.
    #[arg(long, default_value = "15m", value_parser = lifetime)]
    pub access_ttl: Duration,

    /// How long a session lives without a refresh. <DIALECT>_REFRESH_TTL sets it for one mount.
    #[arg(long, default_value = "30d", value_parser = lifetime)]
    pub refresh_ttl: Duration,

    /// How long a session lives at most, however often it is refreshed.
    #[arg(long, default_value = "90d", value_parser = lifetime)]
    pub session_max_age: Duration,

    /// How long after its successor has been used a refresh token still gets that same successor; later it counts as stolen.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub refresh_grace: Duration,

    /// How far ahead another node's clock may be: slack for `iat` and `nbf`, never for `exp`.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub clock_skew: Duration,

    /// How old a node's memory of revocations may be before it asks the table instead.
    #[arg(long, default_value = "2s", value_parser = lifetime)]
    pub revocation_max_stale: Duration,

    /// The `iss` of tokens. Default: PUBLIC_URL, or `doorward` without one.
    #[arg(long)]
    pub issuer: Option<String>,

    /// The `aud` of access tokens. Default: the issuer.
    #[arg(long)]
    pub audience: Option<String>,
}
