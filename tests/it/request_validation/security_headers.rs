//! Security headers on every answer, whatever its status: ASVS 3.4 and 14.3.2.

use doorward::testing::{Builder, TestService};
use serde_json::json;

use super::over_https;
use crate::panics::TOY;
use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(every_answer_has_the_security_headers, over_https_every_answer_has_hsts);

const FENCES: [(&str, &str); 5] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
];

/// One request for each status.
fn requests() -> Vec<(u16, Request)> {
    let account = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let change = |method: &str, path: &str| Request::new(method, path).json(&account);
    vec![
        (200, Request::new("GET", "/healthz")),
        (200, Request::new("HEAD", "/healthz")),
        (200, Request::new("GET", "/readyz")),
        (201, change("POST", "/auth/register")),
        (200, change("POST", "/auth/login")),
        (409, change("POST", "/auth/register")),
        (400, Request::new("POST", "/auth/login").json("{")),
        (400, Request::new("GET", "/auth/me").header("Authorization", "Bearer a b")),
        (401, Request::new("GET", "/auth/me")),
        (401, Request::new("GET", "/auth/me").bearer("x")),
        (403, change("POST", "/auth/login").header("Origin", "https://evil.example")),
        (404, Request::new("GET", "/nowhere")),
        (405, Request::new("PUT", "/auth/login")),
        (405, Request::new("PUT", "/healthz")),
        (413, Request::new("POST", "/auth/login").json(&" ".repeat(20_000))),
        (415, Request::new("POST", "/auth/login").body(Some("text/plain"), "x")),
        (422, Request::new("POST", "/auth/login").json("{}")),
        (500, Request::new("GET", "/toy/panic")),
        (500, Request::new("GET", "/toy/panic-in-the-pool")),
        (404, Request::new("GET", "/toy/nowhere")),
        (400, Request::new("POST", "/auth/refresh").cookie_header("refreshToken=a; refreshToken=b")),
        (414, Request::new("GET", &format!("/auth/me?{}", "q".repeat(9000)))),
        (431, Request::new("GET", "/auth/me").cookie_header(&"c".repeat(9000))),
        (429, change("POST", "/auth/register")),
    ]
}

fn service(backend: Backend) -> Builder {
    backend.service().dialect(TOY)
}

/// The last sign-up of the list exceeds the rate limit.
fn start(builder: Builder) -> TestService {
    builder.set("THROTTLE_SIGN_UPS", "2/1h").start()
}

fn assert_security_headers(answer: &Response, what: &str) {
    for (name, value) in FENCES {
        assert_eq!(answer.headers_named(name), [value], "{what}: {name}");
    }
    let policy = answer.headers_named("Content-Security-Policy");
    assert_eq!(policy.len(), 1, "{what}: {policy:?}");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
        assert!(policy[0].split(';').any(|directive| directive.trim() == part), "{what}: {part}");
    }
    let id = answer.headers_named("X-Request-Id");
    assert!(id.len() == 1 && id[0].len() >= 12, "{what}: {id:?}");
    assert_eq!(answer.header("Server"), None, "{what}: no name, no version");
    assert_eq!(answer.header("X-Powered-By"), None, "{what}");
}

fn walk(service: &TestService) -> Vec<(String, Response)> {
    let mut answers = vec![];
    let mut ids = vec![];
    for (status, request) in requests() {
        let answer = request.send(service.address());
        let what = format!("{status} {request:?}").chars().take(100).collect::<String>();
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        ids.push(answer.header("X-Request-Id").map(ToOwned::to_owned));
        answers.push((what, answer));
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "no two requests have the same id");
    answers
}

fn every_answer_has_the_security_headers(backend: Backend) {
    for (what, answer) in walk(&start(service(backend))) {
        assert_security_headers(&answer, &what);
        assert_eq!(answer.header("Strict-Transport-Security"), None, "{what}: over http it would lock people out");
    }
}

fn over_https_every_answer_has_hsts(backend: Backend) {
    for (what, answer) in walk(&start(over_https(service(backend)))) {
        assert_security_headers(&answer, &what);
        let shown = answer.headers_named("Strict-Transport-Security");
        assert_eq!(shown, ["max-age=31536000; includeSubDomains"], "{what}");
    }
}
