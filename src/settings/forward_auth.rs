//! What proxies that ask for each request get told, and whose word about that request counts.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::forward_rules::ForwardRules;
use super::values::switch;

/// Settings of the forward-auth checks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Forward-auth")]
pub struct ForwardAuth {
    /// A check that finds a live refresh cookie and no usable access token makes a new access token, in one Set-Cookie that
    /// the proxy must pass on to the browser.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = switch)]
    pub verify_renew: bool,

    /// A file that says, host by host and path by path, who may pass: public, signed-in, role=…, permission=…. Needs
    /// TRUSTED_PROXIES. Without it every path wants a signed-in caller.
    #[arg(long, value_parser = rules_file)]
    pub rules_file: Option<RulesFile>,

    /// Answers allowed checks on kept connections from memory, without the way through the HTTP framework. Refusals and
    /// everything unusual take that way in any case; `false` sends every check there.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = switch)]
    pub check_fast_path: bool,

    /// Which headers of a trusted proxy say what was asked for: `x-forwarded` (X-Forwarded-Method, -Proto, -Host, -Uri),
    /// `x-original` (X-Original-Method, X-Original-URL) or `envoy` (Host and `original=` in the query).
    #[arg(long, default_value = "x-forwarded")]
    pub forwarded_headers: ForwardedHeaders,

    /// The header with what names the account: its username, else its email, else its name.
    #[arg(long, default_value = "Remote-User", value_parser = header)]
    pub remote_user_header: String,

    /// The header with the account's number.
    #[arg(long, default_value = "Remote-Id", value_parser = header)]
    pub remote_id_header: String,

    /// The header with the account's email.
    #[arg(long, default_value = "Remote-Email", value_parser = header)]
    pub remote_email_header: String,

    /// The header with what the person is called.
    #[arg(long, default_value = "Remote-Name", value_parser = header)]
    pub remote_name_header: String,

    /// The header with the account's role.
    #[arg(long, default_value = "Remote-Role", value_parser = header)]
    pub remote_role_header: String,

    /// The header with the account's permissions, divided by commas.
    #[arg(long, default_value = "Remote-Permissions", value_parser = header)]
    pub remote_permissions_header: String,

    /// The header with the session's id.
    #[arg(long, default_value = "Remote-Session", value_parser = header)]
    pub remote_session_header: String,

    /// The header with the signed assertion, empty unless the check asks for one (`?assertion=true`).
    #[arg(long, default_value = "Remote-Assertion", value_parser = header)]
    pub remote_assertion_header: String,
}

/// Which family of headers says what the browser asked the proxy for. The others are not believed.
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "x-forwarded" => Ok(Self::XForwarded),
            "x-original" => Ok(Self::XOriginal),
            "envoy" => Ok(Self::Envoy),
            other => Err(format!("{other:?} is no family of headers; use x-forwarded, x-original or envoy")),
        }
    }
}

/// A file of rules, read.
#[derive(Debug, Clone)]
pub struct RulesFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub rules: ForwardRules,
}

fn rules_file(text: &str) -> Result<RulesFile, String> {
    let path = Path::new(text).to_owned();
    let content = std::fs::read_to_string(&path).map_err(|why| format!("{text} cannot be read: {why}"))?;
    Ok(RulesFile { path, rules: ForwardRules::parse(&content).map_err(|why| format!("{text}, {why}"))? })
}

/// Under a prefix that no header with a meaning of its own has. No underscore: some servers take `Remote_User` for
/// `Remote-User`, so a client could speak for the proxy.
fn header(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let name = text.to_ascii_lowercase();
    let ours = (name.starts_with("remote-") || name.starts_with("x-")) && !name.starts_with("x-forwarded-");
    let taken = ["x-request-id", "x-content-type-options"].contains(&name.as_str());
    if taken {
        return Err(format!("{text:?} is in every answer already; use another name after Remote- or X-"));
    }
    if !ours || text.len() > 64 || !text.bytes().all(fits) {
        return Err(format!("{text:?} is no name for it; use up to 64 letters, digits and -, after Remote- or X-"));
    }
    Ok(text.to_owned())
}

impl ForwardAuth {
    /// The identity headers' names.
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

    /// What does not go together, a sentence each.
    pub(super) fn contradictions(&self, trusts_proxies: bool) -> Vec<String> {
        let mut faults = Vec::new();
        if self.rules_file.is_some() && !trusts_proxies {
            faults.push(
                "RULES_FILE: no proxy is trusted to say which host and path is asked for; set TRUSTED_PROXIES"
                    .to_owned(),
            );
        }
        let names = self.header_names().map(str::to_ascii_lowercase);
        for (number, name) in names.iter().enumerate() {
            if names.iter().take(number).any(|other| other == name) {
                faults.push(format!("REMOTE_…_HEADER: {name} stands twice; give each its own header"));
            }
        }
        faults
    }
}
