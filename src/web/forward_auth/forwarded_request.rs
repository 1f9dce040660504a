//! Forwarded headers: the request that a browser sent to the proxy, as a trusted proxy describes it in the headers of the
//! check. This file decides which headers are trusted. Which family of headers counts is a setting, because a proxy
//! overwrites its own family and passes on what a client wrote into another one. Which proxies are trusted is decided by
//! request/client_address.rs.

use actix_web::HttpRequest;
use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderMap};

use crate::settings::ForwardedHeaders;
use crate::web::request::client_address::{TrustedProxies, http_scheme};

/// Every header by which a proxy may describe the request. No other spelling of them is accepted.
pub const FORWARDED_HEADERS: [&str; 10] = [
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

/// The request that a check decides about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// As it was sent, in upper case.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// In lower case, with the port if there is one.
    pub host: String,
    /// Path and query, as they were sent.
    pub target: String,
}

/// Why a check's headers or query are invalid, for the log and the operator who configured the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidForwardedHeaders(pub &'static str);

impl ForwardedRequest {
    /// Reads the headers of one family; `None` if the peer is not a trusted proxy. A header that is missing, repeated, or
    /// contradicted by another family is an error: no value is assumed for it.
    pub fn read(
        request: &HttpRequest,
        family: ForwardedHeaders,
        proxies: &TrustedProxies,
    ) -> Result<Option<Self>, InvalidForwardedHeaders> {
        if !proxies.trusts_peer_of(request) {
            return Ok(None);
        }
        let headers = request.headers();
        let forwarded = match family {
            ForwardedHeaders::XForwarded => Self {
                method: single_value(headers, "x-forwarded-method")?.to_owned(),
                scheme: http_scheme(single_value(headers, "x-forwarded-proto")?).to_owned(),
                host: single_value(headers, "x-forwarded-host")?.to_ascii_lowercase(),
                target: single_value(headers, "x-forwarded-uri")?.to_owned(),
            },
            ForwardedHeaders::XOriginal => {
                let (scheme, host, target) = split_url(single_value(headers, "x-original-url")?)?;
                Self { method: single_value(headers, "x-original-method")?.to_owned(), scheme, host, target }
            }
            ForwardedHeaders::Envoy => Self {
                method: request.method().to_string(),
                scheme: http_scheme(single_value(headers, "x-forwarded-proto")?).to_owned(),
                host: single_value(headers, HOST.as_str())?.to_ascii_lowercase(),
                target: after_original(request.uri())
                    .ok_or(InvalidForwardedHeaders("the query of the check has no original="))?
                    .to_owned(),
            },
        };
        forwarded.check_other_families(headers, family)?;
        if !forwarded.is_well_formed() {
            return Err(InvalidForwardedHeaders("the forwarded headers do not describe a valid request"));
        }
        Ok(Some(forwarded))
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    /// The request's URL.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.target)
    }

    /// Compares with the other families: nginx passes on what a client wrote into a family that nginx does not set itself
    /// (oauth2-proxy CVE-2026-40575).
    fn check_other_families(
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
                let value = value.to_str().unwrap_or("\0");
                let target = if value.starts_with('/') { value.to_owned() } else { split_url(value)?.2 };
                if target != self.target {
                    return Err(InvalidForwardedHeaders("two families of forwarded headers contain different paths"));
                }
            }
        }
        Ok(())
    }

    fn is_well_formed(&self) -> bool {
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        matches!(self.scheme.as_str(), "http" | "https")
            && !self.host.is_empty()
            && self.host.bytes().all(in_host)
            && self.target.starts_with('/')
            && !self.method.is_empty()
            && self.method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    }
}

/// The value of a header that must be present exactly once. A list counts as repeated, except in URLs, which may contain
/// commas.
fn single_value<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, InvalidForwardedHeaders> {
    let mut lines = headers.get_all(name);
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(InvalidForwardedHeaders("a forwarded header is missing or repeated"));
    };
    let line = line.to_str().map_err(|_not_ascii| {
        InvalidForwardedHeaders("a forwarded header contains bytes that are not visible ASCII")
    })?;
    let is_target = name.ends_with("-uri") || name.ends_with("-url");
    if !is_target && line.contains(',') {
        Err(InvalidForwardedHeaders("a forwarded header contains several values"))
    } else {
        Ok(line.trim())
    }
}

/// Scheme, host and target of a URL.
fn split_url(url: &str) -> Result<(String, String, String), InvalidForwardedHeaders> {
    let (scheme, rest) =
        url.split_once("://").ok_or(InvalidForwardedHeaders("X-Original-URL is not an absolute URL"))?;
    let (host, target) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Ok((http_scheme(scheme).to_owned(), host.to_ascii_lowercase(), target.to_owned()))
}

/// Envoy appends the client's path to the configured prefix, which ends in `original=`: everything after it comes from the
/// client.
fn after_original(uri: &Uri) -> Option<&str> {
    let query = uri.query()?;
    let at = if query.starts_with("original=") { 0 } else { query.find("&original=")? + 1 };
    query.get(at + "original=".len()..)
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
    fn only_a_trusted_proxy_describes_the_request() {
        assert_eq!(forwarded(&[]), Ok(Some(expected())));
        assert_eq!(read("9.9.9.9:1", ForwardedHeaders::XForwarded, "/auth/forward", &FAMILY), Ok(None));
        let original = [("x-original-method", "GET"), ("x-original-url", "https://App.example.com:8443/a/b?c=d")];
        assert_eq!(read("10.0.0.1:1", ForwardedHeaders::XOriginal, "/", &original), Ok(Some(expected())));
        let envoy = [("host", "app.example.com:8443"), ("x-forwarded-proto", "https")];
        let uri = "/auth/forward?role=A&original=/a/b?c=d";
        assert_eq!(read("10.0.0.1:1", ForwardedHeaders::Envoy, uri, &envoy), Ok(Some(expected())));
    }

    #[test]
    fn a_missing_repeated_or_contradicted_header_is_an_error() {
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
    fn a_malformed_request_is_an_error() {
        for (number, value) in
            [(0, "get"), (0, "GET POST"), (1, "ftp"), (2, "a b"), (2, "a,b"), (2, ""), (3, "a/b"), (3, "")]
        {
            let mut headers = FAMILY.to_vec();
            headers[number].1 = value;
            assert!(read("10.0.0.1:1", ForwardedHeaders::XForwarded, "/", &headers).is_err(), "{headers:?}");
        }
    }
}
