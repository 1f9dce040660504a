//! Fast path: checks on a kept connection are answered before they enter actix, with the answer that the handler would
//! give, in order, and only if the check is allowed.

mod mutations;

use std::time::{Duration, Instant};

use doorward::testing::TestService;
use serde_json::json;

use super::{add_account, identity};
use crate::multi_node::beside;
use crate::support::http::{KeptConnection, Request, Response};
use crate::support::rng::Rng;
use crate::support::{Backend, Tokens, is_soak, on_both_backends, post, register, sign_in};

on_both_backends!(
    an_allowed_check_is_answered_as_by_the_handler,
    every_other_request_goes_to_the_handler,
    a_logout_denies_the_next_check_on_a_kept_connection,
    a_session_that_must_change_its_password_is_denied,
    switched_off_it_answers_nothing_and_every_answer_stays_the_same,
);

/// Far more requests than the sockets' buffers can take.
const MOST_UNREAD: usize = 200_000;

/// Opens a connection with a request that goes to a handler, so that the next may take the fast path.
fn opened(service: &TestService) -> KeptConnection {
    let mut kept = KeptConnection::open(service.address()).unwrap();
    assert_eq!(kept.send(Request::new("GET", "/healthz")).unwrap().status, 200);
    kept
}

/// The answer to a request that is not the first on its connection.
pub fn on_a_kept_connection(service: &TestService, request: Request) -> Response {
    opened(service).send(request).unwrap()
}

/// The headers without those that differ in every answer.
fn stable_headers(answer: &Response) -> Vec<(String, String)> {
    let changes = ["x-request-id", "date", "connection"];
    let lasts = |(name, _): &&(String, String)| !changes.contains(&name.as_str());
    let mut headers: Vec<_> = answer.headers.iter().filter(lasts).cloned().collect();
    // The order in CORS lists has no meaning.
    for (_, value) in headers.iter_mut().filter(|(name, _)| name == "access-control-expose-headers") {
        let mut words: Vec<&str> = value.split(", ").collect();
        words.sort_unstable();
        *value = words.join(", ");
    }
    headers.sort();
    headers
}

/// Fails unless two answers are equal, but for the request id in headers and text.
pub fn assert_same(one: &Response, other: &Response) {
    let text = |answer: &Response| match answer.header("x-request-id") {
        Some(id) => answer.text().replace(id, "id"),
        None => answer.text(),
    };
    assert_eq!(text(one), text(other));
    assert_eq!((one.status, stable_headers(one)), (other.status, stable_headers(other)));
    let dated = |answer: &Response| ["x-request-id", "date"].map(|name| answer.headers_named(name).len());
    assert_eq!(dated(one), dated(other), "{one:?}");
}

/// How many checks the fast path has answered, by its counter.
fn fast_path_total(service: &TestService) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("doorward_check_fast_path_total "));
    line.unwrap().parse().unwrap()
}

/// Whether the fast path gave this answer: a handler's headers are in another order.
fn took_fast_path(answer: &Response) -> bool {
    let names: Vec<&str> = answer.headers.iter().rev().map(|(name, _)| name.as_str()).take(4).collect();
    names == ["date", "x-request-id", "remote-assertion", "remote-session"]
}

pub fn by_cookie(path: &str, access: &str) -> Request {
    Request::new("GET", path).cookie_header(&format!("a=b; accessToken={access}; c=d"))
}

fn an_allowed_check_is_answered_as_by_the_handler(backend: Backend) {
    for (vars, prefix) in
        [(vec![], ""), (vec![("DIALECTS", "native=/api")], "/api"), (vec![("REMOTE_USER_HEADER", "X-Me")], "")]
    {
        let builder = vars.iter().fold(backend.service(), |builder, (name, value)| builder.set(name, *value));
        let service = builder.start();
        add_account(&service, "editor", "EDITOR", &["reports:read"]);
        let login = json!({ "username": "editor", "password": crate::support::PASSWORD });
        let answer = post(&service, &format!("{prefix}/auth/login"), &login);
        let access = Tokens::set_by(&answer).access;
        for path in ["/auth/verify", "/auth/forward"] {
            for query in ["", "?role=EDITOR", "?role=ADMIN&role=EDITOR&permission=reports:read", "?original=x"] {
                for prefix in ["", prefix] {
                    let request = by_cookie(&format!("{prefix}{path}{query}"), &access);
                    let first = request.send(service.address());
                    assert!(first.status == 200 && !took_fast_path(&first), "{first:?}");
                    let later = on_a_kept_connection(&service, request);
                    assert!(took_fast_path(&later), "{later:?}");
                    assert_same(&later, &first);
                }
            }
        }
    }
}

/// Unusual requests, which must go to the handler.
fn unusual_requests(access: &str, other: &str) -> Vec<Request> {
    let plain = by_cookie("/auth/verify", access);
    vec![
        Request::new("HEAD", "/auth/verify").cookie_header(&format!("accessToken={access}")),
        by_cookie("/auth/verify?role=ADMIN", access),
        by_cookie("/auth/verify?permission=x", access),
        by_cookie("/auth/verify?colour=red", access),
        by_cookie("/auth/verify?role=ADMIN#&role=USER", access),
        by_cookie("/auth/verify?original=\"<>", access),
        by_cookie("/auth/verify/", access),
        by_cookie("//auth/verify", access),
        by_cookie("/auth/%76erify", access),
        by_cookie(&format!("/auth/verify?original={}", "a".repeat(9000)), access),
        Request::new("GET", "/auth/verify"),
        by_cookie("/auth/verify", "x.y.z"),
        by_cookie("/auth/verify", &access[..access.len() - 2]),
        plain.clone().cookie_header(&format!("accessToken={other}")),
        plain.clone().cookie_header(&"x".repeat(9000)),
        plain.clone().bearer(other),
        plain.clone().header("Authorization", "Basic eDp5"),
        plain.clone().header("Origin", "https://evil.example"),
        plain.clone().header("Origin", "https://app.example"),
        plain.clone().header("Remote_User", "admin"),
        plain.clone().header("Remote.User", "admin"),
        plain.clone().header("X_Forwarded_For", "127.0.0.1"),
        plain.clone().header("x~forwarded~anything", "1"),
        plain.clone().header("Host", "a").header("Host", "b"),
        plain.clone().header("Content-Length", "0"),
        plain.clone().body(Some("text/plain"), "abc"),
        (0..70).fold(plain, |request, n| request.header(&format!("X-{n}"), "y")),
    ]
}

fn every_other_request_goes_to_the_handler(backend: Backend) {
    let service = backend.service().set("CORS_ORIGINS", "https://app.example").start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let other = Tokens::in_jar_of(&register(&service, "otto")).access;
    assert_eq!(by_cookie("/auth/verify", &access).send(service.address()).status, 200);
    assert!(took_fast_path(&on_a_kept_connection(&service, by_cookie("/auth/verify", &access))));
    for request in unusual_requests(&access, &other) {
        let (first, later) = (request.send(service.address()), on_a_kept_connection(&service, request.clone()));
        assert!(!took_fast_path(&later), "{request:?}");
        assert_same(&later, &first);
    }
}

fn switched_off_it_answers_nothing_and_every_answer_stays_the_same(backend: Backend) {
    const ORIGIN: (&str, &str) = ("CORS_ORIGINS", "https://app.example");
    let (builder, tables) = backend.service_and_tables();
    let on = builder.set(ORIGIN.0, ORIGIN.1).start();
    let off = beside(&on, &tables).set(ORIGIN.0, ORIGIN.1).set("CHECK_FAST_PATH", "false").start();
    let access = Tokens::in_jar_of(&register(&on, "emily")).access;
    let other = Tokens::in_jar_of(&register(&on, "otto")).access;
    let allowed = ["/auth/verify", "/auth/forward", "/auth/verify?role=USER", "/auth/verify?original=x"];
    let allowed = allowed.map(|path| by_cookie(path, &access));
    // The first check of an account on a node loads its identity headers.
    for service in [&on, &off] {
        assert_eq!(allowed[0].send(service.address()).status, 200);
    }
    assert_eq!(fast_path_total(&on), 0, "the first request of a connection goes to the handler");
    for request in allowed.iter().cloned().chain(unusual_requests(&access, &other)) {
        let before = fast_path_total(&on);
        let [with, without] = [&on, &off].map(|service| on_a_kept_connection(service, request.clone()));
        assert_same(&with, &without);
        assert!(!took_fast_path(&without), "{without:?}");
        assert_eq!(fast_path_total(&on) - before, u64::from(took_fast_path(&with)), "{request:?}");
    }
    assert_eq!(fast_path_total(&on), u64::try_from(allowed.len()).unwrap());
    assert_eq!(fast_path_total(&off), 0);
    let mut kept = opened(&off);
    for _ in 0..20 {
        assert_eq!(kept.send(allowed[0].clone()).unwrap().status, 200);
    }
    assert_eq!(fast_path_total(&off), 0);
}

fn a_logout_denies_the_next_check_on_a_kept_connection(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let access = Tokens::in_jar_of(&browser).access;
    let mut kept = opened(&service);
    let check = by_cookie("/auth/verify", &access);
    // The first check of an account loads its identity headers.
    for fast in [false, true, true] {
        assert_eq!(took_fast_path(&kept.send(check.clone()).unwrap()), fast);
    }
    assert_eq!(browser.post_empty("/auth/logout").status, 200);
    for _ in 0..3 {
        assert_eq!(kept.send(check.clone()).unwrap().status, 401);
    }
    let again = Tokens::in_jar_of(&sign_in(&service, "emily")).access;
    assert!(took_fast_path(&kept.send(by_cookie("/auth/verify", &again)).unwrap()), "a refusal ends no connection");
}

fn a_session_that_must_change_its_password_is_denied(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let account = service.core().find_account_by("emily").unwrap();
    service.core().require_password_change(&account, true).unwrap();
    let access = Tokens::in_jar_of(&sign_in(&service, "emily")).access;
    let mut kept = opened(&service);
    for _ in 0..2 {
        assert_eq!(kept.send(by_cookie("/auth/verify", &access)).unwrap().status, 403);
    }
}

#[test]
fn nothing_is_answered_after_connection_close() {
    let service = TestService::start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    assert_eq!(by_cookie("/auth/verify", &access).send(service.address()).status, 200);
    for last in [
        Request::new("POST", "/auth/verify").cookie_header(&format!("accessToken={access}")).body(None, "abc"),
        Request::new("CONNECT", "x:1"),
    ] {
        let mut kept = opened(&service);
        let check = kept.bytes(by_cookie("/auth/verify", &access));
        assert!(took_fast_path(&kept.send(by_cookie("/auth/verify", &access)).unwrap()));
        let answer = kept.send(last).unwrap();
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        let _ = kept.write(&check);
        assert!(kept.read(false).is_err(), "after {answer:?}");
    }
}

#[test]
fn rules_and_assertions_go_to_the_handler() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    std::fs::write(&rules, "app.example /about public\n").unwrap();
    let service = TestService::builder();
    let service = service.set("RULES_FILE", rules.to_str().unwrap()).set("TRUSTED_PROXIES", "10.0.0.0/8").start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    assert_eq!(by_cookie("/auth/me", &access).send(service.address()).status, 200);
    let without_a_proxy = on_a_kept_connection(&service, by_cookie("/auth/verify", &access));
    assert!(!took_fast_path(&without_a_proxy), "{without_a_proxy:?}");
}

/// The requests of a conversation, each with the status and the user that must be answered.
fn requests(kept: &KeptConnection, access: &str) -> Vec<(Vec<u8>, u16, &'static str)> {
    let login = json!({ "username": "emily", "password": "not this one at all" }).to_string();
    let cases = [
        (by_cookie("/auth/verify", access), 200, "emily"),
        (by_cookie("/auth/verify?role=ADMIN", access), 403, ""),
        (Request::new("GET", "/auth/verify"), 401, ""),
        (Request::new("GET", "/nowhere"), 404, ""),
        (Request::new("GET", "/auth/me").bearer(access), 200, ""),
        (Request::new("POST", "/auth/login").json(&login), 401, ""),
    ];
    cases.map(|(request, status, user)| (kept.bytes(request), status, user)).into()
}

/// One conversation: random requests, cut at random positions and sent in pieces. Up to `behind` of them may be
/// unanswered when the next is sent (pipelining). Returns how many took the fast path.
fn converse(service: &TestService, access: &str, rng: &mut Rng, behind: usize) -> usize {
    let mut kept = KeptConnection::open(service.address()).unwrap();
    let requests = requests(&kept, access);
    let (mut open, mut fast) = (vec![], 0);
    let mut receive = |kept: &mut KeptConnection, (status, user): (u16, &str)| {
        let answer = kept.read(false).unwrap();
        assert_eq!((answer.status, answer.header("remote-user").unwrap_or_default()), (status, user), "{answer:?}");
        fast += usize::from(took_fast_path(&answer));
    };
    for _ in 0..12 {
        // Half of them are checks that are allowed. Behind a request whose body is still arriving, actix may close the
        // connection.
        let kinds = if behind == 0 { requests.len() } else { requests.len() - 1 };
        let which = if rng.below(2) == 0 { 0 } else { rng.below(kinds) };
        let (bytes, status, user) = &requests[which];
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let most = if rng.below(2) == 0 { rest.len() } else { 60 };
            let (piece, others) = rest.split_at(1 + rng.below(most.min(rest.len())));
            kept.write(piece).unwrap();
            if rng.below(4) == 0 {
                std::thread::sleep(rng.moment(2));
            }
            rest = others;
        }
        open.push((*status, *user));
        while open.len() > behind {
            receive(&mut kept, open.remove(0));
        }
    }
    open.into_iter().for_each(|one| receive(&mut kept, one));
    fast
}

#[test]
fn fragmented_and_pipelined_requests_each_get_their_own_answer() {
    let service = TestService::builder().set("THROTTLE_FREE_FAILURES", "off").start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let mut rng = Rng::seeded("requests cut and mixed");
    let fast: usize = (0..60).map(|_| converse(&service, &access, &mut rng, 0)).sum();
    assert!(fast > 60, "{fast} of 720 took the fast path");
    // Pipelined requests are answered in order as well.
    for _ in 0..60 {
        converse(&service, &access, &mut rng, 3);
    }
}

#[test]
fn checks_alone_keep_a_connection_alive_and_idleness_closes_it() {
    let service = TestService::start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let mut kept = opened(&service);
    let (began, mut fast) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(7) {
        let answer = kept.send(by_cookie("/auth/verify", &access)).unwrap();
        assert_eq!(identity(&answer)[0], "emily");
        fast += usize::from(took_fast_path(&answer));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fast > 20, "{fast}");
    // The client waits for longer than the service's idle timeout.
    assert!(kept.is_hung_up());
}

#[test]
fn a_partial_head_after_a_check_times_out() {
    let service = TestService::start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let mut kept = opened(&service);
    (0..2).for_each(|_| drop(kept.send(by_cookie("/auth/verify", &access)).unwrap()));
    kept.write(b"GET /auth/verify HTTP/1.1\r\nHost: a\r\n").unwrap();
    let began = Instant::now();
    assert!(kept.is_hung_up());
    assert!(!is_soak() || began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_reads_no_answers_is_disconnected() {
    let service = TestService::start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let mut kept = opened(&service);
    (0..2).for_each(|_| drop(kept.send(by_cookie("/auth/verify", &access)).unwrap()));
    let bytes = kept.bytes(by_cookie("/auth/verify", &access));
    // The sockets' buffers take some thousand requests; more only if the server reads on or buffers answers without bound.
    let taken = std::iter::repeat_with(|| kept.write(&bytes)).take_while(Result::is_ok).take(MOST_UNREAD).count();
    assert!(taken < MOST_UNREAD, "{taken} requests taken from a client that reads no answer");
}
