//! All settings: read from the environment and `.env`, parsed one by one, cross-checked, and every error reported together.
//! Each concern is a struct in settings/. Its doc comments are the help, `.env.example` and docs/settings.md.

pub mod builder;
mod cross_checks;
mod database;
mod env_file;
mod mail;
mod metrics;
mod names;
mod secret_files;
mod security;
mod server;
pub mod values;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser};

use names::unknown_names;
use server::mounts::resolve_mounts;
use values::entries;

pub use database::DatabaseSettings;
pub use mail::{MailSettings, MailTls, SmtpUrl};
pub use metrics::MetricsSettings;
pub use security::cookies::{CookiePrefix, CookieSettings, SameSite};
pub use security::keys::{KeySettings, TokenAlgorithm};
pub use security::passwords::PasswordSettings;
pub use security::throttle::{FreeFailures, Rate, ThrottleSettings};
pub use security::tokens::TokenSettings;
pub use server::forward_auth::{ForwardAuthSettings, ForwardedHeaders};
pub use server::forward_rules;
pub use server::mounts::{KnownDialect, Mount};
pub use server::pages::{Colour, PageSettings, RedirectHost};
pub use server::web::{LogFormat, MountText, WebSettings};

/// Keys for which an empty value is an error, not a missing one: a secret that a deployment failed to fill in must not
/// silently be replaced by a key of the keys file.
const NEVER_EMPTY: [&str; 2] = ["JWT_SECRET", "PEPPER"];

/// The least BCRYPT_COST outside of a test suite.
pub(crate) const BCRYPT_COST_MIN: u32 = 10;

/// The list that is empty if its value is empty, instead of its default: no default is empty, so nothing else could say it.
const EMPTY_IS_A_VALUE: &str = "RESERVED_NAMES";

/// The configuration of a node.
#[derive(Debug, Clone, Parser)]
#[command(name = "doorward", disable_help_flag = true)]
pub struct Settings {
    /// Address, origins, proxies, mounts, logs.
    #[command(flatten)]
    pub web: WebSettings,
    /// Database URL, connections, timeouts.
    #[command(flatten)]
    pub database: DatabaseSettings,
    /// Lifetimes of tokens and sessions.
    #[command(flatten)]
    pub tokens: TokenSettings,
    /// Signing keys and pepper.
    #[command(flatten)]
    pub keys: KeySettings,
    /// Hashing and registration.
    #[command(flatten)]
    pub passwords: PasswordSettings,
    /// Mail server and sender.
    #[command(flatten)]
    pub mail: MailSettings,
    /// Waits and rate limits.
    #[command(flatten)]
    pub throttle: ThrottleSettings,
    /// Access to the metrics.
    #[command(flatten)]
    pub metrics: MetricsSettings,
    /// Names and attributes of cookies.
    #[command(flatten)]
    pub cookies: CookieSettings,
    /// Redirects and pages.
    #[command(flatten)]
    pub pages: PageSettings,
    /// Rules and headers of forward-auth checks.
    #[command(flatten)]
    pub forward_auth: ForwardAuthSettings,
    /// The mounts with their lifetimes. Never empty after loading.
    #[arg(skip)]
    pub mounts: Vec<Mount>,
}

/// Every error in the settings, one message each.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// A setting as the documentation shows it.
#[derive(Debug, Clone)]
pub struct SettingDescription {
    /// The heading of its group.
    pub heading: String,
    /// The variable's name.
    pub name: String,
    /// The meaning.
    pub help: String,
    /// Its default, if it has one.
    pub default: Option<String>,
}

impl Settings {
    /// Reads the environment, and a file for what the environment does not set: the given one, which must exist, or `.env` in the
    /// working directory if it is there.
    pub fn from_environment(known: &[KnownDialect], file: Option<&Path>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let text = match file {
            Some(path) => read_file(path).map(Some),
            None if Path::new(".env").exists() => read_file(Path::new(".env")).map(Some),
            None => Ok(None),
        };
        let name = file.unwrap_or(Path::new(".env")).display();
        let mut vars = BTreeMap::new();
        match text {
            Ok(text) => {
                let (variables, mistakes) = env_file::parse(&text.unwrap_or_default());
                vars.extend(variables);
                errors.extend(mistakes.iter().map(|mistake| format!("{name}: {mistake}")));
            }
            Err(problem) => errors.push(format!("{name}: {problem}")),
        }
        // An empty variable counts as unset and does not hide the value in the file, except where an empty value says something.
        let (environment, unreadable) = environment();
        let may_be_empty = |name: &str| NEVER_EMPTY.contains(&name) || name == EMPTY_IS_A_VALUE;
        let is_set = |name: &str, value: &str| !value.trim().is_empty() || may_be_empty(name);
        let environment: Vec<_> = environment.into_iter().filter(|(name, value)| is_set(name, value)).collect();
        for (name, _) in &environment {
            // A setting of the environment takes the place of both of its forms in the file.
            vars.remove(&format!("{name}_FILE"));
            secret_files::setting_of_file(name).and_then(|setting| vars.remove(setting));
        }
        vars.extend(environment);
        errors.extend(unreadable);
        let mut settings = Self::from_vars(&vars, known);
        if !errors.is_empty() {
            errors.extend(settings.err().map(|more| more.0).unwrap_or_default());
            settings = Err(ConfigErrors(errors));
        }
        settings
    }

    /// Reads only the given variables, and the files that they name: for tests and embedding services.
    pub fn from_vars(vars: &BTreeMap<String, String>, known: &[KnownDialect]) -> Result<Self, ConfigErrors> {
        let command = Self::command();
        let (names, lists) = (setting_names(&command, |_| true), setting_names(&command, is_list));
        let mut errors = unknown_names(vars, &names, known);
        let (vars, unreadable) = secret_files::resolve(vars);
        errors.extend(unreadable);
        for name in NEVER_EMPTY.into_iter().filter(|name| vars.get(*name).is_some_and(|key| key.trim().is_empty())) {
            errors.push(format!("{name}: the value is empty; remove it, or make a key with: openssl rand -base64 48"));
        }
        let value_of = |name: &String| {
            let value = vars.get(name)?;
            let value = if lists.contains(name) {
                entries(value).collect::<Vec<_>>().join(",")
            } else {
                value.trim().to_owned()
            };
            (!value.is_empty() || name == EMPTY_IS_A_VALUE).then_some(value)
        };
        let argument = |name: &str, value: &str| format!("--{}={value}", name.to_lowercase().replace('_', "-"));
        let given = names.iter().filter_map(|name| Some((name, value_of(name)?)));
        let mut arguments: Vec<_> = given.map(|(name, value)| (name.as_str(), argument(name, &value))).collect();
        let mut parsed = parse_arguments(&arguments);
        if parsed.is_err() {
            // clap stops at the first error, so each argument is parsed alone to report all of them, and the valid ones
            // together for the cross-checks.
            arguments.retain(|argument| match parse_arguments(std::slice::from_ref(argument)) {
                Ok(_) => true,
                Err(error) => {
                    errors.push(format!("{}: {}", argument.0, error_message(&error)));
                    false
                }
            });
            parsed = parse_arguments(&arguments);
        }
        let mut settings = parsed.map_err(|error| ConfigErrors(vec![error_message(&error)]))?;
        let (mounts, mount_errors) = resolve_mounts(&settings.web.dialects, &vars, known);
        settings.mounts = mounts;
        errors.extend(mount_errors);
        // A setting with an invalid value is compared by its default, about which it says nothing.
        let is_reported = |conflict: &String| errors.iter().any(|error| setting_of(error) == setting_of(conflict));
        let conflicts: Vec<String> =
            settings.conflicts().into_iter().filter(|conflict| !is_reported(conflict)).collect();
        errors.extend(conflicts);
        if errors.is_empty() { Ok(settings) } else { Err(ConfigErrors(errors)) }
    }

    /// The path of the keys file.
    pub fn keys_file(&self) -> PathBuf {
        match (&self.keys.keys_file, self.database.database_url.file()) {
            (Some(file), _) => file.clone(),
            (None, Some(database)) => database.with_extension("keys"),
            (None, None) => PathBuf::from("doorward.keys"),
        }
    }

    /// The page that the link in a sign-up's mail opens, without the token.
    pub fn confirm_page(&self) -> Option<url::Url> {
        let own_page = || self.web.public_url.as_ref().filter(|_| self.pages.pages)?.join("/register/confirm").ok();
        self.mail.signup_confirm_url.clone().or_else(own_page)
    }

    /// The longest refresh token lifetime of all mounts.
    pub fn longest_refresh_ttl(&self) -> Duration {
        let mount_ttls = self.mounts.iter().filter_map(|mount| mount.refresh_ttl);
        mount_ttls.fold(self.tokens.refresh_ttl, Duration::max)
    }

    /// The `iss` claim of tokens.
    pub fn issuer(&self) -> String {
        let public = self.web.public_url.as_ref().map(|url| url.origin().ascii_serialization());
        self.tokens.issuer.clone().or(public).unwrap_or_else(|| "doorward".to_owned())
    }

    /// Whether browsers reach the service over https.
    pub fn is_https(&self) -> bool {
        self.web.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }

    /// Which cookies are not Secure; `None` if all are.
    pub(crate) fn insecure_cookies(&self) -> Option<&'static str> {
        match (self.is_https(), self.web.trusted_proxies.is_empty()) {
            (true, _) => None,
            (false, true) => Some("cookies are not Secure"),
            (false, false) => Some("cookies are Secure only where a trusted proxy sends X-Forwarded-Proto: https"),
        }
    }

    /// Why the proxy that serves https should be in TRUSTED_PROXIES, unless one is there.
    pub(crate) fn missing_proxies(&self) -> Option<&'static str> {
        (self.is_https() && self.web.trusted_proxies.is_empty()).then_some(
            "TRUSTED_PROXIES is not set, but an https PUBLIC_URL needs a proxy: all clients have the proxy's address, and one \
             client's failed sign-ins throttle everyone",
        )
    }

    /// Warnings about settings that are unsafe on the internet.
    pub fn security_warnings(&self) -> Vec<String> {
        let insecure = self.insecure_cookies().map(|which| format!("{which}; set PUBLIC_URL=https://…"));
        let mut warnings: Vec<String> = insecure.into_iter().collect();
        if !self.web.bind.ip().is_loopback() && !self.is_https() {
            warnings.push(format!("BIND={} accepts connections from other machines without https", self.web.bind));
        }
        warnings.extend(self.missing_proxies().map(ToOwned::to_owned));
        if let Some(all) = self.web.trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
            warnings.push(format!(
                "TRUSTED_PROXIES={all} trusts every address: any client can forge its address; list the proxies' addresses only"
            ));
        }
        if self.passwords.test_mode {
            let weak = self.passwords.bcrypt_cost < BCRYPT_COST_MIN;
            warnings.push(if weak {
                format!("TEST_MODE is on, and BCRYPT_COST={} makes weak password hashes", self.passwords.bcrypt_cost)
            } else {
                "TEST_MODE is on: limits may be turned off".to_owned()
            });
        }
        warnings
    }
}

/// The name with which an error begins.
fn setting_of(error: &str) -> Option<&str> {
    error.split(':').next()
}

/// The names of the settings that fulfil a condition.
fn setting_names(command: &clap::Command, condition: impl Fn(&clap::Arg) -> bool) -> Vec<String> {
    command.get_arguments().filter(|argument| condition(argument)).map(name_of).collect()
}

fn name_of(argument: &clap::Arg) -> String {
    argument.get_id().as_str().to_uppercase()
}

fn is_list(argument: &clap::Arg) -> bool {
    argument.get_value_delimiter().is_some()
}

/// The settings in the order of the help, without those of single mounts.
pub fn describe() -> Vec<SettingDescription> {
    let command = Settings::command();
    let described = command.get_arguments().map(|argument| SettingDescription {
        heading: argument.get_help_heading().unwrap_or_default().to_owned(),
        name: name_of(argument),
        help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
        default: argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned()),
    });
    described.collect()
}

/// The environment's variables, and an error for each setting whose value is not UTF-8. Other variables are ignored then.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> (BTreeMap<String, String>, Vec<String>) {
    let names = setting_names(&Settings::command(), |_| true);
    let (mut vars, mut errors) = (BTreeMap::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(vars.insert(name, value)),
            Err(_bytes) if names.contains(&name) => errors.push(format!("{name}: the value is not valid UTF-8")),
            Err(_bytes) => {}
        }
    }
    (vars, errors)
}

/// The text of a settings file, or why it cannot be read.
fn read_file(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "does not exist; correct the path, or write one with `doorward settings`".to_owned(),
        ErrorKind::PermissionDenied => format!("cannot be read: permission denied{}", secret_files::owner(path)),
        ErrorKind::InvalidData => "is not valid UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    })
}

/// Parses the arguments of these names.
fn parse_arguments(arguments: &[(&str, String)]) -> Result<Settings, clap::Error> {
    Settings::try_parse_from(std::iter::once("doorward").chain(arguments.iter().map(|(_, argument)| argument.as_str())))
}

/// The message of a parse error without clap's usage text.
fn error_message(error: &clap::Error) -> String {
    match error.source() {
        Some(cause) => cause.to_string(),
        None => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

#[cfg(test)]
mod tests;
