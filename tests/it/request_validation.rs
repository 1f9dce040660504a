//! Request validation: whatever a client sends, the answer is a documented problem, never a 5xx, and no row changes.
//! One module for each kind of input; this file holds what they share.

mod bodies;
mod csrf_and_cors;
mod forms;
mod routing;
mod security_headers;
mod text_fields;

use std::net::SocketAddr;

use doorward::core::AccountId;
use doorward::testing::{Builder, TestService};
use serde_json::{Value, json};

use crate::support::confirmed_sign_up::settings;
use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, code, register, sessions_of};

/// What a route requires besides its body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Optional,
    Required,
}

/// A route of the native dialect and a body that it accepts.
struct Route {
    method: &'static str,
    path: &'static str,
    body: Body,
    /// JSON of a shape that it accepts.
    json: &'static str,
}

const SESSION: &str = "/auth/sessions/0198c0de-0000-7000-8000-000000000000";

/// Exists only with confirmed sign-up.
const CONFIRM: &str = "/auth/register/confirm";

const ROUTES: [Route; 13] = [
    route("POST", "/auth/register", Body::Required, r#"{"username":"emily","password":"quiet-harbour-lantern"}"#),
    route("POST", CONFIRM, Body::Required, r#"{"token":"x","password":"quiet-harbour-lantern"}"#),
    route("POST", "/auth/login", Body::Required, r#"{"username":"nobody","password":"quiet-harbour-lantern"}"#),
    route("POST", "/auth/refresh", Body::Optional, r#"{"refreshToken":"x"}"#),
    route("POST", "/auth/logout", Body::Optional, r#"{"refreshToken":"x"}"#),
    route("POST", "/auth/logout-all", Body::Optional, r#"{"refreshToken":"x"}"#),
    route("GET", "/auth/session", Body::None, ""),
    route("GET", "/auth/me", Body::None, ""),
    route("PATCH", "/auth/me", Body::Required, r#"{"firstName":"Emily"}"#),
    route("POST", "/auth/change-password", Body::Required, r#"{"currentPassword":"x","newPassword":"y"}"#),
    route("GET", "/auth/sessions", Body::None, ""),
    route("DELETE", SESSION, Body::None, ""),
    route("PATCH", SESSION, Body::Required, r#"{"deviceName":"Desk"}"#),
];

const fn route(method: &'static str, path: &'static str, body: Body, json: &'static str) -> Route {
    Route { method, path, body, json }
}

impl Route {
    fn request(&self) -> Request {
        Request::new(self.method, self.path)
    }

    /// Whether it requires an access token before it reads the body.
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

/// A service on which emily is signed in; and beside it one with confirmed sign-up, where a test needs every route.
struct Fixture {
    service: TestService,
    confirmed: Option<TestService>,
    access: String,
    before: Vec<String>,
}

impl Fixture {
    fn new(service: TestService) -> Self {
        let browser = register(&service, "emily");
        let access = browser.cookie("accessToken").unwrap();
        let before = rows(&service);
        Self { service, confirmed: None, access, before }
    }

    fn of_every_route(backend: Backend) -> Self {
        // No test signs up there, so the mail server is never contacted.
        let confirmed = settings(backend.service(), "smtp://127.0.0.1:9").start();
        Self { confirmed: Some(confirmed), ..Self::new(backend.service().start()) }
    }

    /// The address of the service that has the route.
    fn address_of(&self, route: &Route) -> SocketAddr {
        let confirmed = self.confirmed.as_ref().filter(|_| route.path == CONFIRM);
        confirmed.unwrap_or(&self.service).address()
    }

    fn send(&self, request: &Request) -> Response {
        request.send(self.service.address())
    }

    /// Sends a request with the credentials that the route requires, so that the rest of the request is examined.
    fn send_to(&self, route: &Route, shape: impl FnOnce(Request) -> Request) -> Response {
        let request = shape(route.request());
        let request = if route.is_protected() { request.bearer(&self.access) } else { request };
        request.send(self.address_of(route))
    }

    /// Fails unless accounts and sessions are unchanged and emily's session is live.
    fn assert_nothing_changed(&self) {
        assert_eq!(rows(&self.service), self.before);
        assert_eq!(self.confirmed.as_ref().map(rows).unwrap_or_default(), Vec::<String>::new());
        let me = self.send(&Request::new("GET", "/auth/me").bearer(&self.access));
        assert_eq!(me.status, 200, "{}", me.text());
    }
}

const OWN: &str = "https://auth.example";

/// Under an https URL, where test mode is refused: hashes have a real cost and failures count.
fn over_https(service: Builder) -> Builder {
    let service = service.set("PUBLIC_URL", OWN).set("COOKIE_PREFIX", "none");
    let service = service.set("TEST_MODE", "false").set("BCRYPT_COST", "10").set("THROTTLE_FREE_FAILURES", "50");
    service.set("THROTTLE_SIGN_UPS", "10000/1s").set("THROTTLE_REFRESHES", "10000/1s")
}

/// Every account with all its fields, and its live sessions.
fn rows(service: &TestService) -> Vec<String> {
    let accounts = service.core().list_accounts(AccountId(0), 1000).unwrap();
    let mut rows = vec![];
    for account in accounts {
        rows.push(format!("{account:?}"));
        let sessions = sessions_of(service.core(), account.uuid);
        rows.extend(sessions.into_iter().map(|session| session.id.to_string()));
    }
    rows
}

/// Status and code of a problem, and the fields that it names.
fn problem(answer: &Response) -> (u16, String, Vec<String>) {
    let code = code(answer);
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    let fields = errors.iter().map(|error| {
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        error["field"].as_str().unwrap().to_owned()
    });
    (answer.status, code, fields.collect())
}

/// Fails unless the answer is a client error in the problem shape that reveals no internals.
fn assert_refused(answer: &Response, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    code(answer);
    assert!(answer.set_cookies().is_empty(), "{what}: {:?}", answer.headers);
    // The request id is random, and contains "sql" once in some thousand answers.
    let shown = answer.text().replace(answer.header("X-Request-Id").unwrap(), "").to_lowercase();
    for inner in ["serde", "diesel", "sql", "panicked", "src/", ".rs"] {
        assert!(!shown.contains(inner), "{what}: {}", answer.text());
    }
}

/// A registration with these fields added or replaced.
fn registration(fields: &Value) -> Value {
    let mut body = json!({ "username": "newcomer", "password": PASSWORD });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}
