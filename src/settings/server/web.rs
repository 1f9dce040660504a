//! Web settings: the listening address, public URL, mounts, allowed origins, trusted proxies, connection limits, logging.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::settings::values::{InvalidValue, address, boolean, duration, network, number, origin};

/// Settings of the web server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Web")]
pub struct WebSettings {
    /// The address to listen on. Port 0 chooses a free port.
    #[arg(long, default_value = "127.0.0.1:9154", value_parser = address)]
    pub bind: SocketAddr,

    /// The origin under which browsers reach the service: https://auth.example.com. With https, cookies are Secure. Otherwise
    /// a cookie is Secure only if the request came from a proxy of TRUSTED_PROXIES with X-Forwarded-Proto: https.
    #[arg(long, value_parser = origin)]
    pub public_url: Option<Url>,

    /// The dialects to serve and their path prefixes, comma-separated: native=/auth-api. A name alone uses the dialect's
    /// default prefix. Default: every dialect under its default prefix.
    #[arg(long, value_delimiter = ',')]
    pub dialects: Vec<MountText>,

    /// Other origins whose pages may call the service with cookies, comma-separated and exact: https://app.example.com.
    #[arg(long, value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<Url>,

    /// Refuse state-changing requests that have cookies but neither Origin nor Sec-Fetch-Site.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub csrf_strict: bool,

    /// Networks of the reverse proxies, comma-separated. X-Forwarded-For and X-Forwarded-Proto of other senders are ignored.
    #[arg(long, value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,

    /// Threads that serve requests. Default: one per processor core.
    #[arg(long, value_parser = |text: &str| number::<u16>(text, 1..=256))]
    pub workers: Option<u16>,

    /// The maximum number of client connections of a node, shared among its workers. Further ones are accepted but not served
    /// until another closes: idle ones close after 5 s, slow ones within 10 s. Each needs a file descriptor.
    #[arg(long, default_value = "10000", value_parser = |text: &str| number::<u32>(text, 1..=1_000_000))]
    pub max_connections: u32,

    /// How long a stopping node continues to serve while /readyz answers 503, so that a load balancer can remove it. At most
    /// 4s.
    #[arg(long, default_value = "1s", value_parser = drain_delay)]
    pub drain_delay: Duration,

    /// The log level: error, warn, info, debug or trace; also per module: info,doorward=debug.
    #[arg(long, default_value = "info", value_parser = log_filter)]
    pub rust_log: String,

    /// The log format: `text`, or `json` with one object per line.
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

/// The drain delay is part of the shutdown, which as a whole may take 10 s.
fn drain_delay(text: &str) -> Result<Duration, InvalidValue> {
    match duration(text)? {
        long if long > Duration::from_secs(4) => {
            Err(InvalidValue::new(format!("{text} is too long: a shutdown takes at most 10 s; use at most 4s")))
        }
        short => Ok(short),
    }
}

/// Refuses misspelt levels: env_logger takes an unknown word for a module's name, and nothing would be logged.
fn log_filter(text: &str) -> Result<String, InvalidValue> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| levels.contains(&word.trim().to_ascii_lowercase().as_str());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        let level = level.split('/').next().unwrap_or(level);
        let is_module =
            !part.contains('=') && (part.contains("::") || ["doorward", "actix_web", "actix_server"].contains(&part));
        if !is_level(level) && !is_module {
            return Err(InvalidValue::new(format!(
                "{level:?} is not a valid log level; use error, warn, info, debug or trace, or info,doorward=debug"
            )));
        }
    }
    Ok(text.to_owned())
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(InvalidValue::new(format!("{other:?} is not a valid log format; use text or json"))),
        }
    }
}

/// One entry of DIALECTS: a dialect's name, and a prefix unless the default one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountText {
    /// The dialect's name.
    pub name: String,
    /// `/`, or a path without a trailing slash.
    pub prefix: Option<String>,
}

impl FromStr for MountText {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, prefix) = match text.trim().split_once('=') {
            Some((name, prefix)) => (name.trim(), Some(prefix.trim())),
            None => (text.trim(), None),
        };
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        match prefix {
            Some(prefix) if !prefix.starts_with('/') => Err(InvalidValue::new(format!(
                "the prefix {prefix:?} of {name} does not begin with a slash; write {name}=/{prefix}"
            ))),
            Some(prefix) if !prefix.chars().all(is_allowed) || prefix.contains("//") || prefix.contains("/.") => {
                Err(InvalidValue::new(format!(
                    "the prefix {prefix:?} of {name} is not a valid path; use letters, digits, - and _"
                )))
            }
            prefix => Ok(Self { name: name.to_owned(), prefix: prefix.map(without_trailing_slash) }),
        }
    }
}

fn without_trailing_slash(prefix: &str) -> String {
    match prefix.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}
