//! All settings: read from the environment and `.env`, checked one by one and against each other, every fault told
//! at once. One struct a concern, in settings/; their doc comments are the help, `.env.example` and docs/settings.md.

mod builder;
mod cookies;
mod cross_checks;
mod database;
mod forward_auth;
pub mod forward_rules;
mod keys;
mod mail;
mod metrics;
mod mounts;
mod names;
mod pages;
mod passwords;
mod throttle;
mod tokens;
pub mod values;
mod web;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser};

use mounts::mount_ttl;
use names::unknown_names;

pub use builder::SettingsBuilder;
pub use cookies::{Cookies, Prefix, SameSite};
pub use database::Database;
pub use forward_auth::{ForwardAuth, ForwardedHeaders};
pub use keys::{Keys, TokenAlgorithm};
pub use mail::{Mail, MailTls, SmtpUrl};
pub use metrics::MetricsSettings;
pub use mounts::{KnownDialect, Mount};
pub use pages::{Colour, Pages, RedirectHost};
pub use passwords::Passwords;
pub use throttle::{Free, Rate, Throttle};
pub use tokens::Tokens;
pub use web::{LogFormat, MountText, Web};

/// Keys: somebody who sets one means to, and a variable that came out empty must not quietly be another key.
const NEVER_EMPTY: [&str; 2] = ["JWT_SECRET", "PEPPER"];

/// Everything a node is told before it starts.
#[derive(Debug, Clone, Parser)]
#[command(name = "doorward", disable_help_flag = true)]
pub struct Settings {
    /// Listening, origins, proxies, mounts, logs.
    #[command(flatten)]
    pub web: Web,
    /// Where the rows are.
    #[command(flatten)]
    pub database: Database,
    /// Lifetimes.
    #[command(flatten)]
    pub tokens: Tokens,
    /// Signing keys and pepper.
    #[command(flatten)]
    pub keys: Keys,
    /// Hashing and registration.
    #[command(flatten)]
    pub passwords: Passwords,
    /// How mails leave.
    #[command(flatten)]
    pub mail: Mail,
    /// How often a secret may be tried.
    #[command(flatten)]
    pub throttle: Throttle,
    /// Who may read the counters.
    #[command(flatten)]
    pub metrics: MetricsSettings,
    /// Names and reach of cookies.
    #[command(flatten)]
    pub cookies: Cookies,
    /// Redirects and pages.
    #[command(flatten)]
    pub pages: Pages,
    /// What proxies get told, and are believed.
    #[command(flatten)]
    pub forward_auth: ForwardAuth,
    /// What is served where, with the lifetimes of each mount; never empty after loading.
    #[arg(skip)]
    pub mounts: Vec<Mount>,
}

/// Everything that is wrong with the settings, a sentence each.
#[derive(Debug)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

/// One setting as the documentation shows it.
#[derive(Debug, Clone)]
pub struct Description {
    /// The concern it belongs to.
    pub heading: String,
    /// The variable's name.
    pub name: String,
    /// What it does.
    pub help: String,
    /// Its default, if it has one.
    pub default: Option<String>,
}

impl Settings {
    /// Reads `.env` in the working directory, then the environment over it.
    pub fn from_environment(known: &[KnownDialect]) -> Result<Self, Faults> {
        let mut vars = BTreeMap::new();
        let mut faults = Vec::new();
        if Path::new(".env").exists() {
            match dotenvy::from_filename_iter(".env") {
                Ok(entries) => entries.for_each(|entry| match entry {
                    Ok((name, value)) => drop(vars.insert(name, value)),
                    Err(why) => faults.push(explain_env_file(&why)),
                }),
                Err(why) => faults.push(format!(".env cannot be read: {why}")),
            }
        }
        // An empty variable says nothing, so it does not hide what .env says; but for keys.
        let (environment, unreadable) = environment();
        let says = |name: &str, value: &str| !value.trim().is_empty() || NEVER_EMPTY.contains(&name);
        vars.extend(environment.into_iter().filter(|(name, value)| says(name, value)));
        faults.extend(unreadable);
        let mut settings = Self::from_vars(&vars, known);
        if !faults.is_empty() {
            faults.extend(settings.err().map(|more| more.0).unwrap_or_default());
            settings = Err(Faults(faults));
        }
        settings
    }

    /// Reads the given variables only: what tests and embedding services use.
    pub fn from_vars(vars: &BTreeMap<String, String>, known: &[KnownDialect]) -> Result<Self, Faults> {
        let names: Vec<String> = describe().into_iter().map(|setting| setting.name).collect();
        let mut faults = unknown_names(vars, &names, known);
        let mut arguments = vec!["doorward".to_owned()];
        for name in NEVER_EMPTY.into_iter().filter(|name| vars.get(*name).is_some_and(|key| key.trim().is_empty())) {
            faults
                .push(format!("{name}: it is set and empty; leave it out, or make one with: openssl rand -base64 48"));
        }
        for name in &names {
            let Some(value) = vars.get(name).map(|value| value.trim()).filter(|value| !value.is_empty()) else {
                continue;
            };
            let argument = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
            match Self::try_parse_from(["doorward", &argument]) {
                Ok(_) => arguments.push(argument),
                Err(error) => faults.push(format!("{name}: {}", sentence(&error))),
            }
        }
        let mut settings = match Self::try_parse_from(&arguments) {
            Ok(settings) => settings,
            Err(error) => return Err(Faults(vec![sentence(&error)])),
        };
        faults.extend(settings.place_mounts(vars, known));
        faults.extend(settings.contradictions());
        if faults.is_empty() { Ok(settings) } else { Err(Faults(faults)) }
    }

    /// Where signing keys and pepper are kept.
    pub fn keys_file(&self) -> PathBuf {
        match (&self.keys.keys_file, self.database.database_url.file()) {
            (Some(file), _) => file.clone(),
            (None, Some(database)) => database.with_extension("keys"),
            (None, None) => PathBuf::from("doorward.keys"),
        }
    }

    /// The page that a sign-up's link leads to, without its token.
    pub fn confirm_page(&self) -> Option<url::Url> {
        let ours = || self.web.public_url.as_ref().filter(|_| self.pages.pages)?.join("/register/confirm").ok();
        self.mail.signup_confirm_url.clone().or_else(ours)
    }

    /// How long a refresh token lives on the mount where it lives longest.
    pub fn longest_refresh_ttl(&self) -> Duration {
        let of_mounts = self.mounts.iter().filter_map(|mount| mount.refresh_ttl);
        of_mounts.fold(self.tokens.refresh_ttl, Duration::max)
    }

    /// The `iss` of tokens.
    pub fn issuer(&self) -> String {
        let public = self.web.public_url.as_ref().map(|url| url.origin().ascii_serialization());
        self.tokens.issuer.clone().or(public).unwrap_or_else(|| "doorward".to_owned())
    }

    /// Whether browsers reach the service over https.
    pub fn is_https(&self) -> bool {
        self.web.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }

    /// What of these settings must not go to the internet, a sentence each.
    pub fn unsafe_points(&self) -> Vec<String> {
        let mut points = Vec::new();
        match &self.web.public_url {
            Some(url) if url.scheme() == "https" => {}
            _ => points.push("cookies travel without Secure; set PUBLIC_URL=https://…".to_owned()),
        }
        if !self.web.bind.ip().is_loopback() && !self.is_https() {
            points.push("it listens beyond this machine without https in front".to_owned());
        }
        if self.passwords.test_mode {
            points.push("TEST_MODE is on: hashes are cheap to guess".to_owned());
        }
        points
    }

    fn place_mounts(&mut self, vars: &BTreeMap<String, String>, known: &[KnownDialect]) -> Vec<String> {
        let mut faults = Vec::new();
        let wanted: Vec<MountText> = if self.web.dialects.is_empty() {
            known.iter().map(|dialect| MountText { name: dialect.name.to_owned(), prefix: None }).collect()
        } else {
            self.web.dialects.clone()
        };
        for text in wanted {
            let Some(dialect) = known.iter().find(|dialect| dialect.name == text.name) else {
                let names: Vec<&str> = known.iter().map(|dialect| dialect.name).collect();
                faults.push(format!("DIALECTS: there is no dialect {:?}; there are: {}", text.name, names.join(", ")));
                continue;
            };
            let prefix = text.prefix.unwrap_or_else(|| dialect.prefix.to_owned());
            if let Some(other) = self.mounts.iter().find(|mount| mount.prefix == prefix) {
                let other = &other.dialect;
                faults.push(format!(
                    "DIALECTS: {other} and {} are both under {prefix}; give one another prefix",
                    text.name
                ));
            }
            let mut ttl =
                |kind: &str| mount_ttl(vars, &text.name, kind).map_err(|fault| faults.push(fault)).ok().flatten();
            let (access_ttl, refresh_ttl) = (ttl("ACCESS_TTL"), ttl("REFRESH_TTL"));
            self.mounts.push(Mount { dialect: text.name, prefix, access_ttl, refresh_ttl });
        }
        faults
    }
}

/// The settings in the order of the help, without the mounts' own.
pub fn describe() -> Vec<Description> {
    let command = Settings::command();
    let described = command.get_arguments().map(|argument| Description {
        heading: argument.get_help_heading().unwrap_or_default().to_owned(),
        name: argument.get_id().as_str().to_uppercase(),
        help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
        default: argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned()),
    });
    described.collect()
}

/// The readable variables, and a sentence for each setting that is not.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> (BTreeMap<String, String>, Vec<String>) {
    let names: Vec<String> = describe().into_iter().map(|setting| setting.name).collect();
    let (mut read, mut faults) = (BTreeMap::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(read.insert(name, value)),
            Err(_octets) if names.contains(&name) => faults.push(format!("{name}: its value is no UTF-8 text")),
            Err(_octets) => {}
        }
    }
    (read, faults)
}

/// Where the file breaks off, without a word of what stands there: it may be a key.
fn explain_env_file(why: &dotenvy::Error) -> String {
    let place = match why {
        dotenvy::Error::LineParse(line, _) => {
            let text = std::fs::read_to_string(".env").unwrap_or_default();
            let number = text.lines().position(|of_file| !of_file.is_empty() && line.contains(of_file.trim()));
            number.map(|number| format!(" in line {}", number + 1)).unwrap_or_default()
        }
        _ => String::new(),
    };
    format!(".env cannot be read{place}; write NAME=value, a line each, and quote what has spaces: NAME=\"two words\"")
}

/// The reason alone, without clap's frame around it.
fn sentence(error: &clap::Error) -> String {
    match error.source() {
        Some(cause) => cause.to_string(),
        None => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

#[cfg(test)]
mod tests;
