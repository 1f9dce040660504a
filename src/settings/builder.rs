//! Settings builder: for services that embed doorward and set values in code instead of the environment. Every value passes
//! the same parsers and cross-checks as a variable; only their sources differ.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::server::mounts::KnownDialect;
use super::{ConfigErrors, Settings};

/// Collects settings; `build` checks them. A setting that is not given has its default, and no variable is read.
#[derive(Debug, Clone)]
pub struct SettingsBuilder {
    known: Vec<KnownDialect>,
    values: BTreeMap<String, String>,
}

impl SettingsBuilder {
    /// Without a value, for a service with these dialects.
    pub fn new(known: Vec<KnownDialect>) -> Self {
        Self { known, values: BTreeMap::new() }
    }

    /// Sets any setting by its name in docs/settings.md, written as in the environment.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// `DATABASE_URL`: `sqlite://FILE` or `postgres://…`.
    #[must_use]
    pub fn database_url(self, url: &str) -> Self {
        self.set("DATABASE_URL", url)
    }

    /// `KEYS_FILE`.
    #[must_use]
    pub fn keys_file(self, file: &Path) -> Self {
        self.set("KEYS_FILE", file.to_string_lossy())
    }

    /// `BIND`.
    #[must_use]
    pub fn bind(self, address: SocketAddr) -> Self {
        self.set("BIND", address.to_string())
    }

    /// `PUBLIC_URL`: what browsers reach the service by.
    #[must_use]
    pub fn public_url(self, url: &str) -> Self {
        self.set("PUBLIC_URL", url)
    }

    /// `DIALECTS`: which ones are mounted, `NAME` or `NAME=PREFIX` each.
    #[must_use]
    pub fn dialects(self, mounts: &[&str]) -> Self {
        self.set("DIALECTS", mounts.join(","))
    }

    /// `CORS_ORIGINS`: the origins whose pages may call the service.
    #[must_use]
    pub fn cors_origins(self, origins: &[&str]) -> Self {
        self.set("CORS_ORIGINS", origins.join(","))
    }

    /// `TRUSTED_PROXIES`: networks whose forwarded headers count.
    #[must_use]
    pub fn trusted_proxies(self, networks: &[&str]) -> Self {
        self.set("TRUSTED_PROXIES", networks.join(","))
    }

    /// `ACCESS_TTL`, in whole seconds.
    #[must_use]
    pub fn access_ttl(self, ttl: Duration) -> Self {
        self.set("ACCESS_TTL", ttl.as_secs().to_string())
    }

    /// `REFRESH_TTL`, in whole seconds.
    #[must_use]
    pub fn refresh_ttl(self, ttl: Duration) -> Self {
        self.set("REFRESH_TTL", ttl.as_secs().to_string())
    }

    /// `SIGNUP`: whether strangers may register.
    #[must_use]
    pub fn signup(self, open: bool) -> Self {
        self.set("SIGNUP", open.to_string())
    }

    /// `PAGES`: whether the hosted pages are served.
    #[must_use]
    pub fn pages(self, served: bool) -> Self {
        self.set("PAGES", served.to_string())
    }

    /// Parses and cross-checks the values: every error is reported, as at a start of the binary.
    pub fn build(self) -> Result<Settings, ConfigErrors> {
        Settings::from_vars(&self.values, &self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> SettingsBuilder {
        SettingsBuilder::new(vec![KnownDialect { name: "native", prefix: "/", rotates: true }])
    }

    #[test]
    fn builder_values_are_the_settings() {
        let minute = Duration::from_secs(60);
        let settings = builder().access_ttl(minute).signup(false).database_url("sqlite://x.db").build().unwrap();
        assert_eq!((settings.tokens.access_ttl, settings.passwords.allows_signup()), (minute, false));
        assert_eq!(settings.database.database_url.file(), Some(Path::new("x.db")));
        let defaults = builder().build().unwrap();
        assert!(defaults.passwords.allows_signup() && defaults.tokens.access_ttl > minute);
    }

    #[test]
    fn builder_reports_every_error_at_once() {
        let errors = builder().set("ACCESS_TTL", "soon").set("PUBLIC_URL", "nowhere").set("ACESS_TTL", "5m").build();
        let errors = errors.unwrap_err().0;
        for name in ["ACCESS_TTL:", "PUBLIC_URL:", "ACESS_TTL:"] {
            assert!(errors.iter().any(|error| error.starts_with(name)), "{name} in {errors:?}");
        }
    }

    #[test]
    fn builder_runs_the_cross_checks() {
        let longer = builder().access_ttl(Duration::from_secs(120)).refresh_ttl(Duration::from_secs(60)).build();
        assert!(longer.unwrap_err().0.iter().any(|error| error.starts_with("ACCESS_TTL:")));
    }
}
