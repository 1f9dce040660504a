//! Whatever a client sends: a documented answer in the problem shape, never a 5xx, and rows as they were before.
//! One file a kind of hostility; here is what they share.

mod bodies;
mod csrf_and_cors;
mod routing;
mod security_headers;
mod text_fields;

use std::net::SocketAddr;

use doorward::core::AccountId;
use doorward::testing::{Builder, TestService};
use serde_json::{Value, json};

use crate::support::confirmed_sign_up::settings;
use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, code, register};

/// Where a route's body stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Optional,
    Required,
}

/// A route of native, with a body that it takes.
struct Route {
    method: &'static str,
    path: &'static str,
    body: Body,
    /// JSON of a shape that it takes.
    json: &'static str,
}

const SESSION: &str = "/auth/sessions/0198c0de-0000-7000-8000-000000000000";

/// Only a service that tells of sign-ups by mail has it.
const CONFIRM: &str = "/auth/register/confirm";

const ROUTES: [Route; 11] = [
    route("POST", "/auth/register", Body::Required, r#"{"username":"emily","password":"quiet-harbour-lantern"}"#),
    route("POST", CONFIRM, Body::Required, r#"{"token":"x","password":"quiet-harbour-lantern"}"#),
    route("POST", "/auth/login", Body::Required, r#"{"username":"nobody","password":"quiet-harbour-lantern"}"#),
    route("POST", "/auth/refresh", Body::Optional, r#"{"refreshToken":"x"}"#),
    route("POST", "/auth/logout", Body::Optional, r#"{"refreshToken":"x"}"#),
    route("POST", "/auth/logout-all", Body::Optional, r#"{"refreshToken":"x"}"#),
    route("GET", "/auth/me", Body::None, ""),
    route("PATCH", "/auth/me", Body::Required, r#"{"firstName":"Emily"}"#),
    route("POST", "/auth/change-password", Body::Required, r#"{"currentPassword":"x","newPassword":"y"}"#),
    route("GET", "/auth/sessions", Body::None, ""),
    route("DELETE", SESSION, Body::None, ""),
];

const fn route(method: &'static str, path: &'static str, body: Body, json: &'static str) -> Route {
    Route { method, path, body, json }
}

impl Route {
    fn request(&self) -> Request {
        Request::new(self.method, self.path)
    }

    /// Whether it asks for an access token before it looks at the body.
    fn is_protected(&self) -> bool {
        ["/auth/me", "/auth/change-password", "/auth/sessions", SESSION].contains(&self.path)
    }

    fn changes_state(&self) -> bool {
        self.method != "GET"
    }
}

fn routes_with_a_body() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| route.body != Body::None)
}

/// A service with emily, who is signed in; and beside it one that tells of sign-ups by mail, where a test asks every route.
struct House {
    service: TestService,
    silent: Option<TestService>,
    access: String,
    before: Vec<String>,
}

impl House {
    fn new(service: TestService) -> Self {
        let browser = register(&service, "emily");
        let access = browser.cookie("accessToken").unwrap();
        let before = rows(&service);
        Self { service, silent: None, access, before }
    }

    fn of_every_route(backend: Backend) -> Self {
        // Nobody signs up there, so that no mail asks for a server.
        let silent = settings(backend.service(), "smtp://127.0.0.1:9").start();
        Self { silent: Some(silent), ..Self::new(backend.service().start()) }
    }

    /// Where the service listens that has the route.
    fn address_of(&self, route: &Route) -> SocketAddr {
        let silent = self.silent.as_ref().filter(|_| route.path == CONFIRM);
        silent.unwrap_or(&self.service).address()
    }

    fn send(&self, request: &Request) -> Response {
        request.send(self.service.address())
    }

    /// Sends to a route with whatever credentials it asks for first, so that the rest of the request is looked at.
    fn send_to(&self, route: &Route, shape: impl FnOnce(Request) -> Request) -> Response {
        let request = shape(route.request());
        let request = if route.is_protected() { request.bearer(&self.access) } else { request };
        request.send(self.address_of(route))
    }

    /// Accounts and sessions are as they were, and emily's session lives.
    fn assert_nothing_changed(&self) {
        assert_eq!(rows(&self.service), self.before);
        assert_eq!(self.silent.as_ref().map(rows).unwrap_or_default(), Vec::<String>::new());
        let me = self.send(&Request::new("GET", "/auth/me").bearer(&self.access));
        assert_eq!(me.status, 200, "{}", me.text());
    }
}

const OWN: &str = "https://auth.example";

/// Under an https URL, where nothing that is only for tests is allowed: hashes take their time, failures count.
fn over_https(service: Builder) -> Builder {
    let service = service.set("PUBLIC_URL", OWN).set("COOKIE_PREFIX", "none");
    let service = service.set("TEST_MODE", "false").set("BCRYPT_COST", "10").set("THROTTLE_FREE_FAILURES", "50");
    service.set("THROTTLE_SIGN_UPS", "10000/1s").set("THROTTLE_REFRESHES", "10000/1s")
}

/// Every account with all that it holds, and its live sessions.
fn rows(service: &TestService) -> Vec<String> {
    let accounts = service.core().list_accounts(AccountId(0), 1000).unwrap();
    let mut rows = vec![];
    for account in accounts {
        rows.push(format!("{account:?}"));
        let sessions = service.core().list_sessions(account.id).unwrap();
        rows.extend(sessions.into_iter().map(|session| session.id.to_string()));
    }
    rows
}

/// Status and code of a problem, and the fields it names.
fn problem(answer: &Response) -> (u16, String, Vec<String>) {
    let code = code(answer);
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    let fields = errors.iter().map(|error| {
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        error["field"].as_str().unwrap().to_owned()
    });
    (answer.status, code, fields.collect())
}

/// A refusal of the client's making, in the problem shape, with nothing of ours in it.
fn assert_refused(answer: &Response, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    code(answer);
    assert!(answer.set_cookies().is_empty(), "{what}: {:?}", answer.headers);
    // The request's id is of random letters, and spells "sql" once in some thousand answers.
    let said = answer.text().replace(answer.header("X-Request-Id").unwrap(), "").to_lowercase();
    for inner in ["serde", "diesel", "sql", "panicked", "src/", ".rs"] {
        assert!(!said.contains(inner), "{what}: {}", answer.text());
    }
}

/// A registration with these fields over those that it needs.
fn registration(fields: &Value) -> Value {
    let mut body = json!({ "username": "newcomer", "password": PASSWORD });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}
