//! Tokens: which no mount accepts, the size of cookies, and keys that stop the start.

use serde_json::json;

use super::CHECKS;
use crate::support::http::{Browser, Request};
use crate::support::process::WorkDir;
use crate::support::{Backend, PASSWORD, Tokens, on_both_backends, register};

on_both_backends!(no_mount_accepts_a_forged_or_an_ended_token, the_largest_cookie_fits_every_browser);

/// `alg: none`, and the payload of a genuine token.
fn unsigned(genuine: &str) -> String {
    let payload = genuine.split('.').nth(1).unwrap();
    format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}.")
}

fn no_mount_accepts_a_forged_or_an_ended_token(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let live = Tokens::in_jar_of(&browser);
    let torn = &live.access[..live.access.len() - 1];
    let bad = [unsigned(&live.access), torn.to_owned(), live.refresh.clone(), "x".to_owned(), "a.b.c".to_owned()];
    let status = |path: &str, token: &str, by_cookie: bool| {
        let request = Request::new("GET", path);
        let request =
            if by_cookie { request.cookie_header(&format!("accessToken={token}")) } else { request.bearer(token) };
        request.send(service.address()).status
    };
    for path in CHECKS {
        for token in &bad {
            for by_cookie in [false, true] {
                let status = status(path, token, by_cookie);
                assert!([400, 401, 403].contains(&status), "{path} answers {status} to {token}");
            }
        }
        assert!([status(path, &live.access, false), status(path, &live.access, true)].contains(&200), "{path}");
    }
    assert_eq!(browser.post_empty("/auth/logout").status, 200);
    for path in CHECKS {
        for by_cookie in [false, true] {
            assert_ne!(status(path, &live.access, by_cookie), 200, "{path} after the logout");
        }
    }
}

fn the_largest_cookie_fits_every_browser(backend: Backend) {
    let service = backend.service().set("SIGNUP_ROLE", "R".repeat(64)).start();
    let body = json!({
        "username": "u".repeat(64), "name": "n".repeat(64), "password": PASSWORD,
        "deviceId": "d".repeat(100), "deviceName": "e".repeat(100), "firstName": "f".repeat(64),
    });
    let mut browser = Browser::new(service.address());
    let agent = Request::new("POST", "/auth/register").header("User-Agent", "a".repeat(4000)).json(&body.to_string());
    let answer = browser.send(agent);
    assert_eq!(answer.status, 201, "{}", answer.text());
    for line in answer.headers_named("Set-Cookie") {
        assert!(line.len() < 1024, "{} bytes of the 4096 that browsers keep", line.len());
    }
}

#[test]
fn an_empty_or_weak_key_stops_the_start() {
    for name in ["JWT_SECRET", "PEPPER"] {
        for weak in ["", " ", "short", "your-256-bit-secret-your-256-bit-secret", &"ab".repeat(30)] {
            let ran = WorkDir::new().set(name, weak).run(&["serve"]);
            assert!(!ran.status.success(), "{name}={weak:?} was taken");
            assert!(ran.stderr.starts_with(&format!("doorward: {name}: ")), "{name}={weak:?}: {}", ran.stderr);
            assert!(weak.trim().is_empty() || !ran.stderr.contains(weak), "{}", ran.stderr);
        }
    }
}
