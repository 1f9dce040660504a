//! What the browser asked the proxy for, in the words of a trusted proxy; nobody else is heard. Which family of headers
//! counts is a setting: a proxy overwrites its own family, and passes on whatever a client wrote into another.

use actix_web::HttpRequest;
use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderMap};

use crate::settings::ForwardedHeaders;
use crate::web::request::client_address::TrustedProxies;

/// Every header by which a proxy may name the request. None of them may come with an underscore for its hyphen.
pub const FORWARDED: [&str; 10] = [
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-uri",
    "x-forwarded-for",
    "x-forwarded-prefix",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-real-ip",
];

/// The request that a check is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// As it was sent; `GET` and the like.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// In lower case, with the port if it was named.
    pub host: String,
    /// Path and query as they were sent.
    pub target: String,
}

/// Why a proxy's words are not believed, for the log and the operator who set it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidForwardedHeaders(pub &'static str);

impl ForwardedRequest {
    /// Reads it; `None` from a peer that is not trusted. A header that is missing, stands twice, or says what another
    /// family contradicts is no default for anything.
    pub fn read(
        request: &HttpRequest,
        family: ForwardedHeaders,
        proxies: &TrustedProxies,
    ) -> Result<Option<Self>, InvalidForwardedHeaders> {
        if !proxies.trusts_peer_of(request) {
            return Ok(None);
        }
        let headers = request.headers();
        let original = match family {
            ForwardedHeaders::XForwarded => Self {
                method: one(headers, "x-forwarded-method")?.to_owned(),
                scheme: one(headers, "x-forwarded-proto")?.to_ascii_lowercase(),
                host: one(headers, "x-forwarded-host")?.to_ascii_lowercase(),
                target: one(headers, "x-forwarded-uri")?.to_owned(),
            },
            ForwardedHeaders::XOriginal => {
                let (scheme, host, target) = split(one(headers, "x-original-url")?)?;
                Self { method: one(headers, "x-original-method")?.to_owned(), scheme, host, target }
            }
            ForwardedHeaders::Envoy => Self {
                method: request.method().to_string(),
                scheme: one(headers, "x-forwarded-proto")?.to_ascii_lowercase(),
                host: one(headers, HOST.as_str())?.to_ascii_lowercase(),
                target: after_original(request.uri())
                    .ok_or(InvalidForwardedHeaders("the query has no original="))?
                    .to_owned(),
            },
        };
        original.agrees_with_the_others(headers, family)?;
        original
            .is_sound()
            .then_some(Some(original))
            .ok_or(InvalidForwardedHeaders("the forwarded headers make no request"))
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    /// The whole of it as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.target)
    }

    /// Nginx passes what a client wrote into the family that it does not set itself (oauth2-proxy CVE-2026-40575).
    fn agrees_with_the_others(
        &self,
        headers: &HeaderMap,
        family: ForwardedHeaders,
    ) -> Result<(), InvalidForwardedHeaders> {
        let others: &[&str] = match family {
            ForwardedHeaders::XForwarded => &["x-original-url", "x-original-uri"],
            ForwardedHeaders::XOriginal => &["x-forwarded-uri", "x-original-uri"],
            ForwardedHeaders::Envoy => &["x-forwarded-uri", "x-original-url", "x-original-uri"],
        };
        for name in others {
            for value in headers.get_all(*name) {
                let said = value.to_str().unwrap_or("\0");
                let target = if said.starts_with('/') { said.to_owned() } else { split(said)?.2 };
                if target != self.target {
                    return Err(InvalidForwardedHeaders("two families of forwarded headers name different paths"));
                }
            }
        }
        Ok(())
    }

    fn is_sound(&self) -> bool {
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        matches!(self.scheme.as_str(), "http" | "https")
            && !self.host.is_empty()
            && self.host.bytes().all(in_host)
            && self.target.starts_with('/')
            && !self.method.is_empty()
            && self.method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    }
}

/// The header's only value. A list of two is two.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, InvalidForwardedHeaders> {
    let mut lines = headers.get_all(name);
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(InvalidForwardedHeaders("a forwarded header is missing or stands twice"));
    };
    let line =
        line.to_str().map_err(|_octets| InvalidForwardedHeaders("a forwarded header holds octets that no URL has"))?;
    let is_target = name.ends_with("-uri") || name.ends_with("-url");
    if !is_target && line.contains(',') {
        Err(InvalidForwardedHeaders("a forwarded header names two"))
    } else {
        Ok(line.trim())
    }
}

fn split(url: &str) -> Result<(String, String, String), InvalidForwardedHeaders> {
    let (scheme, rest) = url.split_once("://").ok_or(InvalidForwardedHeaders("X-Original-URL is no URL"))?;
    let (host, target) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Ok((scheme.to_ascii_lowercase(), host.to_ascii_lowercase(), target.to_owned()))
}

/// Envoy appends the path to the prefix it is given, so all that follows is the client's.
pub fn after_original(uri: &Uri) -> Option<&str> {
    let query = uri.query()?;
    let at = if query.starts_with("original=") { 0 } else { query.find("&original=")? + 1 };
    query.get(at + "original=".len()..)
}

/// Whether a header imitates one of these with an underscore for a hyphen: many servers cannot tell the two apart
/// (oauth2-proxy CVE-2025-64484, Traefik CVE-2026-39858, Caddy CVE-2026-52845).
pub fn is_header_lookalike(name: &str, names: &[String]) -> bool {
    name.contains('_') && names.iter().any(|known| same_but_for_underscores(name, known))
}

fn same_but_for_underscores(name: &str, known: &str) -> bool {
    let hyphen = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() == known.len()
        && name.bytes().map(hyphen).zip(known.bytes()).all(|(one, other)| one.eq_ignore_ascii_case(&other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    const FAMILY: [(&str, &str); 4] = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "App.example.com:8443"),
        ("x-forwarded-uri", "/a/b?c=d"),
    ];

    fn read(
        peer: &str,
        family: ForwardedHeaders,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Result<Option<ForwardedRequest>, InvalidForwardedHeaders> {
        let request = TestRequest::with_uri(uri).peer_addr(peer.parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        ForwardedRequest::read(&request.to_http_request(), family, &proxies)
    }

    fn forwarded(more: &[(&str, &str)]) -> Result<Option<ForwardedRequest>, InvalidForwardedHeaders> {
        read("10.0.0.1:1", ForwardedHeaders::XForwarded, "/auth/forward", &[&FAMILY[..], more].concat())
    }

    fn expected() -> ForwardedRequest {
        ForwardedRequest {
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            host: "app.example.com:8443".to_owned(),
            target: "/a/b?c=d".to_owned(),
        }
    }

    #[test]
    fn a_trusted_proxy_says_what_was_asked_for_and_a_stranger_says_nothing() {
        assert_eq!(forwarded(&[]), Ok(Some(expected())));
        assert_eq!(read("9.9.9.9:1", ForwardedHeaders::XForwarded, "/auth/forward", &FAMILY), Ok(None));
        let original = [("x-original-method", "GET"), ("x-original-url", "https://App.example.com:8443/a/b?c=d")];
        assert_eq!(read("10.0.0.1:1", ForwardedHeaders::XOriginal, "/", &original), Ok(Some(expected())));
        let envoy = [("host", "app.example.com:8443"), ("x-forwarded-proto", "https")];
        let uri = "/auth/forward?role=A&original=/a/b?c=d";
        assert_eq!(read("10.0.0.1:1", ForwardedHeaders::Envoy, uri, &envoy), Ok(Some(expected())));
    }

    #[test]
    fn what_is_missing_doubled_or_contradicted_is_no_default() {
        for (number, (name, _)) in FAMILY.iter().enumerate() {
            let mut without = FAMILY.to_vec();
            without.remove(number);
            let answer = read("10.0.0.1:1", ForwardedHeaders::XForwarded, "/", &without);
            assert!(answer.is_err(), "without {name}");
            assert!(forwarded(&[(name, "x")]).is_err(), "two of {name}");
        }
        assert!(forwarded(&[("x-original-url", "https://app.example.com/other")]).is_err());
        assert!(forwarded(&[("x-original-uri", "/other")]).is_err());
        assert!(forwarded(&[("x-original-uri", "/a/b?c=d")]).is_ok());
        assert!(forwarded(&[("x-original-url", "nonsense")]).is_err());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (number, value) in
            [(0, "get"), (0, "GET POST"), (1, "ftp"), (2, "a b"), (2, "a,b"), (2, ""), (3, "a/b"), (3, "")]
        {
            let mut headers = FAMILY.to_vec();
            headers[number].1 = value;
            assert!(read("10.0.0.1:1", ForwardedHeaders::XForwarded, "/", &headers).is_err(), "{headers:?}");
        }
    }

    #[test]
    fn an_underscore_is_no_hyphen() {
        let names = ["remote-user".to_owned(), "x-forwarded-host".to_owned()];
        for (name, is) in
            [("remote_user", true), ("x_forwarded-host", true), ("remote-user", false), ("remote_x", false)]
        {
            assert_eq!(is_header_lookalike(name, &names), is, "{name}");
        }
    }
}
