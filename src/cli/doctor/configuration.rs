//! Configuration check: settings against each other, the files they name, the mail server and the database. Single settings
//! are checked where they are parsed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use url::Url;

use super::finding::Finding::{self, Failed, Passed, Warning};
use crate::core::startup;
use crate::core::startup::OpenError;
use crate::mail::Mailer;
use crate::settings::{SameSite, Settings};
use crate::web::dialects;

/// Every finding about the settings.
pub fn check(settings: &Settings, config: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![Passed("every setting is valid".to_owned())];
    findings.extend(public_url(settings));
    findings.extend(proxies(settings));
    findings.extend(cross_site(settings));
    findings.extend(files(settings, config));
    findings.extend(mail(settings));
    let database = database(settings);
    let is_usable = matches!(database, Passed(_));
    findings.push(database);
    if is_usable {
        findings.extend(nodes(settings));
    }
    findings
}

/// Whether the running nodes of the database have the keys of these settings, and the time of this machine.
fn nodes(settings: &Settings) -> Vec<Finding> {
    if settings.database.database_url.file().is_some_and(|file| !file.exists()) {
        return Vec::new();
    }
    let comparison = match startup::compare_with_nodes(settings) {
        Ok(comparison) => comparison,
        // Before its migrations there is nothing to compare with.
        Err(OpenError::Database { .. }) => return Vec::new(),
        Err(error) => return vec![Failed(error.to_string())],
    };
    let warnings = comparison.warnings(settings.tokens.clock_skew);
    match comparison.live {
        _ if !warnings.is_empty() => warnings.into_iter().map(Failed).collect(),
        0 => vec![Passed("no node of this database runs now".to_owned())],
        1 => vec![Passed("the running node of this database has these keys and this clock".to_owned())],
        live => vec![Passed(format!("the {live} running nodes of this database have these keys and this clock"))],
    }
}

fn public_url(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match (&settings.web.public_url, settings.insecure_cookies()) {
        (Some(url), None) => Passed(format!("browsers reach the service at {}", origin_of(url))),
        (Some(url), Some(cookies)) => {
            Warning(format!("PUBLIC_URL is {}: {cookies}; suitable for development only", origin_of(url)))
        }
        (None, cookies) => Warning(format!(
            "PUBLIC_URL is not set: {}, and the service takes its own origin from the Host header; set it to the URL that \
             browsers use",
            cookies.unwrap_or_default()
        )),
    });
    let others = settings.security_warnings().into_iter().filter(|warning| !warning.contains("PUBLIC_URL"));
    findings.extend(others.map(Warning));
    findings
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The service itself has no TLS, so an https URL means that a reverse proxy is in front.
fn proxies(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let proxies = &settings.web.trusted_proxies;
    let any_address = proxies.iter().find(|network| network.prefix_len() == 0);
    if let Some(all) = any_address {
        findings.push(Failed(format!(
            "TRUSTED_PROXIES: {all} includes every address, so any client can forge its address and evade the throttle; \
             list only the proxies' addresses"
        )));
    }
    if let Some(why) = settings.missing_proxies() {
        findings.push(Failed(format!("{why}; set it to the proxy's address")));
    }
    match (settings.is_https(), proxies.is_empty()) {
        (false, false) if settings.web.public_url.is_some() => findings.push(Warning(
            "TRUSTED_PROXIES is set, but PUBLIC_URL is http: if the proxy serves https, set PUBLIC_URL=https://…"
                .to_owned(),
        )),
        (true, false) if any_address.is_none() => {
            findings.push(Passed("client addresses are taken from the headers of trusted proxies".to_owned()));
        }
        _ => {}
    }
    findings
}

/// Browsers send cookies with requests from other sites only when they are SameSite=None.
fn cross_site(settings: &Settings) -> Vec<Finding> {
    let Some(own) = &settings.web.public_url else { return Vec::new() };
    let other_sites = settings.web.cors_origins.iter().filter(|other| !same_site(own, other));
    let without_cookies = other_sites.filter(|_| settings.cookies.cookie_same_site != SameSite::None);
    without_cookies.map(|other| {
        Failed(format!(
            "CORS_ORIGINS: {} is a different site than {}, so browsers send no SameSite={} cookies with its requests; serve \
             it under the same domain and scheme, or set COOKIE_SAME_SITE=None",
            origin_of(other),
            origin_of(own),
            settings.cookies.cookie_same_site.as_str()
        ))
    })
    .collect()
}

/// Whether two URLs are of the same site: same scheme and registrable domain. The registrable domain is taken to be two labels;
/// under a longer public suffix (co.uk) different sites are not recognised.
pub(super) fn same_site(one: &Url, other: &Url) -> bool {
    let site = |url: &Url| {
        let host = url.host_str().unwrap_or_default().to_owned();
        if host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[') {
            return host;
        }
        let labels: Vec<&str> = host.rsplitn(3, '.').take(2).collect();
        labels.join(".")
    };
    one.scheme() == other.scheme() && site(one) == site(other)
}

fn files(settings: &Settings, config: Option<&Path>) -> Vec<Finding> {
    let keys = settings.keys_file();
    let uses_keys = settings.keys.jwt_secret.is_none() || settings.keys.pepper.is_none();
    let secret_files = [
        ("KEYS_FILE", uses_keys.then_some(keys.as_path())),
        ("DATABASE_URL", settings.database.database_url.file()),
        ("settings", Some(config.unwrap_or(Path::new(".env")))),
    ];
    let existing = secret_files.into_iter().filter_map(|(name, path)| Some((name, path?)));
    existing.filter_map(|(name, path)| check_file_mode(name, path)).collect()
}

fn check_file_mode(name: &str, path: &Path) -> Option<Finding> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Failed(format!("{name}: {} cannot be read: {error}", path.display()))),
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Some(Failed(format!("{name}: other users can read {path} (mode {mode:o}); run: chmod 600 {path}")));
    }
    Some(Passed(format!("{name}: only the owner can read {}", path.display())))
}

/// Whether the mail server is reachable, and which dialects cannot register, when sign-ups are confirmed by email.
fn mail(settings: &Settings) -> Vec<Finding> {
    if !settings.passwords.signup_confirm_email {
        return Vec::new();
    }
    let mailer = match Mailer::new(&settings.mail) {
        Ok(Some(mailer)) => mailer,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Failed(error.to_string())],
    };
    let mut findings = vec![match mailer.test_connection() {
        Ok(server) => Passed(format!("SMTP_URL: {server} accepts mail")),
        Err(error) => Failed(format!("SMTP_URL: {error}; sign-up mails are queued until the server is reachable")),
    }];
    let registers_into_session =
        |name: &&str| dialects::ALL.iter().any(|known| known.name == *name && known.registers_into_session);
    let closed: Vec<&str> =
        settings.mounts.iter().map(|mount| mount.dialect.as_str()).filter(registers_into_session).collect();
    if !closed.is_empty() {
        findings.push(Warning(format!(
            "SIGNUP_CONFIRM_EMAIL disables registration in these dialects, which answer it with a session: {}; register through \
             the native API or the pages",
            closed.join(", ")
        )));
    }
    findings
}

fn database(settings: &Settings) -> Finding {
    let url = &settings.database.database_url;
    if let Some(file) = url.file()
        && !file.exists()
    {
        return Passed(format!("{url} does not exist; the first start creates it"));
    }
    match startup::pending_migrations(url) {
        Ok(0) => Passed(format!("{url} is reachable and up to date")),
        Ok(missing) if settings.database.auto_migrate => {
            Passed(format!("{url} is reachable; the next start runs {missing} pending migrations"))
        }
        Ok(missing) => Failed(OpenError::MigrationsPending(missing).to_string()),
        Err(error) => Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_scheme_and_a_registrable_domain() {
        let same = |one: &str, other: &str| same_site(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("https://auth.example.com", "https://app.example.com:8443"));
        assert!(same("http://127.0.0.1:1", "http://127.0.0.1:2") && !same("http://127.0.0.1:1", "http://127.0.0.2:1"));
        assert!(!same("https://auth.example.com", "http://app.example.com"));
        assert!(!same("https://auth.example.com", "https://app.example.net"));
    }
}
