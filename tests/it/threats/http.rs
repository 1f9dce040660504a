//! HTTP: request smuggling, challenges, documented answers, protected metrics.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{ACTIONS, CHECKS, emily};
use crate::support::http::{Request, exchange_raw};
use crate::support::{Backend, is_accepted, on_both_backends, register, sign_in};

on_both_backends!(
    an_ambiguously_framed_request_is_refused,
    the_host_header_decides_nothing,
    every_401_of_every_mount_has_a_challenge,
    every_dialect_refuses_invalid_json,
    answers_contain_documented_members_only,
    metrics_require_the_bearer_token,
    metrics_parse_the_bearer_header_as_every_route_does,
);

/// The status of each answer on the connection.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer).into_owned();
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).filter(|status| *status >= 200).collect()
}

fn an_ambiguously_framed_request_is_refused(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /auth/logout HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
    };
    let chunked = format!("0\r\n\r\n{smuggled}");
    for (what, bytes) in [
        ("a length and chunks", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &chunked)),
        ("chunks and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &chunked)),
        ("two lengths", post("Content-Length: 0\r\nContent-Length: 5\r\n", smuggled)),
        ("a length with a sign", post("Content-Length: +0\r\n", smuggled)),
        ("a negative length", post("Content-Length: -1\r\n", smuggled)),
        ("a length in hexadecimals", post("Content-Length: 0x0\r\n", smuggled)),
        ("a list of lengths", post("Content-Length: 0, 0\r\n", smuggled)),
        ("an unknown coding", post("Transfer-Encoding: xchunked\r\n", &chunked)),
        ("chunks that are not last", post("Transfer-Encoding: chunked, identity\r\n", &chunked)),
        ("codings on two lines", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &chunked)),
        ("a blank before the colon", post("Content-Length : 0\r\n", smuggled)),
        ("a folded line", post("X: a\r\n b\r\nContent-Length: 0\r\n", smuggled)),
        ("a chunk's size with a sign", post("Transfer-Encoding: chunked\r\n", &format!("+0\r\n\r\n{smuggled}"))),
        ("a chunk without an end", post("Transfer-Encoding: chunked\r\n", &format!("1\r\nxx\r\n{smuggled}"))),
        ("a lone CR in a header", post("X: a\rContent-Length: 5\r\nContent-Length: 0\r\n", smuggled)),
        (
            "HTTP/1.0 with chunks",
            post("Transfer-Encoding: chunked\r\n", &chunked)
                .replace("HTTP/1.1\r\nHost: x\r\nContent-T", "HTTP/1.0\r\nHost: x\r\nContent-T"),
        ),
    ] {
        let received = statuses(&exchange_raw(service.address(), bytes.as_bytes()));
        assert!(received.len() <= 1, "{what}: the rest was read as a second request: {received:?}");
        assert!(received.iter().all(|status| (400..500).contains(status)), "{what}: {received:?}");
    }
    assert_eq!(sign_in(&service, "emily").get("/auth/me").status, 200);
}

fn the_host_header_decides_nothing(backend: Backend) {
    let service = backend.service().set("CORS_ORIGINS", "https://app.example").start();
    let access = register(&service, "emily").cookie("accessToken").unwrap();
    let evil = "evil.example";
    for head in [
        format!("GET /auth/me HTTP/1.1\r\nHost: {evil}\r\n"),
        format!("GET http://{evil}/auth/me HTTP/1.1\r\nHost: x\r\n"),
        format!("GET /auth/me HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: {evil}\r\n"),
        format!("GET /auth/me HTTP/1.1\r\nHost: x\r\nForwarded: host={evil};proto=https\r\n"),
        "GET /auth/me HTTP/1.1\r\nHost: x\r\nX-Original-URL: /auth/sessions\r\nX-Rewrite-URL: /healthz\r\n".to_owned(),
    ] {
        for credentials in ["", &format!("Authorization: Bearer {access}\r\n")] {
            let bytes = format!("{head}{credentials}Connection: close\r\n\r\n");
            let answer = String::from_utf8(exchange_raw(service.address(), bytes.as_bytes())).unwrap();
            let expected = if credentials.is_empty() { 401 } else { 200 };
            assert_eq!(statuses(answer.as_bytes()), [expected], "{head}");
            assert!(!answer.contains(evil), "{head}: {answer}");
            assert!(credentials.is_empty() || answer.contains("\"username\":\"emily\""), "{head}: {answer}");
        }
    }
    // Method override headers are ignored.
    for header in ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"] {
        let answer =
            Request::new("GET", "/auth/logout-all").header(header, "POST").bearer(&access).send(service.address());
        assert_eq!(answer.status, 405, "{header}");
    }
    assert!(is_accepted(&service, &access));
}

fn every_401_of_every_mount_has_a_challenge(backend: Backend) {
    let service = backend.service().demo().start();
    let mut seen = 0;
    for path in CHECKS {
        for (request, bad) in [
            (Request::new("GET", path), false),
            (Request::new("GET", path).bearer("x"), true),
            (Request::new("GET", path).cookie_header("accessToken=x"), true),
        ] {
            let answer = request.send(service.address());
            let challenges = answer.headers_named("WWW-Authenticate");
            if answer.status != 401 {
                assert_eq!(answer.status, 403, "{path}: {}", answer.text());
                continue;
            }
            seen += 1;
            assert_eq!(challenges.len(), 1, "{path}: {challenges:?}");
            let plain = "Bearer realm=\"doorward\"";
            let expected = [plain.to_owned(), format!("{plain}, error=\"invalid_token\"")];
            assert!(expected.contains(&challenges[0].to_owned()), "{path}: {challenges:?}");
            assert!(bad || challenges[0] == plain, "{path}: no token was sent, so no error may be named");
        }
    }
    assert!(seen >= 2 * CHECKS.len(), "{seen}");
}

fn every_dialect_refuses_invalid_json(backend: Backend) {
    let service = backend.service().demo().start();
    for action in ACTIONS.iter().filter(|action| !action.json.is_empty() && !action.path.contains("change-password")) {
        for other in [
            None,
            Some("text/plain"),
            Some("text/plain+json"),
            Some("multipart/form-data; boundary=x"),
            Some("application/jsonp"),
        ] {
            let request = Request::new("POST", action.path).body(other, action.json);
            let answer = request.send(service.address());
            assert!([400, 415].contains(&answer.status), "{} took {other:?}: {}", action.path, answer.status);
            assert!(answer.headers_named("Set-Cookie").is_empty(), "{} {other:?}", action.path);
            if answer.status == 415 {
                assert_eq!(answer.header("Accept-Post"), Some("application/json"), "{}", action.path);
            }
        }
    }
}

fn members(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().cloned().collect()
}

fn set(names: &str) -> BTreeSet<String> {
    names.split_whitespace().map(ToOwned::to_owned).collect()
}

fn answers_contain_documented_members_only(backend: Backend) {
    let service = backend.service().demo().start();
    let user = set("id uuid email emailVerified username name firstName lastName gender image phone role permissions \
                    stats profile status lastSignIn createdAt updatedAt");
    let mut browser = emily(&service);
    let login = browser.post("/auth/login", super::EMILY).json();
    assert_eq!(members(&login), set("message user expiresIn"));
    assert_eq!(members(&login["user"]), user);
    assert_eq!(members(&browser.get("/auth/me").json()), user);
    assert_eq!(members(&browser.post_empty("/auth/refresh").json()), set("message expiresIn"));
    let in_body = super::EMILY.replace('}', ",\"tokens\":\"body\"}");
    let login = Request::new("POST", "/auth/login").json(&in_body).send(service.address()).json();
    assert_eq!(members(&login), set("message user expiresIn accessToken refreshToken tokenType"));
    let sessions = browser.get("/auth/sessions").json();
    let session = sessions.as_array().or_else(|| sessions["sessions"].as_array()).unwrap()[0].clone();
    let listed = set("id current dialect deviceId deviceName userAgent address createdAt lastSeenAt expiresAt");
    assert_eq!(members(&session), listed);
    let refused = browser.post("/auth/login", "{}").json();
    assert_eq!(members(&refused), set("type title status code detail requestId errors"));
    assert_eq!(members(&browser.post_empty("/auth/logout").json()), set("message"));
}

fn metrics_require_the_bearer_token(backend: Backend) {
    let closed = backend.service().start();
    for path in ["/metrics", "/openapi.json", "/docs", "/version", "/debug", "/actuator"] {
        assert_eq!(Request::new("GET", path).send(closed.address()).status, 404, "{path}");
    }
    let token = "mT7kWv8RtYc2Lk6NfHs0Xb9GpDj3Ue7A";
    let open = backend.service().set("METRICS_TOKEN", token).start();
    let send_request = |request: Request| request.send(open.address()).status;
    let metrics = || Request::new("GET", "/metrics");
    assert_eq!(send_request(metrics()), 401);
    for wrong in ["", "x", &token[1..], &format!("{token}x")] {
        assert_eq!(send_request(metrics().bearer(wrong)), 401, "{wrong:?}");
    }
    assert_eq!(send_request(Request::new("GET", &format!("/metrics?token={token}"))), 401);
    assert_eq!(send_request(metrics().cookie_header(&format!("accessToken={token}"))), 401);
    assert_eq!(send_request(metrics().bearer(&register(&open, "emily").cookie("accessToken").unwrap())), 401);
    assert_eq!(send_request(metrics().bearer(token)), 200);
}

fn metrics_parse_the_bearer_header_as_every_route_does(backend: Backend) {
    let token = "mT7kWv8RtYc2Lk6NfHs0Xb9GpDj3Ue7A";
    let service = backend.service().set("METRICS_TOKEN", token).start();
    let metrics = || Request::new("GET", "/metrics");
    let authorized = |value: &str| metrics().header("authorization", value);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(authorized(&format!("{scheme} {token}")).send(service.address()).status, 200, "{scheme}");
    }
    let refused = [
        ("no header", metrics(), 401, "token_missing", None),
        ("two headers", metrics().bearer(token).bearer(token), 400, "authorization_malformed", Some("invalid_request")),
        (
            "two tokens",
            authorized(&format!("Bearer {token} x")),
            400,
            "authorization_malformed",
            Some("invalid_request"),
        ),
        (
            "two spaces",
            authorized(&format!("Bearer  {token}")),
            400,
            "authorization_malformed",
            Some("invalid_request"),
        ),
        ("another scheme", authorized(&format!("Basic {token}")), 401, "token_invalid", Some("invalid_token")),
        ("no scheme", authorized(token), 401, "token_invalid", Some("invalid_token")),
    ];
    for (case, request, status, code, error) in refused {
        let response = request.send(service.address());
        assert_eq!((response.status, response.json()["code"].as_str()), (status, Some(code)), "{case}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{case}");
        let parameter = error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
        let challenge = format!("Bearer realm=\"doorward\"{parameter}");
        assert_eq!(response.header("www-authenticate"), Some(challenge.as_str()), "{case}");
    }
    let posted = Request::new("POST", "/metrics").send(service.address());
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
}
