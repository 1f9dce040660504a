//! CSRF and CORS: pages of other origins change nothing, and read only what CORS_ORIGINS allows.

use super::{Fixture, OWN, ROUTES, over_https, rows};
use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, code, on_both_backends, sessions_of};
use serde_json::json;

on_both_backends!(
    a_page_of_another_origin_changes_nothing,
    own_and_listed_origins_may_change_state,
    a_listed_origin_gets_exactly_the_cors_headers_it_needs,
    an_unlisted_origin_gets_no_cors_header,
    csrf_strict_requires_origin_or_fetch_metadata_with_cookies,
);

const APP: &str = "https://app.example";

fn fixture(backend: Backend) -> Fixture {
    let service = backend.service().set("CORS_ORIGINS", "https://app.example,https://b.example:8443");
    Fixture::new(over_https(service).start())
}

const FOREIGN: [&[(&str, &str)]; 18] = [
    &[("Origin", "https://evil.example")],
    &[("Origin", "null")],
    &[("Origin", "")],
    &[("Origin", "http://app.example")],
    &[("Origin", "https://app.example:8443")],
    &[("Origin", "https://app.example.evil.example")],
    &[("Origin", "https://evilapp.example")],
    &[("Origin", "https://app.example/")],
    &[("Origin", "https://APP.example")],
    &[("Origin", "https://sub.auth.example")],
    &[("Origin", "http://auth.example")],
    &[("Origin", "https://app.example, https://evil.example")],
    &[("Origin", "https://app.example"), ("Origin", "https://evil.example")],
    &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[("Sec-Fetch-Site", "something-new")],
];

fn with(request: Request, headers: &[(&str, &str)]) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn a_page_of_another_origin_changes_nothing(backend: Backend) {
    let fixture = fixture(backend);
    let newcomer = json!({ "username": "newcomer", "password": PASSWORD }).to_string();
    let login = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let session = sessions_of(fixture.service.core(), fixture.service.core().find_account_by("emily").unwrap().uuid)[0]
        .id
        .to_string();
    for route in ROUTES.iter().filter(|route| route.changes_state()) {
        let body = match route.path {
            "/auth/register" => newcomer.as_str(),
            "/auth/login" => login.as_str(),
            "/auth/refresh" | "/auth/logout" | "/auth/logout-all" => "",
            _ => route.json,
        };
        let path = if route.method == "DELETE" { &format!("/auth/sessions/{session}") } else { route.path };
        let request = Request::new(route.method, path);
        let request = if body.is_empty() { request } else { request.json(body) };
        let by_cookie = request.clone().cookie_header(&format!("accessToken={}", fixture.access));
        // A bearer header beside the cookie does not bypass the check, and neither do missing credentials: signing in
        // is an act too (login CSRF).
        let by_both = by_cookie.clone().bearer(&fixture.access);
        for headers in FOREIGN {
            for request in [&request, &by_cookie, &by_both] {
                let answer = fixture.send(&with(request.clone(), headers));
                let what = format!("{} {path} {headers:?}: {}", route.method, answer.text());
                assert_eq!((answer.status, code(&answer).as_str()), (403, "origin_not_allowed"), "{what}");
                assert!(answer.set_cookies().is_empty(), "{what}");
            }
        }
    }
    fixture.assert_nothing_changed();
}

fn own_and_listed_origins_may_change_state(backend: Backend) {
    let fixture = fixture(backend);
    let change = |headers: &[(&str, &str)]| {
        let request = Request::new("PATCH", "/auth/me").cookie_header(&format!("accessToken={}", fixture.access));
        fixture.send(&with(request.json("{\"firstName\":\"Emily\"}"), headers)).status
    };
    assert_eq!(change(&[]), 200, "no browser");
    assert_eq!(change(&[("Origin", OWN)]), 200);
    assert_eq!(change(&[("Origin", APP), ("Sec-Fetch-Site", "cross-site")]), 200);
    assert_eq!(change(&[("Origin", "https://b.example:8443")]), 200);
    assert_eq!(change(&[("Sec-Fetch-Site", "same-origin")]), 200);
    assert_eq!(change(&[("Sec-Fetch-Site", "none")]), 200);
    // A development server that rewrites Host: the page's own origin is not the one that the service sees.
    for origin in ["http://localhost:5173", "http://127.0.0.1:3000", "https://dev.app.example"] {
        assert_eq!(change(&[("Origin", origin), ("Sec-Fetch-Site", "same-origin")]), 200, "{origin}");
        assert_eq!(change(&[("Origin", origin), ("Sec-Fetch-Site", "same-site")]), 403, "{origin}");
    }
    let read = Request::new("GET", "/auth/me").bearer(&fixture.access).header("Origin", "https://evil.example");
    assert_eq!(fixture.send(&read).status, 200, "reading is CORS's matter");
}

fn cors(answer: &Response) -> Vec<(&str, &str)> {
    let ours = answer.headers.iter().filter(|(name, _)| name.to_lowercase().starts_with("access-control-"));
    ours.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn words(answer: &Response, header: &str) -> Vec<String> {
    let text = answer.header(header).unwrap_or_else(|| panic!("no {header}: {:?}", answer.headers));
    let mut words: Vec<String> = text.split(',').map(|word| word.trim().to_lowercase()).collect();
    words.sort();
    words
}

/// One of each kind of answer: 200, 400, 401, 403, 404, 405, 415.
fn answers_to(fixture: &Fixture, headers: &[(&str, &str)]) -> Vec<Response> {
    let requests = [
        Request::new("GET", "/auth/me").bearer(&fixture.access),
        Request::new("GET", "/healthz"),
        Request::new("POST", "/auth/login").json("{"),
        Request::new("GET", "/auth/me"),
        Request::new("GET", "/nowhere"),
        Request::new("PUT", "/auth/login"),
        Request::new("POST", "/auth/login").body(Some("text/plain"), "x"),
    ];
    requests.into_iter().map(|request| fixture.send(&with(request, headers))).collect()
}

fn a_listed_origin_gets_exactly_the_cors_headers_it_needs(backend: Backend) {
    let fixture = fixture(backend);
    for origin in [APP, "https://b.example:8443"] {
        for answer in answers_to(&fixture, &[("Origin", origin)]) {
            let what = format!("{} {:?}", answer.status, answer.headers);
            assert_eq!(answer.headers_named("Access-Control-Allow-Origin"), [origin], "{what}");
            assert_eq!(answer.headers_named("Access-Control-Allow-Credentials"), ["true"], "{what}");
            let exposed = ["retry-after", "www-authenticate", "x-request-id"];
            assert_eq!(words(&answer, "Access-Control-Expose-Headers"), exposed, "{what}");
            assert_eq!(cors(&answer).len(), 3, "{what}");
            assert!(words(&answer, "Vary").contains(&"origin".to_owned()), "{what}");
        }
        for (path, method, asked) in [
            ("/auth/login", "POST", "content-type"),
            ("/auth/me", "PATCH", "authorization,content-type,traceparent,tracestate"),
            ("/auth/sessions/x", "DELETE", "x-requested-with, baggage"),
        ] {
            let preflight = Request::new("OPTIONS", path)
                .header("Origin", origin)
                .header("Access-Control-Request-Method", method)
                .header("Access-Control-Request-Headers", asked);
            let answer = fixture.send(&preflight);
            let what = format!("{} {:?}", answer.status, answer.headers);
            assert!([200, 204].contains(&answer.status), "{what}");
            assert_eq!(answer.headers_named("Access-Control-Allow-Origin"), [origin], "{what}");
            assert_eq!(answer.headers_named("Access-Control-Allow-Credentials"), ["true"], "{what}");
            assert_eq!(words(&answer, "Access-Control-Allow-Methods"), ["delete", "get", "patch", "post"], "{what}");
            let allowed = words(&answer, "Access-Control-Allow-Headers");
            let mut expected: Vec<String> = asked.split(',').map(|word| word.trim().to_owned()).collect();
            expected.sort();
            assert_eq!(allowed, expected, "{what}");
            assert!(words(&answer, "Vary").contains(&"origin".to_owned()), "{what}");
            assert!(answer.body.is_empty(), "{what}");
        }
    }
}

fn an_unlisted_origin_gets_no_cors_header(backend: Backend) {
    let without_a_list = Fixture::new(backend.service().start());
    for fixture in [&fixture(backend), &without_a_list] {
        for headers in FOREIGN {
            let origins: Vec<&str> =
                headers.iter().filter(|(name, _)| *name == "Origin").map(|(_, value)| *value).collect();
            // Two `Origin` headers of which one is listed: no browser sends that; other tests show that it changes
            // nothing.
            if origins.is_empty() || origins.contains(&APP) {
                continue;
            }
            for answer in answers_to(fixture, headers) {
                assert_eq!(cors(&answer), [], "{headers:?} {}", answer.status);
            }
            for method in ["POST", "DELETE", "PUT"] {
                let preflight = Request::new("OPTIONS", "/auth/login").header("Access-Control-Request-Method", method);
                let preflight = preflight.header("Access-Control-Request-Headers", "content-type");
                let answer = fixture.send(&with(preflight, headers));
                assert_eq!(cors(&answer), [], "{headers:?} {method} {}", answer.status);
                assert!(answer.status < 500, "{headers:?}: {}", answer.status);
            }
        }
        fixture.assert_nothing_changed();
    }
}

fn csrf_strict_requires_origin_or_fetch_metadata_with_cookies(backend: Backend) {
    let fixture = Fixture::new(backend.service().set("CSRF_STRICT", "true").start());
    let logout = || Request::new("POST", "/auth/logout-all");
    let by_cookie = fixture.send(&logout().cookie_header(&format!("accessToken={}", fixture.access)));
    assert_eq!((by_cookie.status, code(&by_cookie).as_str()), (403, "origin_not_allowed"));
    fixture.assert_nothing_changed();
    let before = rows(&fixture.service);
    let own = format!("http://{}", fixture.service.address());
    let ours = logout().cookie_header(&format!("accessToken={}", fixture.access)).header("Origin", &own);
    assert_eq!(fixture.send(&ours).status, 200);
    assert_ne!(rows(&fixture.service), before, "our own page may");
}
