//! Browsers and cookies: what is not done by a GET, not cleared, and not accepted in a URL.

use super::{ACTIONS, CHECKS, cookies_of, emily, state};
use crate::support::http::Request;
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    no_get_request_changes_state_in_any_dialect,
    no_answer_clears_data_of_sibling_domains,
    a_token_in_a_url_is_not_accepted,
);

fn no_get_request_changes_state_in_any_dialect(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.demo().start();
    let cookies = cookies_of(&emily(&service));
    let before = state(&service, &tables);
    for action in ACTIONS {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "BREW"] {
            let request = Request::new(method, action.path).cookie_header(&cookies).header("Content-Length", "0");
            let answer = request.send(service.address());
            // The store contract answers 404 here, but still names the method.
            let expected = if action.path.starts_with("/store") { 404 } else { 405 };
            let shown = (answer.status, answer.header("Allow"));
            assert_eq!(shown, (expected, Some("POST")), "{method} {}", action.path);
            assert!(answer.headers_named("Set-Cookie").is_empty(), "{method} {}", action.path);
        }
    }
    for path in CHECKS {
        let allow = if path == "/auth/me" { "GET, HEAD, PATCH" } else { "GET, HEAD" };
        for method in ["OPTIONS", "TRACE", "PUT", "POST"] {
            let request = Request::new(method, path).cookie_header(&cookies).header("Content-Length", "0");
            let answer = request.send(service.address());
            let expected = if path.starts_with("/store") { 404 } else { 405 };
            assert_eq!((answer.status, answer.header("Allow")), (expected, Some(allow)), "{method} {path}");
            assert!(!answer.text().contains("accessToken"), "TRACE gives cookies to scripts");
        }
    }
    assert_eq!(state(&service, &tables), before);
}

/// `Clear-Site-Data: "cookies"` takes those of every sibling domain too.
fn no_answer_clears_data_of_sibling_domains(backend: Backend) {
    let service = backend.service().demo().start();
    for path in
        ["/auth/logout", "/auth/logout-all", "/flat/auth/logout", "/pin/auth/logout", "/auth/refresh", "/auth/login"]
    {
        let mut browser = emily(&service);
        let answer = browser.post_empty(path);
        assert_eq!(answer.header("Clear-Site-Data"), None, "{path}");
        let caching = answer.headers_named("Cache-Control");
        assert!(caching.len() == 1 && caching[0].contains("no-store"), "{path}: {caching:?}");
    }
}

fn a_token_in_a_url_is_not_accepted(backend: Backend) {
    let service = backend.service().demo().start();
    let browser = emily(&service);
    let (access, refresh) = (browser.cookie("accessToken").unwrap(), browser.cookie("refreshToken").unwrap());
    for path in CHECKS {
        for name in ["access_token", "accessToken", "token", "jwt", "rt", "Authorization", "bearer"] {
            let answer = Request::new("GET", &format!("{path}?{name}={access}")).send(service.address());
            assert!([401, 403].contains(&answer.status), "{path}?{name}: {}", answer.status);
            assert!(!answer.text().contains(&access), "{path} gives back what stood in {name}");
        }
    }
    // The store contract's refresh reads its token from the query, and no other route does.
    for action in ACTIONS.iter().filter(|action| action.path.contains("refresh") && !action.path.contains("rt=")) {
        for name in ["rt", "refreshToken", "refresh_token", "token"] {
            let answer = Request::new("POST", &format!("{}?{name}={refresh}", action.path)).send(service.address());
            assert!((400..500).contains(&answer.status), "{} took {name}: {}", action.path, answer.status);
        }
    }
}
