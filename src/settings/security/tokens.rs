//! Token and session settings: lifetimes, clock skew, issuer and audience.

use std::time::Duration;

use crate::settings::values::{duration, lifetime, number};

/// Settings of tokens and sessions.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tokens and sessions")]
pub struct TokenSettings {
    /// Lifetime of an access token. <DIALECT>_ACCESS_TTL sets it for one mount: NATIVE_ACCESS_TTL=5m.
    #[arg(long, default_value = "15m", value_parser = lifetime)]
    pub access_ttl: Duration,

    /// How long a session lives without a refresh. <DIALECT>_REFRESH_TTL sets it for one mount.
    #[arg(long, default_value = "30d", value_parser = lifetime)]
    pub refresh_ttl: Duration,

    /// The maximum lifetime of a session, however often it is refreshed.
    #[arg(long, default_value = "90d", value_parser = lifetime)]
    pub session_max_age: Duration,

    /// How long a response to a refresh may be on its way. A refresh token that has been replaced still returns the same
    /// successor for this long after the first use of that successor; later its use counts as theft and ends the session. A
    /// session does not rotate again for twice this time. At most 60s.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub refresh_grace: Duration,

    /// How long an unused refresh token is returned again to a refresh with its predecessor. It counts as lost after this time
    /// plus twice REFRESH_GRACE, and is then replaced. At least REFRESH_GRACE, at most 10m.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub refresh_lost_after: Duration,

    /// How many live sessions an account may have. A sign-in that exceeds it ends the sessions seen least recently.
    #[arg(long, default_value = "100", value_parser = |text: &str| number::<u32>(text, 1..=100_000))]
    pub sessions_max: u32,

    /// How far the clock of another node may be ahead: tolerance for `iat` and `nbf`, never for `exp`. At most 60s.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub clock_skew: Duration,

    /// The maximum age of a node's revocation cache. When it is older, requests read the table instead. At most 60s.
    #[arg(long, default_value = "2s", value_parser = lifetime)]
    pub revocation_max_stale: Duration,

    /// The `iss` claim of tokens. Default: PUBLIC_URL, or `doorward` without one.
    #[arg(long)]
    pub issuer: Option<String>,

    /// The `aud` claim of access tokens. Default: the issuer.
    #[arg(long)]
    pub audience: Option<String>,
}
