//! What settings mean together, and with the files that they name. Each setting by itself is checked where it is read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use url::Url;

use super::finding::Finding::{Failed, Passed, Warning};
use crate::cli::doctor::finding::Finding;
use crate::core::startup::OpenError;
use crate::mail::Mailer;
use crate::settings::{SameSite, Settings};
use crate::web::dialects;

/// Everything there is to say.
pub fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![Passed("every setting can be read".to_owned())];
    findings.extend(public_url(settings));
    findings.extend(proxies(settings));
    findings.extend(cross_site(settings));
    findings.extend(files(settings));
    findings.extend(mail(settings));
    findings.push(database(settings));
    findings
}

fn public_url(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &settings.web.public_url {
        None => findings.push(Warning(
            "PUBLIC_URL is not set: cookies travel without Secure, and pages of this origin are not known as our own; \
             set it to what browsers use"
                .to_owned(),
        )),
        Some(url) if url.scheme() == "http" => findings.push(Warning(format!(
            "PUBLIC_URL is {}: cookies travel without Secure; right for development only",
            bare(url)
        ))),
        Some(url) => findings.push(Passed(format!("browsers reach it under {}", bare(url)))),
    }
    let open = settings.unsafe_points().into_iter().filter(|point| !point.contains("PUBLIC_URL"));
    findings.extend(open.map(Warning));
    findings
}

fn bare(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The service speaks http only, so https means that a proxy is in front.
fn proxies(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let proxies = &settings.web.trusted_proxies;
    let everybody = proxies.iter().find(|network| network.prefix_len() == 0);
    if let Some(all) = everybody {
        findings.push(Failed(format!(
            "TRUSTED_PROXIES: {all} is everybody, so any client may claim any address and dodge the throttle; \
             name the proxies"
        )));
    }
    match (settings.is_https(), proxies.is_empty()) {
        (true, true) => findings.push(Failed(
            "PUBLIC_URL is https, so a proxy is in front, but TRUSTED_PROXIES names none: every client seems to come \
             from the proxy, and one that fails is throttled for all; set it to the proxy's address"
                .to_owned(),
        )),
        (false, false) if settings.web.public_url.is_some() => findings.push(Warning(
            "TRUSTED_PROXIES names a proxy, but PUBLIC_URL is http: if the proxy speaks https, say so in PUBLIC_URL"
                .to_owned(),
        )),
        (true, false) if everybody.is_none() => {
            findings.push(Passed("clients' addresses come from the proxies named".to_owned()));
        }
        _ => {}
    }
    findings
}

/// A cookie that is not SameSite=None stays away from requests that pages of other sites send.
fn cross_site(settings: &Settings) -> Vec<Finding> {
    let Some(own) = &settings.web.public_url else { return Vec::new() };
    let strays = settings.web.cors_origins.iter().filter(|other| !same_site(own, other));
    let lost = strays.filter(|_| settings.cookies.cookie_same_site != SameSite::None);
    lost.map(|other| {
        Failed(format!(
            "CORS_ORIGINS: {} is another site than {}, and browsers send no {} cookie along from there; serve the \
             page under the same domain and scheme, or set COOKIE_SAME_SITE=None",
            bare(other),
            bare(own),
            settings.cookies.cookie_same_site.as_str()
        ))
    })
    .collect()
}

/// Scheme and registrable domain alike, the latter as far as two labels tell: a longer public suffix (co.uk) passes for
/// one site here and is not one for a browser.
fn same_site(one: &Url, other: &Url) -> bool {
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

fn files(settings: &Settings) -> Vec<Finding> {
    let keys = settings.keys_file();
    let uses_keys = settings.keys.jwt_secret.is_none() || settings.keys.pepper.is_none();
    let secret_files = [
        ("KEYS_FILE", uses_keys.then_some(keys.as_path())),
        ("DATABASE_URL", settings.database.database_url.file()),
        (".env", Some(Path::new(".env"))),
    ];
    let named = secret_files.into_iter().filter_map(|(name, path)| Some((name, path?)));
    named.filter_map(|(name, path)| readable_by_others(name, path)).collect()
}

fn readable_by_others(name: &str, path: &Path) -> Option<Finding> {
    let found = match path.metadata() {
        Ok(found) => found,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return None,
        Err(why) => return Some(Failed(format!("{name}: {} cannot be looked at: {why}", path.display()))),
    };
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Some(Failed(format!("{name}: others can read {path} (mode {mode:o}); run: chmod 600 {path}")));
    }
    Some(Passed(format!("{name}: only its owner reads {}", path.display())))
}

/// Whether sign-ups can be told of by mail, if they are.
fn mail(settings: &Settings) -> Vec<Finding> {
    if !settings.passwords.signup_confirm_email {
        return Vec::new();
    }
    let mailer = match Mailer::new(&settings.mail) {
        Ok(Some(mailer)) => mailer,
        Ok(None) => return Vec::new(),
        Err(why) => return vec![Failed(format!("SMTP_URL: {why}"))],
    };
    let mut findings = vec![match mailer.test_connection() {
        Ok(server) => Passed(format!("SMTP_URL: {server} takes mails")),
        Err(why) => Failed(format!("SMTP_URL: {why}; sign-ups wait for their mails until it does")),
    }];
    let tells = |name: &&str| dialects::ALL.iter().any(|known| known.name == *name && known.registers_into_session);
    let closed: Vec<&str> = settings.mounts.iter().map(|mount| mount.dialect.as_str()).filter(tells).collect();
    if !closed.is_empty() {
        findings.push(Warning(format!(
            "SIGNUP_CONFIRM_EMAIL closes the registrations of {}: their answer is a session, which tells; people register at \
             native's or on the pages",
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
        return Passed(format!("{url} does not exist yet; the first start makes it"));
    }
    match crate::core::startup::pending_migrations(url) {
        Ok(0) => Passed(format!("{url} answers and has this version's tables")),
        Ok(missing) if settings.database.auto_migrate => {
            Passed(format!("{url} answers; the next start runs {missing} migrations"))
        }
        Ok(missing) => Failed(OpenError::MigrationsPending(missing).to_string()),
        Err(why) => Failed(OpenError::Database(why).to_string()),
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
