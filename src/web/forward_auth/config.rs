//! Settings of the checks, as they are used for each one: header names, rules, and the parts of the fast path's answer that
//! are the same every time.

use std::fmt;

use arc_swap::ArcSwap;

use super::forwarded_request;
use super::identity_headers::IdentityHeaders;
use crate::clock::Timestamp;
use crate::settings::forward_rules::ForwardRules;
use crate::settings::{ForwardedHeaders, Settings};
use crate::web::http::origin::VARY;
use crate::web::http::security_headers::security_header_lines;

/// What the settings say of checks.
#[derive(Debug)]
pub struct ForwardAuth {
    pub(super) headers: IdentityHeaders,
    /// Names that no client may imitate with an underscore.
    pub(super) hyphenated: Vec<String>,
    pub(super) family: ForwardedHeaders,
    pub(super) rules: Option<ForwardRules>,
    pub(super) renews: bool,
    /// `CHECK_FAST_PATH`.
    pub(in crate::web) has_fast_path: bool,
    pub(super) fast_path_template: FastPathTemplate,
}

impl ForwardAuth {
    /// By the settings; checks stand at the root, and under this prefix.
    pub fn new(settings: &Settings, prefix: Option<&str>) -> Self {
        let headers = IdentityHeaders::new(&settings.forward_auth);
        let hyphenated = headers.names().chain(forwarded_request::FORWARDED).map(ToOwned::to_owned).collect();
        Self {
            headers,
            hyphenated,
            family: settings.forward_auth.forwarded_headers,
            rules: settings.forward_auth.rules_file.as_ref().map(|file| file.rules.clone()),
            renews: settings.forward_auth.verify_renew,
            has_fast_path: settings.forward_auth.check_fast_path,
            fast_path_template: FastPathTemplate::new(settings, prefix),
        }
    }
}

/// Where checks stand under a prefix.
pub(super) fn paths(prefix: &str) -> [String; 2] {
    [format!("{prefix}/auth/verify"), format!("{prefix}/auth/forward")]
}

/// What is the same in every such answer.
pub struct FastPathTemplate {
    pub(super) paths: Vec<String>,
    /// Status line and headers.
    pub(super) beginning: Vec<u8>,
    date: ArcSwap<Date>,
}

impl fmt::Debug for FastPathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtOnce").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// The second that it is, and its text.
struct Date(i64, String);

impl Date {
    fn of(at: Timestamp) -> Self {
        Self(at.seconds(), at.http_date())
    }
}

impl FastPathTemplate {
    /// By the settings; checks stand at the root, and under this prefix.
    pub fn new(settings: &Settings, prefix: Option<&str>) -> Self {
        let mut beginning = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".to_vec();
        beginning.extend_from_slice(format!("vary: {VARY}\r\n").as_bytes());
        beginning.extend_from_slice(&security_header_lines(settings.is_https()));
        Self {
            paths: [""].into_iter().chain(prefix).flat_map(paths).collect(),
            beginning,
            date: ArcSwap::from_pointee(Date::of(Timestamp::from_seconds(0))),
        }
    }

    pub(super) fn write_date(&self, into: &mut Vec<u8>, now: Timestamp) {
        let mut date = self.date.load();
        if date.0 != now.seconds() {
            self.date.store(Date::of(now).into());
            date = self.date.load();
        }
        into.extend_from_slice(b"date: ");
        into.extend_from_slice(date.1.as_bytes());
        into.extend_from_slice(b"\r\n");
    }
}
