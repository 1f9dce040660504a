//! Security headers (ASVS 3.4) of every response, and as header lines for the fast path. A page that needs other values sets
//! them itself, and they are not overwritten here.

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};

use crate::web::request::request_id::{REQUEST_ID, RequestId, RequestIds};

/// Sets the security headers that a response does not have yet, errors and unknown paths included.
pub fn set_security_headers(headers: &mut HeaderMap, id: &RequestId, https: bool) {
    let fixed: [(HeaderName, &'static str); 6] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let hsts = https.then_some((STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"));
    for (name, value) in fixed.into_iter().chain(hsts) {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
}

/// The security headers as lines, without a request id.
pub fn security_header_lines(https: bool) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    set_security_headers(&mut headers, &RequestIds::default().next(), https);
    headers.remove(REQUEST_ID);
    headers.iter().flat_map(header_line).collect()
}

/// A header as a line on the wire.
pub fn header_line((name, value): (&HeaderName, &HeaderValue)) -> Vec<u8> {
    [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
}

/// Removes CORS headers from a response to an origin that is not allowed: actix-cors sends some of them to every origin.
pub fn strip_cors_headers(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    }
}
