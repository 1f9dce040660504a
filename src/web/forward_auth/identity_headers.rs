//! How an identity is written into headers: every documented one, each time, empty where there is nothing to say, so that
//! nothing a client sent under such a name can be left standing. Which identity it is, is core's.

use std::fmt::Write;
use std::io;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use quick_cache::sync::Cache;

use crate::core::account::identity_cache::Identity;
use crate::core::{AccountId, SessionId};
use crate::settings::ForwardAuthSettings;
use crate::web::response::security_headers::header_line;

/// Accounts whose rendered headers are cached.
const RENDERED_MAX: usize = 65_536;

/// The headers' names, and a cache of what was rendered for an account.
#[derive(Debug)]
pub struct IdentityHeaders {
    of_account: [HeaderName; 6],
    session: HeaderName,
    assertion: HeaderName,
    rendered: Cache<AccountId, Arc<RenderedHeaders>>,
}

/// One account's values, in the order of the names. They hold for exactly this identity.
#[derive(Debug)]
struct RenderedHeaders {
    identity: Arc<Identity>,
    values: [HeaderValue; 6],
    /// The same as lines.
    lines: Vec<u8>,
}

impl IdentityHeaders {
    /// By the settings.
    pub fn new(settings: &ForwardAuthSettings) -> Self {
        let [user, id, email, name, role, permissions, session, assertion] = settings.header_names().map(header_name);
        Self {
            of_account: [user, id, email, name, role, permissions],
            session,
            assertion,
            rendered: Cache::new(RENDERED_MAX),
        }
    }

    /// All names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.of_account.iter().chain([&self.session, &self.assertion]).map(HeaderName::as_str)
    }

    /// Writes all of them.
    pub fn write(
        &self,
        answer: &mut HttpResponse,
        identity: &Arc<Identity>,
        session: SessionId,
        assertion: Option<&str>,
    ) {
        let headers = answer.headers_mut();
        let rendered = self.rendered_for(identity);
        for (name, value) in self.of_account.iter().zip(&rendered.values) {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(self.session.clone(), value(&session.to_string()));
        headers.insert(self.assertion.clone(), assertion.map_or_else(|| HeaderValue::from_static(""), value));
    }

    /// The same as lines, without an assertion.
    pub fn append_lines(&self, into: &mut Vec<u8>, identity: &Arc<Identity>, session: SessionId) {
        into.extend_from_slice(&self.rendered_for(identity).lines);
        let (session_name, assertion_name) = (self.session.as_str(), self.assertion.as_str());
        // Writing to memory does not fail.
        let _ = io::Write::write_fmt(into, format_args!("{session_name}: {session}\r\n{assertion_name}: \r\n"));
    }

    /// For a path that anybody may see: nobody is named.
    pub fn write_empty(&self, answer: &mut HttpResponse) {
        for name in self.of_account.iter().chain([&self.session, &self.assertion]) {
            answer.headers_mut().insert(name.clone(), HeaderValue::from_static(""));
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

/// The settings let no other name in.
fn header_name(name: &str) -> HeaderName {
    HeaderName::try_from(name).unwrap_or(HeaderName::from_static("remote-user"))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_encoded_before| HeaderValue::from_static(""))
}

/// Percent-encodes what is not printable ASCII, the percent sign, and spaces at the ends: a name may be of any script, and
/// no name may begin another header.
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
    fn no_text_ends_a_header_or_begins_one() {
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
