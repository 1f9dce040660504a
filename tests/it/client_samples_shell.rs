//! The documented shell client of source 003, unchanged but for the base URL, against the real binary.

use std::process::Command;

use crate::support::process::{Node, WorkDir, search_path};

const BASE: &str = "http://127.0.0.1:9154";

const LOGIN: &str = r#"headers=$(curl -i -X POST http://127.0.0.1:9154/auth/login \
-H 'Content-Type: application/json' \
-d '{
"name": "cooluser1",
"pin": "0000"
}')

access_token=$(echo "$headers" | grep -o 'accessToken=[^;]*' | cut -s -d= -f2)
refresh_token=$(echo "$headers" | grep -o 'refreshToken=[^;]*' | cut -s -d= -f2)

export ACCESS_TOKEN="$access_token"
export REFRESH_TOKEN="$refresh_token""#;

const REFRESH: &str = r#"curl -v -X POST http://127.0.0.1:9154/auth/refresh \
-H "Cookie: accessToken=$ACCESS_TOKEN" \
-H "Cookie: refreshToken=$REFRESH_TOKEN""#;

const LOGOUT: &str = r#"curl -X POST http://127.0.0.1:9154/auth/logout \
-H "Cookie: accessToken=$ACCESS_TOKEN" \
-H "Cookie: refreshToken=$REFRESH_TOKEN""#;

const MINUTE: &str = "60";
const THIRTY_DAYS: &str = "2592000";

/// The client's output: bodies, and headers where its own flags show them.
struct Seen {
    login: String,
    tokens: Vec<String>,
    refreshed: (String, String),
    logged_out: String,
    refused: (String, String),
}

fn follow(node: &Node, workdir: &WorkDir, mount: &str) -> Seen {
    let script = format!(
        "{LOGIN}\nprintf '%s' \"$headers\" >login\nprintf '%s\\n' \"$ACCESS_TOKEN\" \"$REFRESH_TOKEN\" >tokens\n\
         {REFRESH} >refresh.body 2>refresh.trace\n{LOGOUT} >logout.body\n{REFRESH} >again.body 2>again.trace\n"
    );
    let shell = if is_there("bash") { "bash" } else { "sh" };
    assert!(is_there("curl"), "This test runs the source's own client: install curl, `apt-get install curl`.");
    let ran = Command::new(shell)
        .args(["-c", &script.replace(BASE, &format!("http://{}{mount}", node.address()))])
        .current_dir(workdir.path())
        .env_clear()
        .envs([("PATH", search_path()), ("NO_PROXY", "*".to_owned())])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let read = |name: &str| std::fs::read_to_string(workdir.file(name)).unwrap().replace("\r\n", "\n");
    Seen {
        login: read("login"),
        tokens: read("tokens").lines().map(ToOwned::to_owned).collect(),
        refreshed: (read("refresh.body"), read("refresh.trace")),
        logged_out: read("logout.body"),
        refused: (read("again.body"), read("again.trace")),
    }
}

/// The status in curl's trace. Its progress meter, on the same stream, may stand before the status line.
fn status_in(trace: &str) -> &str {
    let status = trace.split("< HTTP/1.1 ").nth(1).unwrap_or_else(|| panic!("no answer: {trace}"));
    status.split(' ').next().unwrap()
}

fn is_there(tool: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().is_ok_and(|found| found.status.success())
}

/// The attributes of a cookie in headers as curl shows them.
fn cookie(headers: &str, name: &str) -> Vec<String> {
    let lines = headers.lines().map(|line| line.trim_start_matches("< "));
    let mut set = lines.filter_map(|line| {
        let (header, value) = line.split_once(": ")?;
        (header.eq_ignore_ascii_case("set-cookie") && value.starts_with(&format!("{name}="))).then_some(value)
    });
    let line = set.next().unwrap_or_else(|| panic!("no {name}: {headers}"));
    assert_eq!(set.next(), None, "one line a cookie: {headers}");
    line.split(';').map(|part| part.trim().to_owned()).collect()
}

fn assert_cookie(headers: &str, name: &str, max_age: &str) {
    let cookie = cookie(headers, name);
    for attribute in ["HttpOnly", "Path=/", &format!("Max-Age={max_age}")] {
        assert!(cookie.contains(&attribute.to_owned()), "{attribute}: {cookie:?}");
    }
}

fn assert_as_the_document_shows(seen: &Seen, access_lives: &str, is_in_body: bool) {
    let (head, body) = seen.login.split_once("\n\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_cookie(head, "accessToken", access_lives);
    assert_cookie(head, "refreshToken", THIRTY_DAYS);
    let login: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(login["message"], "Login successful");
    assert_eq!(seen.tokens.len(), 2, "the greps find one of each: {:?}", seen.tokens);
    assert!(seen.tokens.iter().all(|token| token.split('.').count() == 3), "{:?}", seen.tokens);

    let (body, trace) = &seen.refreshed;
    assert!(status_in(trace) == "200", "{trace}");
    let refreshed: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(refreshed["message"], "Access token refreshed successfully");
    // The contract has it there; native keeps it from scripts.
    let shown = refreshed.get("accessToken").map(|access| format!("accessToken={}", access.as_str().unwrap()));
    assert_eq!(shown, is_in_body.then(|| cookie(trace, "accessToken")[0].clone()), "{body}");
    assert_ne!(cookie(trace, "accessToken")[0], format!("accessToken={}", seen.tokens[0]), "a new one");
    assert_cookie(trace, "accessToken", access_lives);

    let logged_out: serde_json::Value = serde_json::from_str(&seen.logged_out).unwrap();
    assert_eq!(logged_out, serde_json::json!({ "message": "Logout successful" }));
    let (body, trace) = &seen.refused;
    assert!(status_in(trace) == "401", "a logged-out refresh token is refused: {trace}");
    assert!(!body.contains("accessToken\":"), "{body}");
}

#[test]
fn the_documented_shell_client_works_unchanged() {
    let workdir = WorkDir::new();
    let node = workdir.serve(&["serve", "--demo"]);
    // The default ACCESS_TTL of native.
    assert_as_the_document_shows(&follow(&node, &workdir, ""), "900", false);
}

#[test]
fn with_one_setting_the_lifetimes_are_the_documented_ones_too() {
    let workdir = WorkDir::new().set("NATIVE_ACCESS_TTL", "1m");
    let node = workdir.serve(&["serve", "--demo"]);
    assert_as_the_document_shows(&follow(&node, &workdir, ""), MINUTE, false);
}

#[test]
fn under_its_own_mount_the_document_holds_exactly() {
    let workdir = WorkDir::new();
    let node = workdir.serve(&["serve", "--demo"]);
    let seen = follow(&node, &workdir, "/pin");
    assert_as_the_document_shows(&seen, MINUTE, true);
    let (_, trace) = &seen.refreshed;
    assert!(!trace.to_lowercase().contains("set-cookie: refreshtoken="), "the refresh token stays: {trace}");
}
