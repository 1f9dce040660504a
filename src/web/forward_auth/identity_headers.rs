//! Identity headers: renders an account's identity as the headers that the app behind the proxy receives, and caches the
//! result. Every documented header is written in every response, empty if there is no value, so that no header of that
//! name that a client sent can remain. Which identity it is, is decided by core.

use std::fmt::Write;
use std::io;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use quick_cache::sync::Cache;

use crate::core::account::identity_cache::Identity;
use crate::core::{AccountUuid, SessionId};
use crate::settings::ForwardAuthSettings;
use crate::web::response::security_headers::header_line;

/// The most accounts whose rendered headers are cached.
const MAX_RENDERED: usize = 65_536;

/// The names of the headers, and a cache of the values of the accounts that were checked last.
#[derive(Debug)]
pub struct IdentityHeaders {
    of_account: [HeaderName; 6],
    session: HeaderName,
    assertion: HeaderName,
    rendered: Cache<AccountUuid, Arc<RenderedHeaders>>,
}

/// The headers of one account, in the order of the names. Valid as long as the account has this very identity: core makes a
/// new one for each change.
#[derive(Debug)]
struct RenderedHeaders {
    identity: Arc<Identity>,
    values: [HeaderValue; 6],
    /// The same as header lines.
    lines: Vec<u8>,
}

impl IdentityHeaders {
    /// From the settings.
    pub fn new(settings: &ForwardAuthSettings) -> Self {
        let [user, id, email, name, role, permissions, session, assertion] = settings.header_names().map(header_name);
        Self {
            of_account: [user, id, email, name, role, permissions],
            session,
            assertion,
            rendered: Cache::new(MAX_RENDERED),
        }
    }

    /// All names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.of_account.iter().chain([&self.session, &self.assertion]).map(HeaderName::as_str)
    }

    /// Sets all headers.
    pub fn write(
        &self,
        response: &mut HttpResponse,
        identity: &Arc<Identity>,
        session: SessionId,
        assertion: Option<&str>,
    ) {
        let headers = response.headers_mut();
        let rendered = self.rendered_for(identity);
        for (name, value) in self.of_account.iter().zip(&rendered.values) {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(self.session.clone(), value(&session.to_string()));
        headers.insert(self.assertion.clone(), assertion.map_or_else(|| HeaderValue::from_static(""), value));
    }

    /// Appends all headers as lines, without an assertion.
    pub fn append_lines(&self, into: &mut Vec<u8>, identity: &Arc<Identity>, session: SessionId) {
        into.extend_from_slice(&self.rendered_for(identity).lines);
        let (session_name, assertion_name) = (self.session.as_str(), self.assertion.as_str());
        // Writing to memory does not fail.
        let _ = io::Write::write_fmt(into, format_args!("{session_name}: {session}\r\n{assertion_name}: \r\n"));
    }

    /// Sets all headers to the empty value, for a public path.
    pub fn write_empty(&self, response: &mut HttpResponse) {
        for name in self.of_account.iter().chain([&self.session, &self.assertion]) {
            response.headers_mut().insert(name.clone(), HeaderValue::from_static(""));
        }
    }

    fn rendered_for(&self, identity: &Arc<Identity>) -> Arc<RenderedHeaders> {
        let cached = self.rendered.get(&identity.account);
        if let Some(rendered) = cached.filter(|rendered| Arc::ptr_eq(&rendered.identity, identity)) {
            return rendered;
        }
        let permissions: Vec<String> = identity.permissions.iter().map(|text| encoded(text, ",")).collect();
        let values = [
            value(&encoded(&identity.user, "")),
            value(&identity.account.to_string()),
            value(&encoded(&identity.email, "")),
            value(&encoded(&identity.name, "")),
            value(&encoded(&identity.role, "")),
            value(&permissions.join(",")),
        ];
        let lines = self.of_account.iter().zip(&values).flat_map(header_line).collect();
        let rendered = Arc::new(RenderedHeaders { identity: Arc::clone(identity), values, lines });
        self.rendered.insert(identity.account, Arc::clone(&rendered));
        rendered
    }
}

/// The settings only contain valid names; the fallback is never used.
fn header_name(name: &str) -> HeaderName {
    HeaderName::try_from(name).unwrap_or(HeaderName::from_static("remote-user"))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_always_encoded| HeaderValue::from_static(""))
}

/// Percent-encodes everything that is not printable ASCII, the percent sign, and a space at either end: a name may be of any
/// script, and none may begin another header (header injection).
fn encoded(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_graphic() || (byte == b' ' && at != 0 && at != last);
        if plain && byte != b'%' && !also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_a_header_or_begins_another() {
        for (text, expected) in [
            ("Ada Lovelace", "Ada Lovelace"),
            ("José Ñ", "Jos%C3%A9 %C3%91"),
            ("a\r\nSet-Cookie: x=1", "a%0D%0ASet-Cookie: x=1"),
            (" a ", "%20a%20"),
            ("100%", "100%25"),
            ("\u{202e}x\0", "%E2%80%AEx%00"),
            ("", ""),
        ] {
            assert_eq!(encoded(text, ""), expected);
            assert!(HeaderValue::from_str(expected).is_ok());
        }
        assert_eq!(encoded("a,b", ","), "a%2Cb");
    }
}
