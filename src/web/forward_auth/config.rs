//! Configuration of the checks, prepared once for all of them: header names, rules, and the constant parts of the fast path's
//! response. The settings decide; how a check uses them is decided in forward_auth.rs and fast_path.rs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::forwarded_request;
use super::identity_headers::IdentityHeaders;
use super::protected_names::ProtectedNames;
use crate::clock::Timestamp;
use crate::settings::forward_rules::ForwardRules;
use crate::settings::{ForwardedHeaders, Settings};
use crate::web::pages::layout::theme::Theme;
use crate::web::request::origin::VARY;
use crate::web::response::log_limit::LogLimits;
use crate::web::response::security_headers::security_header_lines;

/// Headers by which apps let a proxy describe the request, beside those that a check may read.
const TRUSTED_BY_APPS: [&str; 3] = ["remote-groups", "x-forwarded", "x-rewrite-url"];

/// The configuration of the checks.
#[derive(Debug)]
pub struct ForwardAuthConfig {
    pub(super) headers: IdentityHeaders,
    /// Names of which no other spelling is accepted.
    pub(super) protected_names: ProtectedNames,
    pub(super) forwarded_headers: ForwardedHeaders,
    /// Replaced when the rules file is read again.
    pub(super) rules: ArcSwapOption<ForwardRules>,
    /// Whether there are rules: all that the fast path asks, for a tenth of what loading them costs.
    pub(super) has_rules: AtomicBool,
    /// `VERIFY_RENEW`.
    pub(super) renews: bool,
    /// `CHECK_FAST_PATH`.
    pub(in crate::web) has_fast_path: bool,
    pub(super) fast_path_template: FastPathTemplate,
    /// For pages that a proxy shows under the origin of an app.
    pub(super) theme: Theme,
    /// Limits the log lines about checks whose headers or query are invalid, by reason.
    pub(super) invalid_checks: LogLimits,
}

impl ForwardAuthConfig {
    /// From the settings. Checks are served at the root, and under this prefix.
    pub fn new(settings: &Settings, prefix: Option<&str>) -> Self {
        let headers = IdentityHeaders::new(&settings.forward_auth);
        let forwarded = forwarded_request::FORWARDED_HEADERS.into_iter().chain(TRUSTED_BY_APPS);
        let protected_names = ProtectedNames::new(headers.names().chain(forwarded));
        Self {
            headers,
            protected_names,
            forwarded_headers: settings.forward_auth.forwarded_headers,
            rules: ArcSwapOption::new(rules_of(settings)),
            has_rules: AtomicBool::new(rules_of(settings).is_some()),
            renews: settings.forward_auth.verify_renew,
            has_fast_path: settings.forward_auth.check_fast_path,
            fast_path_template: FastPathTemplate::new(settings, prefix),
            theme: Theme::for_other_origins(settings),
            invalid_checks: LogLimits::default(),
        }
    }

    /// Takes the rules of these settings; checks that have begun keep the former.
    pub(in crate::web) fn replace_rules(&self, settings: &Settings) {
        let rules = rules_of(settings);
        let has_rules = rules.is_some();
        // A check that sees the flag set before the rules are there takes the handler's way, which decides by what it loads.
        if has_rules {
            self.has_rules.store(true, Ordering::Release);
        }
        self.rules.store(rules);
        if !has_rules {
            self.has_rules.store(false, Ordering::Release);
        }
    }
}

fn rules_of(settings: &Settings) -> Option<Arc<ForwardRules>> {
    settings.forward_auth.rules_file.as_ref().map(|file| Arc::new(file.rules.clone()))
}

/// The paths of the checks under a prefix.
pub(super) fn paths(prefix: &str) -> [String; 2] {
    [format!("{prefix}/auth/verify"), format!("{prefix}/auth/forward")]
}

/// The constant parts of the fast path's response.
pub struct FastPathTemplate {
    pub(super) paths: Vec<String>,
    /// The status line and the headers that are the same in every response.
    pub(super) head: Vec<u8>,
    date: ArcSwap<CachedDate>,
}

impl fmt::Debug for FastPathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FastPathTemplate").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// A second, and its text: formatting a date costs more than the rest of the response.
struct CachedDate(i64, String);

impl CachedDate {
    fn of(at: Timestamp) -> Self {
        Self(at.seconds(), at.http_date())
    }
}

impl FastPathTemplate {
    /// From the settings. Checks are served at the root, and under this prefix.
    pub fn new(settings: &Settings, prefix: Option<&str>) -> Self {
        let mut head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".to_vec();
        head.extend_from_slice(format!("vary: {VARY}\r\n").as_bytes());
        head.extend_from_slice(&security_header_lines(settings.is_https()));
        Self {
            paths: [""].into_iter().chain(prefix).flat_map(paths).collect(),
            head,
            date: ArcSwap::from_pointee(CachedDate::of(Timestamp::from_seconds(0))),
        }
    }

    pub(super) fn write_date(&self, into: &mut Vec<u8>, now: Timestamp) {
        let mut date = self.date.load();
        if date.0 != now.seconds() {
            self.date.store(CachedDate::of(now).into());
            date = self.date.load();
        }
        into.extend_from_slice(b"date: ");
        into.extend_from_slice(date.1.as_bytes());
        into.extend_from_slice(b"\r\n");
    }
}
