//! Routing: unknown paths, methods, media types, queries and header lines.

use super::{Body, Fixture, ROUTES, Route, assert_refused, problem, routes_with_a_body};
use crate::support::http::{Request, exchange_raw};
use crate::support::{Backend, PASSWORD, code, on_both_backends};

on_both_backends!(
    a_wrong_method_is_answered_with_the_allowed_ones,
    health_endpoints_are_read_only,
    an_unknown_path_is_a_404_problem,
    only_json_is_read,
    every_spelling_of_the_json_media_type_is_read,
    credentials_in_a_query_are_ignored,
    oversized_heads_are_refused_and_affect_no_other_client,
    a_refused_media_type_is_answered_with_the_accepted_one,
);

fn fixture(backend: Backend) -> Fixture {
    Fixture::of_every_route(backend)
}

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW"];

fn a_wrong_method_is_answered_with_the_allowed_ones(backend: Backend) {
    let fixture = fixture(backend);
    for Route { path, .. } in ROUTES {
        let mut allow: Vec<&str> = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method).collect();
        if allow.contains(&"GET") {
            allow.insert(1, "HEAD");
        }
        for method in METHODS.iter().filter(|method| !allow.contains(*method)) {
            let answer = fixture.send(&Request::new(method, path).header("Content-Length", "0"));
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
            assert_eq!(answer.header("Allow"), Some(allow.join(", ").as_str()), "{method} {path}");
            assert!(*method == "HEAD" || code(&answer) == "method_not_allowed");
        }
    }
    fixture.assert_nothing_changed();
}

fn health_endpoints_are_read_only(backend: Backend) {
    let fixture = fixture(backend);
    for path in ["/healthz", "/readyz"] {
        for method in METHODS.iter().filter(|method| !["GET", "HEAD"].contains(*method)) {
            let answer = fixture.send(&Request::new(method, path).header("Content-Length", "0"));
            assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")), "{method} {path}");
            assert_eq!(code(&answer), "method_not_allowed");
        }
        assert_eq!(fixture.send(&Request::new("HEAD", path)).status, 200);
    }
}

fn an_unknown_path_is_a_404_problem(backend: Backend) {
    let fixture = fixture(backend);
    let paths = [
        "/index.html",
        "/auth",
        "/auth/",
        "/auth/login/",
        "/auth/login/x",
        "/auth/logi",
        "/auth/loginx",
        "/Auth/Login",
        "//auth/login",
        "/auth//login",
        "/auth/./login",
        "/auth/x/../login",
        "/auth/login;x",
        "/auth/login%00",
        "/auth%2flogin",
        "/auth/%ff",
        "/auth/sessions/",
        "/auth/sessions/x/y",
        "/admin",
        "/.env",
        "/sign-in?next=/",
        "/auth/me/..%2f..%2fetc/passwd",
    ];
    for path in paths {
        for method in ["GET", "POST"] {
            let answer = fixture.send(&Request::new(method, path));
            assert_eq!((answer.status, code(&answer).as_str()), (404, "route_not_found"), "{method} {path}");
        }
    }
    fixture.assert_nothing_changed();
}

const OTHER_TYPES: [Option<&str>; 16] = [
    None,
    Some(""),
    Some("text/plain"),
    Some("text/plain; charset=application/json"),
    Some("text/plain+json"),
    Some("application/problem+json"),
    Some("application/json-patch+json"),
    Some("application/x-www-form-urlencoded"),
    Some("multipart/form-data; boundary=x"),
    Some("application/octet-stream"),
    Some("application/jsonp"),
    Some("json"),
    Some("*/*"),
    Some("application/json, text/plain"),
    Some("text/plain, application/json"),
    Some("application/json; charset=utf-16"),
];

fn only_json_is_read(backend: Backend) {
    let fixture = fixture(backend);
    for route in routes_with_a_body() {
        for other in OTHER_TYPES {
            let answer = fixture.send_to(route, |request| request.body(other, route.json));
            let what = format!("{} {} {other:?}", route.method, route.path);
            assert_eq!(problem(&answer), (415, "unsupported_media_type".to_owned(), vec![]), "{what}");
        }
        for second in ["text/plain", "application/json"] {
            let answer = fixture.send_to(route, |request| request.json(route.json).header("Content-Type", second));
            assert_eq!((answer.status, code(&answer).as_str()), (415, "unsupported_media_type"), "{second} twice");
        }
        // A form body, which no JSON parser should see.
        let form = Some("application/x-www-form-urlencoded");
        let answer = fixture.send_to(route, |request| request.body(form, "username=emily&password=x"));
        assert_eq!(answer.status, 415, "{}", route.path);
    }
    fixture.assert_nothing_changed();
}

fn a_refused_media_type_is_answered_with_the_accepted_one(backend: Backend) {
    let fixture = fixture(backend);
    for route in routes_with_a_body() {
        let answer = fixture.send_to(route, |request| request.body(Some("text/plain"), route.json));
        let header = if route.method == "PATCH" { "Accept-Patch" } else { "Accept-Post" };
        assert_eq!((answer.status, answer.header(header)), (415, Some("application/json")), "{}", route.path);
    }
}

fn every_spelling_of_the_json_media_type_is_read(backend: Backend) {
    let fixture = fixture(backend);
    for content_type in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "application/json ; charset=utf-8",
    ] {
        for route in routes_with_a_body() {
            // The refusal of an unknown field proves that the body was read.
            let answer = fixture.send_to(route, |request| request.body(Some(content_type), r#"{"colour":"red"}"#));
            assert_eq!(answer.status, 422, "{} {content_type}: {}", route.path, answer.text());
        }
    }
    for route in routes_with_a_body().filter(|route| route.body == Body::Optional) {
        let answer = fixture.send_to(route, |request| request.header("Content-Type", "text/plain"));
        assert_ne!(answer.status, 415, "{}: without a body there is nothing to refuse", route.path);
    }
    fixture.assert_nothing_changed();
}

fn credentials_in_a_query_are_ignored(backend: Backend) {
    let fixture = fixture(backend);
    let query = format!("username=emily&identifier=emily&password={PASSWORD}");
    let by_get = fixture.send(&Request::new("GET", &format!("/auth/login?{query}")));
    assert_eq!((by_get.status, by_get.header("Allow")), (405, Some("POST")));
    let without = fixture.send(&Request::new("POST", &format!("/auth/login?{query}")).json("{}"));
    assert_eq!((without.status, code(&without).as_str()), (422, "invalid_fields"));
    for name in ["access_token", "accessToken", "token", "Authorization"] {
        let answer = fixture.send(&Request::new("GET", &format!("/auth/me?{name}={}", fixture.access)));
        assert_eq!((answer.status, code(&answer).as_str()), (401, "token_missing"), "{name}");
        assert!(!answer.text().contains(&fixture.access), "{name} is echoed");
    }
    let refreshed = fixture.send(&Request::new("POST", &format!("/auth/refresh?refreshToken={}", fixture.access)));
    assert_eq!((refreshed.status, code(&refreshed).as_str()), (401, "refresh_token_missing"));
    // RFC 6750 section 2.2: a token in a form body is not accepted.
    let form = format!("access_token={}", fixture.access);
    let request = Request::new("POST", "/auth/logout-all").body(Some("application/x-www-form-urlencoded"), form);
    assert_eq!(fixture.send(&request).status, 415);
    fixture.assert_nothing_changed();
}

fn oversized_heads_are_refused_and_affect_no_other_client(backend: Backend) {
    let fixture = fixture(backend);
    let long = "x".repeat(100_000);
    let status = |bytes: String| {
        let answer = exchange_raw(fixture.service.address(), bytes.as_bytes());
        let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {line:?}")).parse::<u16>().unwrap()
    };
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    for (what, bytes) in [
        ("a path of 100 kB", get(&format!("/{long}"), "")),
        ("a header of 100 kB", get("/auth/me", &format!("X-Long: {long}\r\n"))),
        ("a cookie of 100 kB", get("/auth/me", &format!("Cookie: accessToken={long}\r\n"))),
        ("a bearer token of 100 kB", get("/auth/me", &format!("Authorization: Bearer {long}\r\n"))),
        ("a thousand headers", get("/auth/me", &"X: y\r\n".repeat(1000))),
        ("a thousand cookies", get("/auth/me", &format!("Cookie: {}\r\n", "accessToken=x; ".repeat(1000)))),
        ("a method of 100 kB", format!("{long} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")),
        ("a header without a name", get("/auth/me", ": x\r\n")),
        ("a NUL in a header", get("/auth/me", "X: a\0b\r\n")),
        ("two lengths", get("/auth/me", "Content-Length: 1\r\nContent-Length: 2\r\n")),
    ] {
        let status = status(bytes);
        assert!((400..500).contains(&status), "{what}: {status}");
        fixture.assert_nothing_changed();
    }
    let answer =
        fixture.send(&Request::new("DELETE", &format!("/auth/sessions/{}", "x".repeat(5000))).bearer(&fixture.access));
    assert_refused(&answer, "a long session id");
    fixture.assert_nothing_changed();
}
