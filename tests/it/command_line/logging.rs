//! Logging: one event a line, as JSON or text, without any secret.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::http::{Request, exchange_raw};
use crate::support::process::{Node, PATIENCE, WorkDir, until};
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    every_log_line_is_one_json_object,
    no_log_contains_a_secret,
    each_event_is_logged_once,
    log_lines_of_malformed_requests_come_once_a_minute,
    log_lines_of_invalid_checks_come_once_a_minute_and_reason,
);

const PASSWORD: &str = "canary-right-lantern-7";
const WRONG: &str = "canary-wrong-lantern-8";
const NEW: &str = "canary-new-lantern-9";
const PIN: &str = "918273645546";
/// A secret typed into the user name field by mistake.
const MISTYPED: &str = "canary-slip-lantern-1";

/// Sends every request that takes or issues a secret; returns the tokens issued.
fn use_every_secret(workdir: &WorkDir, node: &Node) -> Vec<String> {
    let account = json!({ "username": "emily", "password": PASSWORD });
    let registered = node.post("/auth/register", &account);
    assert_eq!(registered.status, 201, "{}", registered.text());
    let mut secrets: Vec<String> = registered.set_cookies().into_iter().map(|cookie| cookie.value).collect();
    let jar = format!("accessToken={}; refreshToken={}", secrets[0], secrets[1]);
    let (access, refresh) = node.sign_in("emily", PASSWORD);
    let change = json!({ "currentPassword": PASSWORD, "newPassword": NEW }).to_string();
    let wrong_change = json!({ "currentPassword": WRONG, "newPassword": NEW }).to_string();
    let posted = |path: &str| Request::new("POST", path);
    for (request, expected) in [
        (posted("/auth/login").json(&json!({ "username": "emily", "password": WRONG }).to_string()), 401),
        (posted("/auth/login").json(&json!({ "identifier": MISTYPED, "password": WRONG }).to_string()), 401),
        (posted("/auth/login").json(&format!("{{\"password\":\"{WRONG}\"")), 400),
        (posted("/auth/login").json(&json!({ "username": "emily", "password": [WRONG] }).to_string()), 422),
        (posted("/auth/register").json(&json!({ "username": "bob", "password": PASSWORD, PIN: 1 }).to_string()), 422),
        (Request::new("GET", "/auth/me").cookie_header(&jar), 200),
        (Request::new("GET", "/auth/me").bearer(&access), 200),
        (Request::new("GET", "/auth/me").bearer(&format!("{access}x")), 401),
        (Request::new("GET", &format!("/auth/me?accessToken={access}")), 401),
        (Request::new("GET", "/auth/me").header("Authorization", format!("Basic {MISTYPED}")), 401),
        (posted("/auth/refresh").cookie_header(&jar), 200),
        (posted("/auth/refresh").json(&json!({ "refreshToken": refresh }).to_string()), 200),
        (posted("/auth/change-password").bearer(&access).json(&wrong_change), 403),
        (posted("/auth/change-password").bearer(&access).json(&change), 200),
        (posted(&format!("/auth/login?password={WRONG}")).json("{}"), 422),
        (Request::new("GET", &format!("/auth/login?token={access}")), 405),
    ] {
        let answer = node.send(&request);
        assert_eq!(answer.status, expected, "{request:?}: {}", answer.text());
        secrets.extend(answer.set_cookies().into_iter().map(|cookie| cookie.value));
        if let (200, Ok(body)) = (answer.status, serde_json::from_slice::<Value>(&answer.body)) {
            secrets.extend(
                ["accessToken", "refreshToken"].iter().filter_map(|name| Some(body[name].as_str()?.to_owned())),
            );
        }
    }
    workdir.succeed(&["account", "set-pin", "emily", "--pin-stdin"], PIN);
    let by_pin = node.post("/auth/login", &json!({ "identifier": "emily", "pin": PIN }));
    assert_eq!(by_pin.status, 200, "{}", by_pin.text());
    secrets.extend(by_pin.set_cookies().into_iter().map(|cookie| cookie.value));
    let signed_out = node.send(&posted("/auth/logout").bearer(&access));
    assert!(signed_out.status < 500, "{}", signed_out.text());
    secrets.extend([access, refresh]);
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

fn at_trace_level(backend: Backend, format: &str) -> WorkDir {
    WorkDir::on(backend).set("RUST_LOG", "trace").set("LOG_FORMAT", format)
}

fn stop(mut node: Node) -> (String, String) {
    node.signal("TERM");
    assert!(node.wait().success());
    (node.stdout(), node.stderr())
}

fn every_log_line_is_one_json_object(backend: Backend) {
    let workdir = at_trace_level(backend, "json");
    let node = workdir.serve(&["serve", "--demo"]);
    let forged = "x\r\n{\"level\":\"error\",\"message\":\"forged\"}\r\n";
    node.post("/auth/login", &json!({ "username": forged, "password": WRONG }));
    let agent = Request::new("POST", "/auth/login").header("User-Agent", "a\tb\u{1b}[31m\"}{\"level\":\"error\"");
    node.send(&agent.json(&json!({ "username": "emilys", "password": "emilyspass" }).to_string()));
    node.get("/%0d%0a%7b%22level%22:%22error%22%7d");
    use_every_secret(&workdir, &node);
    let (stdout, stderr) = stop(node);
    assert!(stderr.lines().count() > 20, "trace says something");
    for line in stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        for key in ["time", "level", "target", "message"] {
            assert!(event[key].is_string(), "{key}: {line}");
        }
        let time = event["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
        assert!(["error", "warn", "info", "debug", "trace"].contains(&event["level"].as_str().unwrap()), "{line}");
        assert_ne!(event["message"], "forged", "{line}");
        // A library may log an unparsable request as an error; our code logs none.
        let ours = event["target"].as_str().unwrap().starts_with("doorward");
        assert!(!ours || event["level"] != "error", "nothing broke: {line}");
    }
    assert!(stdout.lines().all(|line| !line.starts_with('{')), "the greeting is for people: {stdout}");
}

fn no_log_contains_a_secret(backend: Backend) {
    for format in ["json", "text"] {
        let workdir = at_trace_level(backend, format);
        let node = workdir.serve(&["serve", "--demo"]);
        let mut secrets = use_every_secret(&workdir, &node);
        secrets.extend([PASSWORD, WRONG, NEW, PIN, MISTYPED].map(ToOwned::to_owned));
        let keys = std::fs::read_to_string(workdir.file("doorward.keys")).unwrap();
        secrets.extend(
            keys.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').nth(2).unwrap().to_owned()),
        );
        secrets.push("$2b$".to_owned());
        let (stdout, stderr) = stop(node);
        assert!(secrets.len() >= 20, "{}", secrets.len());
        for secret in secrets {
            // A token's signature or payload alone would be a leak.
            let parts = secret
                .split('.')
                .filter(|part| part.len() > 3 || secret.len() < 5)
                .skip(usize::from(secret.contains('.')));
            for part in parts {
                for (name, text) in [("stdout", &stdout), ("stderr", &stderr)] {
                    let line = text.lines().find(|line| line.contains(part));
                    assert_eq!(line, None, "{part:?} is in {name} ({format})");
                }
            }
        }
    }
}

fn each_event_is_logged_once(backend: Backend) {
    let workdir = WorkDir::on(backend).set("LOG_FORMAT", "json").set("RUST_LOG", "info");
    let node = workdir.serve(&[]);
    let account = json!({ "username": "emily", "password": PASSWORD });
    let registered = node.post("/auth/register", &account);
    let login = node.post("/auth/login", &account);
    let refused = node.post("/auth/login", &json!({ "username": "emily", "password": WRONG }));
    let refused_nobody = node.post("/auth/login", &json!({ "username": "nobody", "password": WRONG }));
    let jar = login.set_cookies().iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect::<Vec<_>>();
    let logout = node.send(&Request::new("POST", "/auth/logout").cookie_header(&jar.join("; ")));
    let answers = [
        (registered, "sign_up"),
        (login, "sign_in"),
        (refused, "sign_in_refused"),
        (refused_nobody, "sign_in_refused"),
        (logout, "sign_out"),
    ];
    let events = events_of(node);
    for (answer, kind) in answers {
        let of_request = |event: &&Value| event["request"].as_str() == answer.header("X-Request-Id");
        let logged: Vec<&str> =
            events.iter().filter(of_request).map(|event| event["message"].as_str().unwrap()).collect();
        assert_eq!(logged, [kind], "{}", answer.text());
    }
    let account_named =
        events.iter().filter(|event| event["message"] == "sign_in").all(|event| event["account"] == "1");
    let names_nobody = events.iter().all(|event| !event.to_string().contains("emily"));
    assert!(account_named && names_nobody, "accounts are logged by number: {events:?}");
}

/// A sibling domain may have set one of them (cookie tossing); the log lets an operator find it.
#[test]
fn duplicate_cookies_are_logged_with_the_request_and_without_their_values() {
    let workdir = WorkDir::on(Backend::Sqlite).set("LOG_FORMAT", "json").set("RUST_LOG", "info");
    let node = workdir.serve(&[]);
    let answer = node.send(&Request::new("GET", "/auth/me").cookie_header("accessToken=planted; accessToken=own-one"));
    assert_eq!(answer.status, 400, "{}", answer.text());
    let (_, stderr) = stop(node);
    let logged: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_request = |event: &&Value| event["request"].as_str() == answer.header("X-Request-Id");
    let logged: Vec<&str> = logged.iter().filter(of_request).map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(logged, ["duplicate_cookie"]);
    assert!(!stderr.contains("planted") && !stderr.contains("own-one"), "{stderr}");
}

/// Stops the node; the lines of its log.
fn events_of(node: Node) -> Vec<Value> {
    stop(node).1.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

fn severe_of(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["level"] == "warn" || event["level"] == "error").collect()
}

/// Requests of each kind: more than the minutes that the test may take.
const REQUESTS: usize = 25;

/// What strangers send: each is refused by the HTTP library, before any of our handlers.
const MALFORMED: [&[u8]; 9] = [
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
    b"hello\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
];

fn log_lines_of_malformed_requests_come_once_a_minute(backend: Backend) {
    let token = "a-token-for-the-counters";
    let workdir = WorkDir::on(backend).set("LOG_FORMAT", "json").set("METRICS_TOKEN", token);
    let node = workdir.serve(&[]);
    let of_framework = |bytes: &[u8]| bytes.to_vec();
    let chunks = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec();
    let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "h".repeat(200_000)).into_bytes();
    let kinds: Vec<Vec<u8>> = MALFORMED.map(of_framework).into_iter().chain([chunks, head]).collect();
    for bytes in kinds.iter().cycle().take(kinds.len() * REQUESTS) {
        let answer = String::from_utf8(exchange_raw(node.address(), bytes)).unwrap();
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{}: {answer}", String::from_utf8_lossy(bytes));
    }
    // Where the client is gone before the answer, nothing is reported: a head that the server does not read to its end.
    let least = (MALFORMED.len() * REQUESTS) as u64;
    let counted = until(PATIENCE, "the count of malformed requests", || {
        let text = node.send(&Request::new("GET", "/metrics").bearer(token)).text();
        let count = text.lines().find_map(|line| line.strip_prefix("doorward_malformed_requests_total "))?;
        Some(count.parse::<u64>().unwrap()).filter(|count| *count >= least)
    });
    assert!(counted <= (kinds.len() * REQUESTS) as u64, "{counted}");
    let events = events_of(node);
    let severe: Vec<&Value> = severe_of(&events);
    assert!((1..REQUESTS).contains(&severe.len()), "{} lines: {severe:?}", severe.len());
    for event in severe {
        assert_eq!(event["message"], "requests that are not valid HTTP/1.1 were refused", "{event}");
        let (requests, cause) = (event["requests"].as_str().unwrap(), event["cause"].as_str().unwrap());
        assert!((1..=counted).contains(&requests.parse().unwrap()) && !cause.is_empty(), "{event}");
    }
}

fn log_lines_of_invalid_checks_come_once_a_minute_and_reason(backend: Backend) {
    let workdir = WorkDir::on(backend).set("LOG_FORMAT", "json").set("TRUSTED_PROXIES", "127.0.0.1");
    let node = workdir.serve(&["serve", "--demo"]);
    let navigation = || Request::new("GET", "/auth/forward").header("Accept", "text/html");
    let kinds = [
        Request::new("GET", "/auth/verify").header("Remote_User", "emilys"),
        Request::new("GET", "/auth/verify?permision=read"),
        Request::new("GET", "/auth/forward?role="),
        navigation().header("X-Forwarded-Method", "GET").header("X-Forwarded-Method", "GET"),
        navigation().header("X-Forwarded-Method", "G\u{e9}T"),
    ];
    let mut last = vec![];
    for _ in 0..REQUESTS {
        last = kinds.iter().map(|request| node.send(request)).collect();
        let statuses: Vec<u16> = last.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [403; 5]);
    }
    assert_ne!(last[0].json()["detail"], last[1].json()["detail"]);
    let reasons: BTreeSet<String> =
        last.iter().map(|answer| answer.json()["detail"].as_str().unwrap().to_owned()).collect();
    let events = events_of(node);
    let severe: Vec<&Value> = severe_of(&events);
    assert!((reasons.len()..REQUESTS).contains(&severe.len()), "{} lines: {severe:?}", severe.len());
    for event in &severe {
        assert_eq!(event["message"], "checks were denied because of their headers or query", "{event}");
        assert!(event["checks"].as_str().unwrap().parse::<u64>().unwrap() > 0, "{event}");
    }
    for detail in reasons {
        let is_logged = severe.iter().any(|event| detail.starts_with(event["reason"].as_str().unwrap()));
        assert!(is_logged, "{detail} is in no line: {severe:?}");
    }
}
