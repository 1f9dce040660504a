//! Where the service listens, who may ask, what is mounted.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::values::{address, network, origin, switch};

/// Settings of the web side.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Web")]
pub struct Web {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9154", value_parser = address)]
    pub bind: SocketAddr,

    /// The origin browsers reach the service under: https://auth.example.com. https makes cookies Secure.
    #[arg(long, value_parser = origin)]
    pub public_url: Option<Url>,

    /// What is served where, comma-separated: native=/auth-api. A name alone stands under its usual prefix. Default: every
    /// dialect under its usual prefix.
    #[arg(long, value_delimiter = ',')]
    pub dialects: Vec<MountText>,

    /// Other origins whose pages may call the service with cookies, comma-separated and exact: https://app.example.com.
    #[arg(long, value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<Url>,

    /// Refuse a state-changing request that brings cookies and neither Origin nor Sec-Fetch-Site.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = switch)]
    pub csrf_strict: bool,

    /// Networks of the proxies in front, comma-separated: only their X-Forwarded-For and X-Forwarded-Proto count.
    #[arg(long, value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,

    /// Threads that answer requests. Default: one a processor core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// Client connections that this node holds at once, shared out among its workers. One more waits, connected and
    /// unanswered, until another closes: silent ones close after 5 s, slow ones within 10 s. Each takes a file descriptor.
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// How long a stopping node keeps answering with /readyz 503, so that a load balancer can leave it alone.
    #[arg(long, default_value = "1s", value_parser = drain)]
    pub drain_delay: Duration,

    /// What is logged: error, warn, info, debug, trace, also by module (info,doorward=debug).
    #[arg(long, default_value = "info", value_parser = log_filter)]
    pub rust_log: String,

    /// `text`, or `json`: one object a line.
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

/// The whole stop may take 10 s, so the part before it is short.
fn drain(text: &str) -> Result<Duration, String> {
    match super::values::duration(text)? {
        long if long > Duration::from_secs(4) => Err("a stop takes 10 s at most; use at most 4s here".to_owned()),
        short => Ok(short),
    }
}

/// A misspelt level would be taken for a module's name, and every line would be gone.
fn log_filter(text: &str) -> Result<String, String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| levels.contains(&word.trim().to_ascii_lowercase().as_str());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        let level = level.split('/').next().unwrap_or(level);
        let module =
            !part.contains('=') && (part.contains("::") || ["doorward", "actix_web", "actix_server"].contains(&part));
        if !is_level(level) && !module {
            return Err(format!(
                "{level:?} is no level; use error, warn, info, debug or trace, or info,doorward=debug"
            ));
        }
    }
    Ok(text.to_owned())
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is no log format; use text or json")),
        }
    }
}

/// One entry of DIALECTS as it was written: a name, and a prefix unless the usual one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountText {
    /// The dialect's name.
    pub name: String,
    /// `/`, or a path without its last slash.
    pub prefix: Option<String>,
}

impl FromStr for MountText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, prefix) = match text.trim().split_once('=') {
            Some((name, prefix)) => (name.trim(), Some(prefix.trim())),
            None => (text.trim(), None),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        match prefix {
            Some(prefix) if !prefix.starts_with('/') => {
                Err(format!("the prefix of {name} is {prefix:?} and must begin with a slash: {name}=/{prefix}"))
            }
            Some(prefix) if !prefix.chars().all(fits) || prefix.contains("//") || prefix.contains("/.") => {
                Err(format!("the prefix {prefix:?} is no plain path; use letters, digits, - and _"))
            }
            prefix => Ok(Self { name: name.to_owned(), prefix: prefix.map(tidy) }),
        }
    }
}

fn tidy(prefix: &str) -> String {
    match prefix.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}
