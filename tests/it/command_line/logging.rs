//! Logging: one event a line, as JSON or text, without any secret.

use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::process::{Node, Place};
use crate::support::{Backend, on_both_backends};

on_both_backends!(every_log_line_is_one_json_object, no_log_contains_a_secret, each_event_is_logged_once);

const PASSWORD: &str = "canary-right-lantern-7";
const WRONG: &str = "canary-wrong-lantern-8";
const NEW: &str = "canary-new-lantern-9";
const PIN: &str = "918273645546";
/// A secret typed into the user name field by mistake.
const MISTYPED: &str = "canary-slip-lantern-1";

/// Sends every request that takes or issues a secret; returns the tokens issued.
fn use_every_secret(place: &Place, node: &Node) -> Vec<String> {
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
    place.succeed(&["account", "set-pin", "emily", "--pin-stdin"], PIN);
    let by_pin = node.post("/auth/login", &json!({ "identifier": "emily", "pin": PIN }));
    assert_eq!(by_pin.status, 200, "{}", by_pin.text());
    secrets.extend(by_pin.set_cookies().into_iter().map(|cookie| cookie.value));
    let signed_out = node.send(&posted("/auth/logout").bearer(&access));
    assert!(signed_out.status < 500, "{}", signed_out.text());
    secrets.extend([access, refresh]);
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

fn at_trace_level(backend: Backend, format: &str) -> Place {
    Place::on(backend).set("RUST_LOG", "trace").set("LOG_FORMAT", format)
}

fn stop(mut node: Node) -> (String, String) {
    node.signal("TERM");
    assert!(node.wait().success());
    (node.stdout(), node.stderr())
}

fn every_log_line_is_one_json_object(backend: Backend) {
    let place = at_trace_level(backend, "json");
    let node = place.serve(&["serve", "--demo"]);
    let forged = "x\r\n{\"level\":\"error\",\"message\":\"forged\"}\r\n";
    node.post("/auth/login", &json!({ "username": forged, "password": WRONG }));
    let agent = Request::new("POST", "/auth/login").header("User-Agent", "a\tb\u{1b}[31m\"}{\"level\":\"error\"");
    node.send(&agent.json(&json!({ "username": "emilys", "password": "emilyspass" }).to_string()));
    node.get("/%0d%0a%7b%22level%22:%22error%22%7d");
    use_every_secret(&place, &node);
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
        let place = at_trace_level(backend, format);
        let node = place.serve(&["serve", "--demo"]);
        let mut secrets = use_every_secret(&place, &node);
        secrets.extend([PASSWORD, WRONG, NEW, PIN, MISTYPED].map(ToOwned::to_owned));
        let keys = std::fs::read_to_string(place.file("doorward.keys")).unwrap();
        secrets.extend(
            keys.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').nth(2).unwrap().to_owned()),
        );
        secrets.push("$2b$".to_owned());
        let (stdout, stderr) = stop(node);
        assert!(secrets.len() > 20, "{}", secrets.len());
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
    let place = Place::on(backend).set("LOG_FORMAT", "json").set("RUST_LOG", "info");
    let node = place.serve(&[]);
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
    let (_, stderr) = stop(node);
    let events: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (answer, kind) in answers {
        let of_request = |event: &&Value| event["request"].as_str() == answer.header("X-Request-Id");
        let logged: Vec<&str> =
            events.iter().filter(of_request).map(|event| event["message"].as_str().unwrap()).collect();
        assert_eq!(logged, [kind], "{}", answer.text());
    }
    let account_named =
        events.iter().filter(|event| event["message"] == "sign_in").all(|event| event["account"] == "1");
    assert!(account_named && !stderr.contains("emily"), "accounts are told by number: {stderr}");
}

/// A sibling domain may have set one of them (cookie tossing); the log lets an operator find it.
#[test]
fn duplicate_cookies_are_logged_with_the_request_and_without_their_values() {
    let place = Place::on(Backend::Sqlite).set("LOG_FORMAT", "json").set("RUST_LOG", "info");
    let node = place.serve(&[]);
    let answer = node.send(&Request::new("GET", "/auth/me").cookie_header("accessToken=planted; accessToken=own-one"));
    assert_eq!(answer.status, 400, "{}", answer.text());
    let (_, stderr) = stop(node);
    let logged: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_request = |event: &&Value| event["request"].as_str() == answer.header("X-Request-Id");
    let logged: Vec<&str> = logged.iter().filter(of_request).map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(logged, ["duplicate_cookie"]);
    assert!(!stderr.contains("planted") && !stderr.contains("own-one"), "{stderr}");
}
