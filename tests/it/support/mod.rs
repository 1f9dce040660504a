//! Test support: the backends, the macros that make tests of them, and shorthands that most tests use.

pub mod child_server;
pub mod confirmed_sign_up;
pub mod http;
pub mod postgres;
pub mod process;
pub mod project;
pub mod rng;
pub mod secret_scanner;
pub mod smtp;
pub mod tcp_proxy;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use doorward::testing::{Builder, TestService};
use http::{Browser, Request, Response};
use serde_json::json;

/// A password that satisfies the policy and is on no list of common ones.
pub const PASSWORD: &str = "quiet-harbour-lantern";

/// The database that a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// A service on this backend, not yet started.
    pub fn service(self) -> Builder {
        match self {
            Self::Sqlite => TestService::builder(),
            Self::Postgres => TestService::builder().set("DATABASE_URL", postgres::new_database()),
        }
    }
}

/// Whether this is the long job, `./scripts/soak`, in which alone times are asserted.
pub fn is_soak() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the test suite's own setting")]
    let soak = std::env::var("DOORWARD_SOAK");
    soak.is_ok_and(|value| value == "1")
}

/// The live sessions of an account, newest first.
pub fn sessions_of(
    core: &doorward::core::Core,
    account: doorward::core::AccountUuid,
) -> Vec<doorward::core::session::Session> {
    core.list_sessions(account, None, 1000).unwrap().sessions
}

/// Prints a measured figure, also when the test passes.
pub fn print_figure(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "figure: {text}");
}

/// A number that the environment may set in the long job.
pub fn soak_number(name: &str, otherwise: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "the test suite's own setting")]
    let given = std::env::var(name).ok().filter(|_| is_soak());
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|why| panic!("{name}={text}: {why}")))
}

/// Makes a module of tests of one backend. Where `DOORWARD_TEST_BACKENDS` leaves the backend out, for which build.rs
/// sets `cfg(without_…)`, they are `ignored`: a test that returned early would be counted as passed.
macro_rules! tests_on {
    ($module:ident, sqlite, $run:expr, $($name:ident),+) => {
        mod $module {
            $(
                #[test]
                #[cfg_attr(without_sqlite, ignore = "DOORWARD_TEST_BACKENDS leaves SQLite out")]
                fn $name() { $run(crate::support::Backend::Sqlite, super::$name); }
            )+
        }
    };
    ($module:ident, postgres, $run:expr, $($name:ident),+) => {
        mod $module {
            $(
                #[test]
                #[cfg_attr(without_postgres, ignore = "DOORWARD_TEST_BACKENDS leaves PostgreSQL out")]
                fn $name() { $run(crate::support::Backend::Postgres, super::$name); }
            )+
        }
    };
}
pub(crate) use tests_on;

/// Makes each named function a test on each backend: `fn(Backend)`. A function that is not named is dead code, which
/// the compiler reports.
macro_rules! on_both_backends {
    ($($name:ident),+ $(,)?) => {
        crate::support::tests_on!(sqlite, sqlite, crate::support::run_on, $($name),+);
        crate::support::tests_on!(postgres, postgres, crate::support::run_on, $($name),+);
    };
}
pub(crate) use on_both_backends;

/// Makes each named function a test on SQLite alone: `fn()`.
macro_rules! on_sqlite {
    ($($name:ident),+ $(,)?) => {
        crate::support::tests_on!(on_sqlite, sqlite, crate::support::run_on_one, $($name),+);
    };
}
pub(crate) use on_sqlite;

/// Makes each named function a test on PostgreSQL alone: `fn()`, for what requires several nodes or a server of its
/// own.
macro_rules! on_postgres {
    ($($name:ident),+ $(,)?) => {
        crate::support::tests_on!(on_postgres, postgres, crate::support::run_on_one, $($name),+);
    };
}
pub(crate) use on_postgres;

/// Runs a test on a backend, then searches the log and the rows for secrets.
pub fn run_on(backend: Backend, test: fn(Backend)) {
    run(backend, || test(backend));
}

/// Like `run_on`, for a test of this backend alone.
pub fn run_on_one(backend: Backend, test: fn()) {
    run(backend, test);
}

fn run(backend: Backend, test: impl FnOnce()) {
    let running = secret_scanner::log_capture::begin();
    test();
    secret_scanner::assert_none_in_text("the log of this process", &running.text());
    if backend == Backend::Postgres && !is_soak() {
        secret_scanner::assert_none_in_rows("a database", &secret_scanner::with_bytes(&postgres::rows_of_the_test()));
    }
}

/// Registers an account; the browser that is signed in to it.
pub fn register(service: &TestService, username: &str) -> Browser {
    let mut browser = Browser::new(service.address());
    let body = json!({ "username": username, "password": PASSWORD }).to_string();
    let answer = browser.post("/auth/register", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    browser
}

/// Signs in from another browser.
pub fn sign_in(service: &TestService, username: &str) -> Browser {
    let mut browser = Browser::new(service.address());
    let body = json!({ "username": username, "password": PASSWORD }).to_string();
    let answer = browser.post("/auth/login", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    browser
}

/// The problem's code, after validating its shape (RFC 9457).
pub fn code(answer: &Response) -> String {
    let problem = answer.json();
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{problem}");
    assert_eq!(problem["status"], answer.status, "{problem}");
    assert_eq!(problem["requestId"].as_str(), answer.header("x-request-id"), "{problem}");
    let code = problem["code"].as_str().unwrap_or_else(|| panic!("no code in {problem}")).to_owned();
    assert_eq!(problem["type"], format!("urn:doorward:problem:{code}"));
    code
}

/// Refreshes with this refresh token in the cookie.
pub fn refresh_with(service: &TestService, token: &str) -> Response {
    let request = Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={token}"));
    request.send(service.address())
}

/// Whether an access token is accepted.
pub fn is_accepted(service: &TestService, access: &str) -> bool {
    let answer = Request::new("GET", "/auth/me").bearer(access).send(service.address());
    assert!([200, 401].contains(&answer.status), "{}", answer.text());
    answer.status == 200
}

/// Just longer than a generation is kept after its first use, with the default `REFRESH_GRACE`.
pub const SETTLED: Duration = Duration::from_millis(60_001);

/// The next generation: the tokens are used, and refreshed once they are old enough.
pub fn rotated(service: &TestService, tokens: &Tokens) -> Tokens {
    assert!(is_accepted(service, &tokens.access), "the access token is refused");
    service.advance(SETTLED);
    Tokens::set_by(&refresh_with(service, &tokens.refresh))
}

/// Runs `task` concurrently on this many threads; the results.
pub fn race<T: Send + 'static>(threads: usize, task: impl Fn(usize) -> T + Send + Sync + 'static) -> Vec<T> {
    let (task, start) = (Arc::new(task), Arc::new(Barrier::new(threads)));
    let run = |number: usize| {
        let (task, start) = (Arc::clone(&task), Arc::clone(&start));
        std::thread::spawn(move || {
            start.wait();
            task(number)
        })
    };
    let running: Vec<_> = (0..threads).map(run).collect();
    running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panic!("a racing thread panicked"))).collect()
}

/// Access token and refresh token of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    /// The tokens in a browser's cookie jar.
    pub fn in_jar_of(browser: &Browser) -> Self {
        let cookie = |name: &str| browser.cookie(name).unwrap_or_else(|| panic!("the browser holds no {name}"));
        Self { access: cookie("accessToken"), refresh: cookie("refreshToken") }
    }

    /// The tokens that an answer sets as cookies.
    pub fn set_by(answer: &Response) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookies = answer.set_cookies();
        let set = |name: &str| cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.clone());
        let set = |name: &str| set(name).unwrap_or_else(|| panic!("no {name} is set"));
        Self { access: set("accessToken"), refresh: set("refreshToken") }
    }

    /// The tokens that a browser holds after a refresh with this refresh token, which may be answered without another one.
    pub fn after_refresh(answer: &Response, presented: &str) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookies = answer.set_cookies();
        let set = |name: &str| cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.clone());
        Self {
            access: set("accessToken").unwrap_or_else(|| panic!("no accessToken is set")),
            refresh: set("refreshToken").unwrap_or_else(|| presented.to_owned()),
        }
    }

    /// Fails unless both tokens are refused.
    pub fn assert_invalid(&self, service: &TestService) {
        assert!(!is_accepted(service, &self.access), "the access token is accepted");
        let refused = refresh_with(service, &self.refresh);
        assert_eq!(refused.status, 401, "the refresh token is accepted: {}", refused.text());
    }

    /// Fails unless the access token is accepted and the refresh token gives tokens, which it returns.
    pub fn assert_valid(&self, service: &TestService) -> Self {
        assert!(is_accepted(service, &self.access), "the access token is refused");
        Self::after_refresh(&refresh_with(service, &self.refresh), &self.refresh)
    }
}

/// Header and claims of a JWT, without verification.
pub fn decode_jwt(token: &str) -> (serde_json::Value, serde_json::Value) {
    let part = |number: usize| {
        let part = token.split('.').nth(number).unwrap_or_default();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part);
        let bytes = bytes.unwrap_or_else(|why| panic!("{token}: {why}"));
        serde_json::from_slice(&bytes).unwrap_or_else(|why| panic!("{token}: {why}"))
    };
    (part(0), part(1))
}

/// The expiry of a JWT, in seconds since 1970.
pub fn expiry_of(token: &str) -> i64 {
    decode_jwt(token).1["exp"].as_i64().unwrap_or_else(|| panic!("no exp in {token}"))
}

/// Direct access to a service's tables, for what no answer shows.
pub enum Tables {
    Sqlite,
    Postgres(String),
}

impl Tables {
    /// The number that a query returns.
    pub fn number(&self, service: &TestService, query: &str) -> i64 {
        match self {
            Self::Sqlite => number_in_sqlite(service, query),
            Self::Postgres(url) => {
                let answer = postgres::psql(url, query);
                answer.parse().unwrap_or_else(|why| panic!("{query} answers {answer:?}: {why}"))
            }
        }
    }
}

fn number_in_sqlite(service: &TestService, query: &str) -> i64 {
    use diesel::{Connection, RunQueryDsl, SqliteConnection, dsl::sql, select, sql_types::BigInt};

    let file = service.folder().join("doorward.db");
    let connection = SqliteConnection::establish(&file.display().to_string());
    let mut connection = connection.unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    let answer = select(sql::<BigInt>(&format!("({query})"))).get_result(&mut connection);
    answer.unwrap_or_else(|why| panic!("{query}: {why}"))
}

impl Tables {
    /// Runs a statement that changes rows.
    pub fn run(&self, service: &TestService, statement: &str) {
        use diesel::connection::SimpleConnection;
        use diesel::{Connection, SqliteConnection};

        match self {
            Self::Sqlite => {
                let file = service.folder().join("doorward.db").display().to_string();
                let mut connection = SqliteConnection::establish(&file).unwrap_or_else(|why| panic!("{file}: {why}"));
                let pragmas = "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;";
                let run = connection.batch_execute(&format!("{pragmas} {statement}"));
                run.unwrap_or_else(|why| panic!("{statement}: {why}"));
            }
            Self::Postgres(url) => {
                postgres::psql(url, statement);
            }
        }
    }
}

impl Backend {
    /// A service on this backend, not yet started, and access to its tables.
    pub fn service_and_tables(self) -> (Builder, Tables) {
        match self {
            Self::Sqlite => (TestService::builder(), Tables::Sqlite),
            Self::Postgres => {
                let url = postgres::new_database();
                (TestService::builder().set("DATABASE_URL", url.clone()), Tables::Postgres(url))
            }
        }
    }
}

/// Posts a JSON body.
pub fn post(service: &TestService, path: &str, body: &serde_json::Value) -> Response {
    Request::new("POST", path).json(&body.to_string()).send(service.address())
}

/// Registers an account with these fields and the usual password.
pub fn registered(service: &TestService, mut body: serde_json::Value) -> Response {
    body["password"] = PASSWORD.into();
    post(service, "/auth/register", &body)
}

/// Fails unless the answer is this refusal and sets no cookie.
pub fn assert_refused(answer: &Response, status: u16, expected: &str) {
    assert_eq!((answer.status, code(answer).as_str()), (status, expected), "{}", answer.text());
    assert!(answer.set_cookies().is_empty());
}

/// The percentile of the times.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}
