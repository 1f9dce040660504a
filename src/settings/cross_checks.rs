//! Cross-checks of the settings: combinations that cannot work or are unsafe. Each error begins with a setting's name and ends
//! with a remedy. A single value is checked where it is parsed.

use std::time::Duration;

use super::security::cookies::{CookiePrefix, SameSite};
use super::{BCRYPT_COST_MIN, Settings};

/// The maximum of REFRESH_LOST_AFTER.
const LOST_AFTER_MAX: Duration = Duration::from_mins(10);

/// The maximum of REFRESH_GRACE, CLOCK_SKEW and REVOCATION_MAX_STALE: each is time in which a stolen token may work.
const TOLERANCE_MAX: Duration = Duration::from_mins(1);

impl Settings {
    /// An error for each combination that stops the start.
    pub(super) fn conflicts(&self) -> Vec<String> {
        let mut errors = self.cookie_conflicts();
        errors.extend(self.key_conflicts());
        errors.extend(self.pages.conflicts(self.web.public_url.as_ref()));
        errors.extend(self.test_mode_conflicts());
        errors.extend(self.mail_conflicts());
        errors.extend(self.undecided_signup());
        errors.extend(self.throttle.conflicts(self.passwords.test_mode));
        errors.extend(self.forward_auth.conflicts(!self.web.trusted_proxies.is_empty()));
        errors.extend(self.token_conflicts());
        errors
    }

    fn test_mode_conflicts(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.passwords.bcrypt_cost < BCRYPT_COST_MIN && !self.passwords.test_mode {
            errors.push(format!(
                "BCRYPT_COST: {} makes passwords easy to guess; use at least {BCRYPT_COST_MIN}, or TEST_MODE=true in a test suite",
                self.passwords.bcrypt_cost
            ));
        }
        if self.passwords.test_mode && self.is_https() {
            errors.push("TEST_MODE: not allowed with an https PUBLIC_URL; remove it in production".to_owned());
        }
        errors
    }

    fn token_conflicts(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.tokens.access_ttl > self.tokens.refresh_ttl {
            errors.push("ACCESS_TTL: longer than REFRESH_TTL; use at most REFRESH_TTL".to_owned());
        }
        for mount in &self.mounts {
            let refresh_ttl = mount.refresh_ttl.unwrap_or(self.tokens.refresh_ttl);
            if mount.access_ttl.is_some_and(|access_ttl| access_ttl > refresh_ttl) {
                let name = mount.dialect.to_uppercase();
                errors
                    .push(format!("{name}_ACCESS_TTL: longer than {name}_REFRESH_TTL; use at most {name}_REFRESH_TTL"));
            }
        }
        if self.tokens.revocation_max_stale > TOLERANCE_MAX {
            errors.push(
                "REVOCATION_MAX_STALE: a node would not notice a logout on another node for too long; use at most 60s"
                    .to_owned(),
            );
        }
        if self.tokens.refresh_grace > TOLERANCE_MAX {
            errors.push("REFRESH_GRACE: a stolen refresh token would work for too long; use at most 60s".to_owned());
        }
        if self.tokens.refresh_lost_after < self.tokens.refresh_grace {
            errors.push(
                "REFRESH_LOST_AFTER: a response on its way would count as lost; use at least REFRESH_GRACE".to_owned(),
            );
        }
        if self.tokens.refresh_lost_after > LOST_AFTER_MAX {
            errors
                .push("REFRESH_LOST_AFTER: a stolen refresh token would work for too long; use at most 10m".to_owned());
        }
        if self.tokens.clock_skew > TOLERANCE_MAX {
            errors.push("CLOCK_SKEW: too large; synchronise the clocks (NTP) and use at most 60s".to_owned());
        }
        errors
    }

    fn key_conflicts(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.keys.jwt_secret.is_some() && self.keys.jwt_secret == self.keys.pepper {
            errors.push("PEPPER: the same as JWT_SECRET; make another one with: openssl rand -base64 48".to_owned());
        }
        if self.keys.jwt_secret.is_some()
            && let Some(algorithm) = self.keys.token_algorithm.filter(|algorithm| algorithm.has_public_key())
        {
            let algorithm = algorithm.as_str();
            errors.push(format!(
                "TOKEN_ALGORITHM: JWT_SECRET is a key for hs256; remove JWT_SECRET to sign with {algorithm}"
            ));
        }
        errors
    }

    /// Cookies that browsers would drop or confuse.
    fn cookie_conflicts(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let cookies = &self.cookies;
        let is_https = self.is_https();
        if cookies.cookie_prefix == CookiePrefix::Host && cookies.cookie_domain.is_some() {
            errors.push(
                "COOKIE_PREFIX: __Host- cookies cannot have a COOKIE_DOMAIN; use __Secure- or remove the domain"
                    .to_owned(),
            );
        }
        if matches!(cookies.cookie_prefix, CookiePrefix::Host | CookiePrefix::Secure) && !is_https {
            errors.push(
                "COOKIE_PREFIX: browsers drop cookies with this prefix over http; set PUBLIC_URL=https://… or use auto"
                    .to_owned(),
            );
        }
        if cookies.cookie_same_site == SameSite::None && !is_https {
            errors.push("COOKIE_SAME_SITE: None needs https; set PUBLIC_URL=https://… or use Lax".to_owned());
        }
        if cookies.cookie_access_name == cookies.cookie_refresh_name {
            errors.push("COOKIE_REFRESH_NAME: the same as COOKIE_ACCESS_NAME; use different names".to_owned());
        }
        if [&cookies.cookie_access_name, &cookies.cookie_refresh_name].contains(&&cookies.cookie_device_name) {
            errors.push("COOKIE_DEVICE_NAME: another cookie has this name; use a different one".to_owned());
        }
        let host = self.web.public_url.as_ref().and_then(|url| url.host_str());
        if let (Some(domain), Some(host)) = (&cookies.cookie_domain, host)
            && host != domain
            && !host.ends_with(&format!(".{domain}"))
        {
            errors.push(format!(
                "COOKIE_DOMAIN: browsers drop cookies for {domain} from {host}; use {host} or a parent domain of it"
            ));
        }
        errors
    }

    /// Behind a proxy an account is the key to other apps, most of which let in everybody whom the proxy lets in: whether
    /// strangers can make one must be a decision, not a default.
    fn undecided_signup(&self) -> Option<String> {
        let in_use = [
            (!self.web.trusted_proxies.is_empty(), "TRUSTED_PROXIES"),
            (self.forward_auth.rules_file.is_some(), "RULES_FILE"),
            (self.forward_auth.verify_renew, "VERIFY_RENEW"),
        ];
        let (_, name) = in_use.into_iter().find(|(is_set, _)| *is_set && self.passwords.signup.is_none())?;
        Some(format!(
            "SIGNUP: has no default with {name}, since every account can use the apps behind the proxy; set SIGNUP=false to \
             add accounts by `doorward account add`, or SIGNUP=true to let anybody register"
        ))
    }

    /// What an email-confirmed sign-up needs and does not have.
    fn mail_conflicts(&self) -> Vec<String> {
        if !self.passwords.signup_confirm_email {
            return Vec::new();
        }
        let requirements = [
            (self.mail.smtp_url.is_some(), "needs a mail server; set SMTP_URL"),
            (self.mail.mail_from.is_some(), "needs a sender for its mails; set MAIL_FROM"),
            (
                self.confirm_page().is_some(),
                "needs a page for the links in its mails; set PUBLIC_URL, or SIGNUP_CONFIRM_URL to a page of the app",
            ),
        ];
        let missing = requirements.into_iter().filter(|(is_met, _)| !is_met);
        missing.map(|(_, message)| format!("SIGNUP_CONFIRM_EMAIL: {message}")).collect()
    }
}
