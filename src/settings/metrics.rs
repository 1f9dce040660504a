//! Metrics settings: who may read `/metrics`. Without one of these settings it is closed (ASVS 13.4.5).

use std::net::SocketAddr;

use crate::secret::Secret;

use super::values::{InvalidValue, address};

/// Settings of the metrics.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsSettings {
    /// A second address that serves GET /metrics without authentication: 127.0.0.1:9155.
    #[arg(long, value_parser = address)]
    pub metrics_bind: Option<SocketAddr>,

    /// Serve GET /metrics on BIND too, to requests with `Authorization: Bearer` and this token of at least 16 characters.
    #[arg(long, value_parser = token)]
    pub metrics_token: Option<Secret>,
}

/// The characters of a bearer token (RFC 6750 section 2.1). The value is a secret, so no message quotes it.
fn token(text: &str) -> Result<Secret, InvalidValue> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if text.len() < 16 || !text.bytes().all(is_allowed) {
        return Err(InvalidValue::new(
            "the token is not valid; use at least 16 letters, digits or -._~+/=, as made by: openssl rand -hex 24",
        ));
    }
    Ok(Secret::new(text))
}
