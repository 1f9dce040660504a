//! Who may read the counters: nobody, unless told so (ASVS 13.4.5).

use std::net::SocketAddr;

use crate::secret::Secret;

use super::values::address;

/// Settings of the metrics.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsSettings {
    /// Another address that answers GET /metrics to anybody who reaches it: 127.0.0.1:9155.
    #[arg(long, value_parser = address)]
    pub metrics_bind: Option<SocketAddr>,

    /// With it, GET /metrics is also answered at BIND, to `Authorization: Bearer` and this token of at least 16 characters.
    #[arg(long, value_parser = token)]
    pub metrics_token: Option<Secret>,
}

fn token(text: &str) -> Result<Secret, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if text.len() < 16 || !text.bytes().all(fits) {
        return Err("it needs at least 16 letters, digits or -._~+/=; make one with: openssl rand -hex 24".to_owned());
    }
    Ok(Secret::new(text))
}
