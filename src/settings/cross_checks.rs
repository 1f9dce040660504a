//! Cross-checks of the settings: combinations that cannot work or are unsafe, a sentence each with the way out. What a
//! single value may be is decided where it is parsed.

use std::time::Duration;

use super::Settings;
use super::cookies::{Prefix, SameSite};

impl Settings {
    /// Every combination that stops the start.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut faults = self.cookie_contradictions();
        faults.extend(self.key_contradictions());
        faults.extend(self.pages.contradictions(self.web.public_url.as_ref()));
        if self.passwords.bcrypt_cost < 10 && !self.passwords.test_mode {
            faults.push(format!(
                "BCRYPT_COST: {} is guessed too fast; use at least 10, or TEST_MODE=true in a test suite",
                self.passwords.bcrypt_cost
            ));
        }
        faults.extend(self.mail_contradictions());
        faults.extend(self.throttle.contradictions(self.passwords.test_mode));
        faults.extend(self.forward_auth.contradictions(!self.web.trusted_proxies.is_empty()));
        if self.passwords.test_mode && self.is_https() {
            faults.push("TEST_MODE: it is on with an https PUBLIC_URL; leave it out where people sign in".to_owned());
        }
        if self.tokens.access_ttl > self.tokens.refresh_ttl {
            faults.push("ACCESS_TTL: it is longer than REFRESH_TTL; an access token must be the short one".to_owned());
        }
        for mount in &self.mounts {
            let refresh_ttl = mount.refresh_ttl.unwrap_or(self.tokens.refresh_ttl);
            if mount.access_ttl.is_some_and(|access_ttl| access_ttl > refresh_ttl) {
                let name = mount.dialect.to_uppercase();
                faults.push(format!("{name}_ACCESS_TTL: it is longer than {name}_REFRESH_TTL; make it the short one"));
            }
        }
        if self.tokens.revocation_max_stale > Duration::from_mins(1) {
            faults.push(
                "REVOCATION_MAX_STALE: a logout elsewhere would go unheard for that long; use at most 60s".to_owned(),
            );
        }
        if self.tokens.refresh_grace > Duration::from_mins(1) {
            faults.push(
                "REFRESH_GRACE: a stolen token would pass as a second tab for that long; use at most 60s".to_owned(),
            );
        }
        if self.tokens.clock_skew > Duration::from_mins(1) {
            faults.push("CLOCK_SKEW: clocks that differ so much need repair, not slack; use at most 60s".to_owned());
        }
        faults
    }

    fn key_contradictions(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.keys.jwt_secret.is_some() && self.keys.jwt_secret == self.keys.pepper {
            faults.push("PEPPER: it equals JWT_SECRET; make another one with: openssl rand -base64 48".to_owned());
        }
        if self.keys.jwt_secret.is_some()
            && let Some(algorithm) = self.keys.token_algorithm.filter(|algorithm| algorithm.has_public_key())
        {
            let algorithm = algorithm.as_str();
            faults.push(format!("TOKEN_ALGORITHM: JWT_SECRET signs with hs256; leave it out to sign with {algorithm}"));
        }
        faults
    }

    /// What browsers would not do as it is set, a sentence each.
    fn cookie_contradictions(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let cookies = &self.cookies;
        let https = self.is_https();
        if cookies.cookie_prefix == Prefix::Host && cookies.cookie_domain.is_some() {
            faults.push("COOKIE_PREFIX: __Host- forbids a COOKIE_DOMAIN; use __Secure- or drop the domain".to_owned());
        }
        if matches!(cookies.cookie_prefix, Prefix::Host | Prefix::Secure) && !https {
            faults.push(
                "COOKIE_PREFIX: browsers drop such a cookie over http; set PUBLIC_URL=https://… or use auto".to_owned(),
            );
        }
        if cookies.cookie_same_site == SameSite::None && !https {
            faults.push("COOKIE_SAME_SITE: None needs https; set PUBLIC_URL=https://… or use Lax".to_owned());
        }
        if cookies.cookie_access_name == cookies.cookie_refresh_name {
            faults.push("COOKIE_REFRESH_NAME: it equals COOKIE_ACCESS_NAME; give them two names".to_owned());
        }
        if [&cookies.cookie_access_name, &cookies.cookie_refresh_name].contains(&&cookies.cookie_device_name) {
            faults.push("COOKIE_DEVICE_NAME: another cookie has this name; give it one of its own".to_owned());
        }
        let host = self.web.public_url.as_ref().and_then(|url| url.host_str());
        if let (Some(domain), Some(host)) = (&cookies.cookie_domain, host)
            && host != domain
            && !host.ends_with(&format!(".{domain}"))
        {
            faults.push(format!(
                "COOKIE_DOMAIN: browsers drop a cookie for {domain} set by {host}; use a parent of {host}"
            ));
        }
        faults
    }

    /// What a sign-up by mail lacks, a sentence each.
    fn mail_contradictions(&self) -> Vec<String> {
        if !self.passwords.signup_confirm_email {
            return Vec::new();
        }
        let lacks = |is_there: bool, what: &str| (!is_there).then(|| format!("SIGNUP_CONFIRM_EMAIL: {what}"));
        let confirms_by_mail = "it tells people by mail, and";
        [
            lacks(
                self.mail.smtp_url.is_some(),
                &format!("{confirms_by_mail} SMTP_URL does not say which server takes it"),
            ),
            lacks(self.mail.mail_from.is_some(), &format!("{confirms_by_mail} MAIL_FROM does not say whom it is from")),
            lacks(
                self.confirm_page().is_some(),
                &format!(
                    "{confirms_by_mail} its link needs a page; set PUBLIC_URL, or SIGNUP_CONFIRM_URL to a page of the app"
                ),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
