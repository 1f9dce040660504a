//! Request limits: what exceeds one is refused early, in the shape of its mount, and what is within them is not
//! affected.

mod load_shedding;
mod slow_clients;
mod unread_responses;

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Request, Response, exchange_raw};
use crate::support::{Backend, PASSWORD, assert_refused, on_both_backends, register};

on_both_backends!(
    a_head_over_the_limits_is_refused_in_the_mounts_own_shape,
    a_head_at_the_limits_is_read,
    a_head_over_the_limits_is_refused_before_any_work,
);

/// The sign-in route of each mount, and a key that only its errors have.
const MOUNTS: [(&str, &str); 6] = [
    ("/auth/login", "requestId"),
    ("/flat/auth/login", "message"),
    ("/store/auth/signin", "path"),
    ("/signin/api/v1/auths/sign-in", "statusCode"),
    ("/pin/auth/login", "message"),
    ("/envelope/auth/login", "success"),
];

const KIB: usize = 1024;

/// A path of this length, including its query.
fn long(path: &str, bytes: usize) -> String {
    format!("{path}?{}", "q".repeat(bytes - path.len() - 1))
}

/// Adds headers of this total size, each of a permitted size.
fn with_headers(mut request: Request, bytes: usize) -> Request {
    for number in 0..bytes / KIB {
        let name = format!("X-Filler-{number:02}");
        request = request.header(&name, "h".repeat(KIB - name.len() - 4));
    }
    request
}

/// Adds cookies of this total size, in two headers.
fn with_cookies(request: Request, bytes: usize) -> Request {
    let half = |bytes: usize| format!("filler={}", "c".repeat(bytes - 7));
    request.cookie_header(&half(bytes / 2)).cookie_header(&half(bytes - bytes / 2))
}

fn a_head_over_the_limits_is_refused_in_the_mounts_own_shape(backend: Backend) {
    let service = backend.service().start();
    let post = |path: &str| Request::new("POST", path).json("{}");
    for (path, key) in MOUNTS {
        for (status, request) in [
            (414, post(&long(path, 8 * KIB + 1))),
            (431, with_headers(post(path), 33 * KIB)),
            (431, with_cookies(post(path), 8 * KIB + 1)),
        ] {
            let answer = request.send(service.address());
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(answer.json().get(key).is_some(), "{path}: {}", answer.text());
            assert!(answer.set_cookies().is_empty() && answer.header("x-request-id").is_some(), "{path}");
        }
    }
    let get = |path: &str| Request::new("GET", path);
    assert_refused(&get(&long("/auth/me", 8 * KIB + 1)).send(service.address()), 414, "uri_too_long");
    assert_refused(&with_headers(get("/nowhere"), 33 * KIB).send(service.address()), 431, "headers_too_large");
    assert_refused(&with_cookies(get("/readyz"), 9 * KIB).send(service.address()), 431, "cookies_too_large");
}

fn a_head_at_the_limits_is_read(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let request = Request::new("POST", &long("/auth/login", 8 * KIB)).json(&body);
    let request = with_headers(with_cookies(request, 8 * KIB), 23 * KIB);
    assert_eq!(request.send(service.address()).status, 200);
}

fn a_head_over_the_limits_is_refused_before_any_work(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    register(&service, "emily");
    let rows = |table: &str| tables.number(&service, &format!("SELECT count(*) FROM {table}"));
    let before = (rows("sessions"), rows("audit_events"));
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    for path in ["/auth/login".to_owned(), long("/auth/login", 9 * KIB)] {
        let request = with_cookies(Request::new("POST", &path).json(&body), 9 * KIB);
        assert!([414, 431].contains(&request.send(service.address()).status));
    }
    assert_eq!((rows("sessions"), rows("audit_events")), before);
}

/// The server's own buffer is smaller than some heads: those never reach a mount, and are refused as well.
#[test]
fn a_head_beyond_the_servers_buffer_is_refused_and_the_connection_closed() {
    let service = TestService::start();
    let head = |start: &str, rest: &str| format!("GET {start} HTTP/1.1\r\nHost: x\r\n{rest}\r\n").into_bytes();
    let many = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect::<Vec<_>>().concat();
    for (what, status, bytes) in [
        ("a path of 100 kB", 400, head(&long("/", 100_000), "")),
        ("a path of 1 MB", 431, head(&long("/", 1_000_000), "")),
        ("a header of 140 kB", 431, head("/auth/me", &format!("X: {}\r\n", "h".repeat(140_000)))),
        ("a header of 4 MB", 431, head("/auth/me", &format!("X: {}\r\n", "h".repeat(4_000_000)))),
        ("200 headers", 431, head("/auth/me", &many)),
    ] {
        let began = std::time::Instant::now();
        let answer = String::from_utf8(exchange_raw(service.address(), &bytes)).unwrap();
        // A reset may overtake the answer if the server closes before it has read everything.
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        crate::support::print_figure(&format!(
            "{what}: {} in {:?}",
            answer.lines().next().unwrap_or("reset"),
            began.elapsed()
        ));
    }
    let healthy: Response = Request::new("GET", "/healthz").send(service.address());
    assert_eq!(healthy.status, 200);
}
