//! Threats: tests after the failures of comparable systems and the requirements of standards, as far as no other module
//! covers them. One module for each heading of docs/security.md, whose tables name the test of each promise. This file
//! holds what they share.

mod browser_cookies;
mod confirmed_sign_up;
mod csrf;
mod http;
mod identifiers;
mod passwords;
mod required_password_change;
mod sessions;
mod throttle;
mod tokens;

use doorward::testing::TestService;
use serde_json::{Value, json};

use crate::support::http::{Browser, Request, Response};
use crate::support::{PASSWORD, Tables};

/// An act of a mount, with a body that it accepts for the demo accounts. None is a GET.
struct Action {
    method: &'static str,
    path: &'static str,
    json: &'static str,
}

const fn post(path: &'static str, json: &'static str) -> Action {
    Action { method: "POST", path, json }
}

const EMILY: &str = r#"{"username":"emilys","password":"emilyspass"}"#;
const BY_EMAIL: &str = r#"{"email":"emily.johnson@x.dummyjson.com","password":"emilyspass"}"#;

/// Every act of the five dialects beside native, whose acts are tested in request_validation.rs.
const ACTIONS: [Action; 20] = [
    post("/flat/auth/login", EMILY),
    post("/flat/user/login", EMILY),
    post("/flat/users/login", EMILY),
    post("/flat/auth/refresh", ""),
    post("/flat/auth/logout", ""),
    post(
        "/store/auth/signup",
        r#"{"firstName":"A","lastName":"B","login":"newcomer","email":"n@example.com","password":"quiet-harbour-lantern"}"#,
    ),
    post("/store/auth/signin", r#"{"login":"emilys","password":"emilyspass"}"#),
    post("/store/auth/refresh?rt=x", ""),
    post("/signin/api/v1/auths/sign-in", EMILY),
    post(
        "/signin/api/v1/auths/sign-up",
        r#"{"first_name":"A","last_name":"B","email":"n@example.com","password":"quiet-harbour-lantern"}"#,
    ),
    post("/signin/api/v1/auths/refresh", r#"{"refreshToken":"x"}"#),
    post("/signin/api/v1/auths/sign-out", r#"{"refreshToken":"x"}"#),
    post("/pin/auth/login", r#"{"name":"cooluser1","pin":"0000"}"#),
    post("/pin/auth/refresh", ""),
    post("/pin/auth/logout", ""),
    post("/envelope/auth/register", r#"{"email":"n@example.com","password":"Quiet-harbour-7"}"#),
    post("/envelope/auth/login", BY_EMAIL),
    post("/envelope/auth/refresh-token", r#"{"refreshToken":"x"}"#),
    post("/envelope/auth/logout-all", ""),
    post("/envelope/auth/change-password", r#"{"oldPassword":"emilyspass","newPassword":"Quiet-harbour-7"}"#),
];

/// The route of each mount that returns the current user.
const CHECKS: [&str; 8] = [
    "/auth/me",
    "/auth/sessions",
    "/flat/auth/me",
    "/flat/user/me",
    "/flat/users/me",
    "/store/user",
    "/pin/users/me",
    "/envelope/auth/me",
];

impl Action {
    fn request(&self) -> Request {
        let request = Request::new(self.method, self.path);
        if self.json.is_empty() { request } else { request.json(self.json) }
    }
}

/// A browser in which emilys is signed in, on a demo.
fn emily(service: &TestService) -> Browser {
    let mut browser = Browser::new(service.address());
    let answer = browser.post("/auth/login", EMILY);
    assert_eq!(answer.status, 200, "{}", answer.text());
    browser
}

/// The `Cookie` header of her two tokens.
fn cookies_of(browser: &Browser) -> String {
    let cookie = |name: &str| format!("{name}={}", browser.cookie(name).unwrap());
    format!("{}; {}", cookie("accessToken"), cookie("refreshToken"))
}

/// The state that an act would change, and whether emilys can still sign in.
fn state(service: &TestService, tables: &Tables) -> [i64; 4] {
    [
        "SELECT count(*) FROM accounts",
        "SELECT count(*) FROM sessions",
        "SELECT coalesce(sum(generation), 0) FROM sessions",
        "SELECT count(*) FROM revocations",
    ]
    .map(|query| tables.number(service, query))
}

fn sign_in_with(service: &TestService, username: &str, password: &str) -> Response {
    let body = json!({ "username": username, "password": password }).to_string();
    Request::new("POST", "/auth/login").json(&body).send(service.address())
}

/// A metric of the service under test.
fn metric(service: &TestService, name: &str) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    line.trim().parse().unwrap()
}

/// The answer without the values that are new in every answer.
fn bare(answer: &Response) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.json();
    body["requestId"] = Value::Null;
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.to_lowercase().as_str()));
    headers.sort_unstable();
    (answer.status, headers, body)
}

/// Another service on the same database, with keys of its own.
fn beside(first: &TestService, tables: &Tables) -> doorward::testing::Builder {
    let database = match tables {
        Tables::Sqlite => format!("sqlite://{}", first.folder().join("doorward.db").display()),
        Tables::Postgres(url) => url.clone(),
    };
    let keys = first.folder().join("doorward.keys").display().to_string();
    TestService::builder().set("DATABASE_URL", database).set("KEYS_FILE", keys)
}

/// The answer of a registration.
fn register_with(service: &TestService, username: &str, password: &str) -> Response {
    let body = json!({ "username": username, "password": password }).to_string();
    Request::new("POST", "/auth/register").json(&body).send(service.address())
}

/// An account with the usual password.
fn registered(service: &TestService, username: &str) {
    assert_eq!(register_with(service, username, PASSWORD).status, 201);
}
