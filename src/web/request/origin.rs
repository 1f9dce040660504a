//! Origin check (CSRF protection) and CORS: a state-changing request from a page of another origin is refused before any
//! handler, whatever credentials it has. CORS, which lets the allowed origins read responses, is configured from the same
//! list. The pages' CSRF tokens are a second, independent check (pages/csrf_form.rs).

use actix_cors::Cors;
use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::settings::Settings;
use crate::web::request::request_id::REQUEST_ID;
use crate::web::response::error::RequestError;

/// The value of `Vary` that `cors` writes on every response.
pub const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins that may send state-changing requests.
#[derive(Debug, Clone)]
pub struct Origins {
    own: Option<String>,
    listed: Vec<String>,
    strict: bool,
}

impl Origins {
    /// The public URL's origin and the listed ones.
    pub fn new(settings: &Settings) -> Self {
        Self {
            own: settings.web.public_url.as_ref().map(|url| url.origin().ascii_serialization()),
            listed: settings.web.cors_origins.iter().map(|url| url.origin().ascii_serialization()).collect(),
            strict: settings.web.csrf_strict,
        }
    }

    /// Refuses a state-changing request from a page whose origin is neither the service's own nor listed. A browser says how the
    /// page is related to the URL that it requests in `Sec-Fetch-Site` (Fetch Metadata), which no page can set: `same-origin` is
    /// enough, also where a development proxy has rewritten `Host` and `Origin` names another port. Older browsers, and pages
    /// without TLS, send `Origin` alone; a request with neither header comes from no browser and is refused only with CSRF_STRICT,
    /// if it has cookies.
    pub fn check(&self, request: &HttpRequest, has_cookies: bool) -> Result<(), RequestError> {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let headers = request.headers();
        let (mut origins, mut sites) = (headers.get_all(ORIGIN), headers.get_all(FETCH_SITE));
        let allowed = match (origins.next(), origins.next(), sites.next(), sites.next()) {
            (_, None, Some(site), None) if matches!(site.as_bytes(), b"same-origin" | b"none") => true,
            (Some(origin), None, _, None) => self.allows(origin, headers),
            (None, None, None, None) => !(self.strict && has_cookies),
            // Another relation, or one of the headers twice, as no browser sends it.
            _ => false,
        };
        if allowed { Ok(()) } else { Err(RequestError::OriginNotAllowed) }
    }

    fn allows(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        if self.listed.iter().any(|listed| listed == origin) {
            return true;
        }
        match &self.own {
            Some(own) => own == origin,
            // Without a public URL (in development) the own origin is the one of the `Host` header.
            None => headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| {
                origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
            }),
        }
    }

    /// CORS for the listed origins, exactly and with credentials; other origins get no CORS header.
    pub fn cors(&self) -> Cors {
        let cors = self.listed.iter().fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
        cors.allowed_methods(["GET", "POST", "PATCH", "DELETE"])
            // Whatever the page sends (`traceparent`, `X-Requested-With`): a listed origin is trusted, and no header of ours is.
            .allow_any_header()
            .expose_headers([RETRY_AFTER, WWW_AUTHENTICATE, REQUEST_ID])
            .supports_credentials()
            .block_on_origin_mismatch(false)
            .max_age(600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use std::collections::BTreeMap;

    fn origins(vars: &[(&str, &str)]) -> Origins {
        let vars: BTreeMap<_, _> = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let known = [crate::settings::KnownDialect { name: "native", prefix: "/", rotates: true }];
        Origins::new(&Settings::from_vars(&vars, &known).unwrap())
    }

    fn allowed(origins: &Origins, method: Method, headers: &[(&str, &str)]) -> bool {
        let request = TestRequest::default().method(method).insert_header(("host", "auth.example"));
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        origins.check(&request.to_http_request(), true).is_ok()
    }

    #[test]
    fn origin_check_by_origin_and_fetch_site() {
        let origins = origins(&[("PUBLIC_URL", "https://auth.example"), ("CORS_ORIGINS", "https://app.example")]);
        for (headers, expected) in [
            (vec![], true),
            (vec![("origin", "https://auth.example")], true),
            (vec![("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], true),
            (vec![("origin", "https://evil.example")], false),
            (vec![("origin", "null")], false),
            (vec![("origin", "http://auth.example")], false),
            (vec![("origin", "https://auth.example.evil")], false),
            (vec![("origin", "https://auth.example:8443")], false),
            (vec![("origin", "https://auth.example"), ("origin", "https://evil.example")], false),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "none")], true),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("origin", "http://localhost:5173"), ("sec-fetch-site", "same-origin")], true),
            (vec![("origin", "http://localhost:5173"), ("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "Same-Origin")], false),
            (
                vec![
                    ("origin", "https://auth.example"),
                    ("origin", "https://auth.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
            (vec![("origin", "https://evil.example"), ("authorization", "Bearer x")], false),
        ] {
            assert_eq!(allowed(&origins, Method::POST, &headers), expected, "{headers:?}");
            assert!(allowed(&origins, Method::GET, &headers), "reading is CORS's matter");
        }
    }

    #[test]
    fn without_a_public_url_the_host_is_the_own_origin() {
        let origins = origins(&[]);
        assert!(allowed(&origins, Method::POST, &[("origin", "http://auth.example")]));
        assert!(!allowed(&origins, Method::POST, &[("origin", "http://evil.example")]));
    }

    #[test]
    fn strict_mode_requires_origin_or_fetch_site() {
        assert!(!allowed(&origins(&[("CSRF_STRICT", "true")]), Method::POST, &[]));
    }
}
