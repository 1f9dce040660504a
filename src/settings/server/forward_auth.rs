//! Forward-auth settings: the rules file, the headers in which a proxy describes the original request, and the identity
//! headers of the answer.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::forward_rules::ForwardRules;
use crate::settings::values::{InvalidValue, boolean, lifetime};

/// Settings of the forward-auth checks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Forward-auth")]
pub struct ForwardAuthSettings {
    /// Renew access during a check: a request with a live refresh cookie and without a valid access token gets a new access
    /// token, in one Set-Cookie that the proxy must pass on to the browser.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub verify_renew: bool,

    /// How long checks renew access by one refresh token. Renewal does not rotate it, so a stolen copy would go unnoticed; after
    /// this time the browser is sent to `/auth/continue`, which does.
    #[arg(long, default_value = "24h", value_parser = lifetime)]
    pub verify_renew_max: Duration,

    /// The file of access rules, by host and path: public, signed-in, role=…, permission=…. Needs TRUSTED_PROXIES. Without
    /// it every path requires a signed-in caller.
    #[arg(long, value_parser = rules_file)]
    pub rules_file: Option<RulesFile>,

    /// Answer allowed checks on persistent connections from memory, before the HTTP framework (fast path). Refusals and
    /// unusual requests always go through the framework; with `false`, every check does.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = boolean)]
    pub check_fast_path: bool,

    /// The headers in which a trusted proxy describes the original request: `x-forwarded` (X-Forwarded-Method, -Proto,
    /// -Host, -Uri), `x-original` (X-Original-Method, X-Original-URL) or `envoy` (Host and `original=` in the query).
    #[arg(long, default_value = "x-forwarded")]
    pub forwarded_headers: ForwardedHeaders,

    /// The header for the account's username, or else its verified email, or else its name, or else its uuid.
    #[arg(long, default_value = "Remote-User", value_parser = identity_header)]
    pub remote_user_header: String,

    /// The header for the account's UUID.
    #[arg(long, default_value = "Remote-Id", value_parser = identity_header)]
    pub remote_id_header: String,

    /// The header for the account's email, if it is verified.
    #[arg(long, default_value = "Remote-Email", value_parser = identity_header)]
    pub remote_email_header: String,

    /// Pass unverified emails to apps too. Anybody who can register could then claim any address.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub remote_email_unproved: bool,

    /// The header for the display name. The user can change it, and it is not verified.
    #[arg(long, default_value = "Remote-Name", value_parser = identity_header)]
    pub remote_name_header: String,

    /// The header for the account's role.
    #[arg(long, default_value = "Remote-Role", value_parser = identity_header)]
    pub remote_role_header: String,

    /// The header for the account's permissions, comma-separated.
    #[arg(long, default_value = "Remote-Permissions", value_parser = identity_header)]
    pub remote_permissions_header: String,

    /// The header for the session's id.
    #[arg(long, default_value = "Remote-Session", value_parser = identity_header)]
    pub remote_session_header: String,

    /// The header for the signed assertion, empty unless the check requests one (`?assertion=true`).
    #[arg(long, default_value = "Remote-Assertion", value_parser = identity_header)]
    pub remote_assertion_header: String,
}

/// The headers in which the proxy describes the original request. Other ones are ignored: a client could forge them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeaders {
    /// `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri`.
    XForwarded,
    /// `X-Original-Method`, `X-Original-URL`.
    XOriginal,
    /// The request's own method and `Host`, `X-Forwarded-Proto`, and what follows `original=` in the query.
    Envoy,
}

impl FromStr for ForwardedHeaders {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "x-forwarded" => Ok(Self::XForwarded),
            "x-original" => Ok(Self::XOriginal),
            "envoy" => Ok(Self::Envoy),
            other => Err(InvalidValue::new(format!("{other:?} is not valid; use x-forwarded, x-original or envoy"))),
        }
    }
}

/// A parsed rules file.
#[derive(Debug, Clone)]
pub struct RulesFile {
    /// The path.
    pub path: PathBuf,
    /// The rules.
    pub rules: ForwardRules,
}

fn rules_file(text: &str) -> Result<RulesFile, InvalidValue> {
    let path = Path::new(text).to_owned();
    let content = std::fs::read_to_string(&path)
        .map_err(|error| InvalidValue::caused_by(format!("{text} cannot be read: {error}"), error))?;
    let rules =
        ForwardRules::parse(&content).map_err(|error| InvalidValue::caused_by(format!("{text}, {error}"), error))?;
    Ok(RulesFile { path, rules })
}

/// The name of an identity header. It needs a prefix under which no standard header is defined. No underscore: some servers
/// treat `Remote_User` like `Remote-User`, so that a client could forge the proxy's header.
fn identity_header(text: &str) -> Result<String, InvalidValue> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let name = text.to_ascii_lowercase();
    let has_prefix = (name.starts_with("remote-") || name.starts_with("x-")) && !name.starts_with("x-forwarded-");
    let is_taken = ["x-request-id", "x-content-type-options"].contains(&name.as_str());
    if is_taken {
        return Err(InvalidValue::new(format!(
            "{text:?} is a header of every answer; use another name that begins with Remote- or X-"
        )));
    }
    if !has_prefix || text.len() > 64 || !text.bytes().all(is_allowed) {
        return Err(InvalidValue::new(format!(
            "{text:?} is not a valid identity header; use Remote- or X- and letters, digits and -, up to 64 characters"
        )));
    }
    Ok(text.to_owned())
}

impl ForwardAuthSettings {
    /// The names of the identity headers.
    pub fn header_names(&self) -> [&str; 8] {
        [
            &self.remote_user_header,
            &self.remote_id_header,
            &self.remote_email_header,
            &self.remote_name_header,
            &self.remote_role_header,
            &self.remote_permissions_header,
            &self.remote_session_header,
            &self.remote_assertion_header,
        ]
    }

    /// Invalid combinations.
    pub fn conflicts(&self, trusts_proxies: bool) -> Vec<String> {
        let mut errors = Vec::new();
        if self.rules_file.is_some() && !trusts_proxies {
            errors.push(
                "RULES_FILE: the rules need the original host and path from a trusted proxy; set TRUSTED_PROXIES"
                    .to_owned(),
            );
        }
        let names = self.header_names().map(str::to_ascii_lowercase);
        for (number, name) in names.iter().enumerate() {
            if names.iter().take(number).any(|other| other == name) {
                errors.push(format!("REMOTE_…_HEADER: {name} is used twice; use a different header for each"));
            }
        }
        errors
    }
}
