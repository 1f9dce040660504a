//! Cluster tests: several nodes on one database. A session that one node ended is refused by the others within the
//! promised time, whatever happens to the link, to the notifications or to the database, and live sessions survive. The
//! measured delays are printed.
//!
//! Nodes run in this process, each with its own memory, pools and background threads; `/who` on them is a check that
//! reads memory only.

mod concurrent_refresh;
mod database_outage;
mod delivery_confirmations;
mod failover;
mod network_partition;
mod revocation_feed;
mod shared_sqlite_file;

use std::time::{Duration, Instant};

use actix_web::web;
use doorward::Caller;
use doorward::testing::{Builder, TestService};
use serde_json::json;

use crate::support::http::{Request, Response};
use crate::support::process::until;
use crate::support::{PASSWORD, Tokens, is_soak, print_figure, refresh_with};

/// REVOCATION_MAX_STALE of the nodes: the longest real time for which a check may be wrong. A node refuses by itself
/// once its cache is older, so the bound holds on a machine of any speed.
const MAX_STALE: Duration = Duration::from_secs(2);

/// How long recovery may take on a stalled machine; 5 s are promised, and the time taken is printed.
const SOON: Duration = Duration::from_secs(30);

const METRICS_TOKEN: &str = "for-the-eyes-of-the-test";

/// DATABASE_TIMEOUT in tests with an outage: the default in the long job, less in the ordinary run.
fn database_timeout() -> &'static str {
    if is_soak() { "2s" } else { "1s" }
}

/// A node on this database.
fn node(database: &str) -> Builder {
    let routes = |app: &mut web::ServiceConfig| {
        app.route("/who", web::get().to(|caller: Caller| async move { caller.account.to_string() }));
    };
    TestService::builder().set("DATABASE_URL", database).set("METRICS_TOKEN", METRICS_TOKEN).routes(routes)
}

/// Like `node`, with the keys of another node.
fn beside(first: &TestService, database: &str) -> Builder {
    node(database).set("KEYS_FILE", first.folder().join("doorward.keys").display().to_string())
}

/// A check answered from the node's memory, as long as that is fresh.
fn who(node: &TestService, access: &str) -> Response {
    Request::new("GET", "/who").bearer(access).send(node.address())
}

fn new_session(node: &TestService, username: &str) -> Tokens {
    let body = json!({ "username": username, "password": PASSWORD, "tokens": "body" }).to_string();
    let answer = Request::new("POST", "/auth/login").json(&body).send(node.address());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    Tokens { access: token("accessToken"), refresh: token("refreshToken") }
}

fn log_out(node: &TestService, session: &Tokens) -> Response {
    let body = json!({ "refreshToken": session.refresh }).to_string();
    Request::new("POST", "/auth/logout").json(&body).send(node.address())
}

/// Logs out successfully; the instant at which the answer had arrived.
fn logged_out(node: &TestService, session: &Tokens) -> Instant {
    let answer = log_out(node, session);
    assert_eq!(answer.status, 200, "{}", answer.text());
    Instant::now()
}

/// A metric of the node; 0 if it is absent.
fn metric(node: &TestService, name: &str) -> f64 {
    let shown = Request::new("GET", "/metrics").bearer(METRICS_TOKEN).send(node.address());
    assert_eq!(shown.status, 200, "{}", shown.text());
    let text = shown.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

fn until_shown(node: &TestService, name: &str, fits: impl Fn(f64) -> bool) {
    until(SOON, name, || fits(metric(node, name)).then_some(()));
}

/// Checks until the token is refused. Returns how long after `ended` the last check was sent that still accepted it;
/// one sent past MAX_STALE fails the test.
fn accepted_for(node: &TestService, access: &str, ended: Instant) -> Duration {
    let mut last = Duration::ZERO;
    until(SOON, "the token to be refused", || {
        let sent = ended.elapsed();
        let answer = who(node, access);
        match answer.status {
            200 => {
                assert!(sent <= MAX_STALE, "accepted {sent:?} after its end was answered");
                last = sent;
                None
            }
            401 => Some(last),
            503 => None,
            _ => panic!("{} {}", answer.status, answer.text()),
        }
    })
}

/// Like `prunable`, for a node that may be partitioned: 503 is a correct answer too.
fn until_refused(node: &TestService, session: &Tokens, ended: Instant) -> Duration {
    let mut last = Duration::ZERO;
    loop {
        let sent = ended.elapsed();
        let status = who(node, &session.access).status;
        if status != 200 {
            assert!([401, 503].contains(&status), "{status}");
            return last;
        }
        assert!(sent <= MAX_STALE, "accepted {sent:?} after its end was answered");
        last = sent;
    }
}

/// Checks until the answer is 503. Returns how long after `since` the last check was sent that was answered 200. A 401
/// in between would cost a client its session.
fn unavailable(node: &TestService, alive: &Tokens, since: Instant) -> Duration {
    let mut last = Duration::ZERO;
    until(SOON, "503", || {
        let sent = since.elapsed();
        let answer = who(node, &alive.access);
        assert!([200, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
        if answer.status == 200 {
            last = sent;
            return None;
        }
        Some(last)
    })
}

/// A node without its table answers 503 with Retry-After and clears no cookie.
fn assert_unavailable(answer: &Response, what: &str) {
    assert_eq!(answer.status, 503, "{what}: {}", answer.text());
    let after = answer.header("retry-after").and_then(|after| after.parse::<u32>().ok());
    assert!(after.is_some_and(|after| after > 0), "{what}: Retry-After is {:?}", answer.header("retry-after"));
    assert!(answer.set_cookies().is_empty(), "{what}: cookies are left alone");
}

/// A node that cannot reach its table is alive and not ready; requests that need the table get 503, a logout above all.
fn assert_cut_off(node: &TestService, alive: &Tokens, to_be_ended: &Tokens) {
    let get = |path| Request::new("GET", path).send(node.address());
    let slowest = std::thread::scope(|scope| {
        let timed = |send_request: &dyn Fn() -> Response, what: &str| {
            let began = Instant::now();
            assert_unavailable(&send_request(), what);
            began.elapsed()
        };
        let requests = [
            scope.spawn(move || timed(&|| get("/readyz"), "readyz")),
            scope.spawn(move || timed(&|| who(node, &alive.access), "a check")),
            scope.spawn(move || timed(&|| refresh_with(node, &alive.refresh), "a refresh")),
            scope.spawn(move || timed(&|| log_out(node, to_be_ended), "a logout")),
        ];
        assert_eq!(get("/healthz").status, 200);
        requests.into_iter().map(|requests| requests.join().unwrap()).max()
    });
    print_figure(&format!("without the table: refused after {:?} at most", slowest.unwrap()));
    until_shown(node, "doorward_database_available", |available| available < 1.0);
    until_shown(node, "doorward_revocation_cache_age_seconds", |age| age > MAX_STALE.as_secs_f64());
    assert!(metric(node, "doorward_revocation_table_reads_total{outcome=\"failed\"}") > 0.0);
    let age = get("/readyz").json()["revocationCacheAgeMs"].as_u64();
    assert!(age.is_some_and(|age| u128::from(age) > MAX_STALE.as_millis()), "{age:?}");
}

/// Waits until the node answers correctly: live tokens are accepted, and ended ones at no moment on the way. Returns
/// how long it took.
fn recovered(node: &TestService, alive: &Tokens, dead: &[&Tokens], since: Instant) -> Duration {
    let took = until(SOON, "the node to recover", || {
        for token in dead {
            let answer = who(node, &token.access);
            assert!([401, 503].contains(&answer.status), "an ended session is accepted: {}", answer.text());
        }
        let answer = who(node, &alive.access);
        assert!([200, 503].contains(&answer.status), "a live session is refused: {}", answer.text());
        (answer.status == 200).then(|| since.elapsed())
    });
    for token in dead {
        assert_eq!(who(node, &token.access).status, 401, "what counts as fresh knows what happened meanwhile");
        assert_eq!(refresh_with(node, &token.refresh).status, 401);
    }
    until_shown(node, "doorward_database_available", |available| available > 0.0);
    until_shown(node, "doorward_revocation_cache_age_seconds", |age| age < MAX_STALE.as_secs_f64());
    until(SOON, "readyz", || (Request::new("GET", "/readyz").send(node.address()).status == 200).then_some(()));
    took
}
