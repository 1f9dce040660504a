//! Navigation detection: whether a browser loads a page and would show the target of a redirect. A script's request that
//! followed a redirect would get the sign-in page instead of data. Browsers say it themselves (Fetch Metadata), but over https
//! and on this machine only; elsewhere it is concluded from what scripts add and from content negotiation (RFC 9110 section
//! 12.5.1). Where a navigation is led is decided in forward_auth.rs.

use actix_web::http::header::{ACCEPT, HeaderMap, HeaderName};

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const HTMX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HTMX_BOOSTED: HeaderName = HeaderName::from_static("hx-boosted");

/// Whether the request of these headers and the original method is a navigation.
pub fn is_navigation(headers: &HeaderMap, method: &str) -> bool {
    match headers.get(FETCH_MODE) {
        Some(mode) => mode.as_bytes() == b"navigate",
        None => method == "GET" && !is_by_script(headers) && prefers_html(headers),
    }
}

/// What jQuery and others, and htmx, say of their requests. A boosted link or form replaces a navigation, and shows what it gets.
fn is_by_script(headers: &HeaderMap) -> bool {
    let is = |name: HeaderName, value: &[u8]| {
        headers.get_all(name).any(|sent| sent.as_bytes().trim_ascii().eq_ignore_ascii_case(value))
    };
    is(REQUESTED_WITH, b"XMLHttpRequest") || (is(HTMX_REQUEST, b"true") && !is(HTMX_BOOSTED, b"true"))
}

/// Whether no other media type is preferred to HTML, and HTML is named: scripts and command line tools send `*/*`.
fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut of_html, mut of_others) = (0, 0);
    for range in headers.get_all(ACCEPT).filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let quality = parts.find_map(quality).unwrap_or(1000);
        let is_html = ["text/html", "application/xhtml+xml"].iter().any(|html| media_type.eq_ignore_ascii_case(html));
        let best = if is_html { &mut of_html } else { &mut of_others };
        *best = quality.max(*best);
    }
    of_html > 0 && of_html >= of_others
}

/// The quality that a parameter states, in thousandths; 0 if it cannot be read. `None` for another parameter.
fn quality(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(0);
    }
    Some(match whole {
        "0" => format!("{fraction:0<3}").parse().unwrap_or(0),
        "1" if fraction.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn decide(method: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        is_navigation(&map, method)
    }

    #[test]
    fn a_navigation_prefers_html_to_every_other_media_type() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true),
            ("text/html, application/xhtml+xml, image/jxr, */*", true),
            ("TEXT/HTML;level=1;q=0.7", true),
            ("application/xhtml+xml", true),
            ("application/json;q=0.5, text/html;q=0.5", true),
            ("text/html;q=0", false),
            ("text/html; Q=0.000, */*;q=0", false),
            ("application/json, text/html;q=0.9", false),
            ("*/*, text/html;q=0.1", false),
            ("text/html;q=high", false),
            ("text/html;q=1.5", false),
            ("text/html;q=0.1234", false),
            ("*/*", false),
            ("text/*", false),
            ("text/htmlx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(decide("GET", &[("accept", accept)]), expected, "{accept}");
        }
        assert!(!decide("GET", &[("accept", "text/html;q=0.5"), ("accept", "application/json")]));
        assert!(!decide("GET", &[]));
        assert!(!decide("POST", &[("accept", "text/html")]));
    }

    #[test]
    fn a_scripts_request_is_no_navigation_unless_the_browser_says_so() {
        let html = ("accept", "text/html, */*");
        for (more, expected) in [
            (vec![("x-requested-with", "XMLHttpRequest")], false),
            (vec![("x-requested-with", "xmlhttprequest")], false),
            (vec![("x-requested-with", "org.example.app")], true),
            (vec![("hx-request", "true")], false),
            (vec![("hx-request", "true"), ("hx-boosted", "true")], true),
            (vec![("hx-request", "true"), ("hx-boosted", "false")], false),
            (vec![("hx-boosted", "true")], true),
            (vec![("x-requested-with", "XMLHttpRequest"), ("sec-fetch-mode", "navigate")], true),
            (vec![("hx-request", "true"), ("hx-boosted", "true"), ("sec-fetch-mode", "cors")], false),
        ] {
            assert_eq!(decide("GET", &[&[html], &more[..]].concat()), expected, "{more:?}");
        }
    }
}
