//! The client's address behind proxies: every form in which gateways write it counts, and what is ignored is counted and
//! logged, since the throttle then takes many clients for one.

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Request, Response};
use crate::support::process::{Node, WorkDir};
use crate::support::{Backend, PASSWORD, on_both_backends, register, sign_in};

on_both_backends!(
    each_client_has_its_own_rate_limit_in_every_form_of_its_address,
    an_unreadable_forwarded_address_is_counted,
    a_forwarded_header_of_an_untrusted_sender_is_counted,
    a_trusted_proxy_without_x_forwarded_for_is_counted,
    what_is_ignored_is_logged_once,
);

fn sign_up(service: &TestService, username: &str, forwarded_for: &str) -> Response {
    let body = json!({ "username": username, "password": PASSWORD }).to_string();
    let request = Request::new("POST", "/auth/register").json(&body);
    request.header("X-Forwarded-For", forwarded_for).send(service.address())
}

fn ignored(service: &TestService, reason: &str) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let name = format!("doorward_forwarded_headers_ignored_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

fn each_client_has_its_own_rate_limit_in_every_form_of_its_address(backend: Backend) {
    let service = backend.service().set("THROTTLE_SIGN_UPS", "1/1h").set("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8");
    let service = service.start();
    let clients: [&[&str]; 4] = [
        &["203.0.113.7", "203.0.113.7:51234", "\"203.0.113.7:1\"", "6.6.6.6, 203.0.113.7:80, 10.1.2.3:443, ,"],
        &["203.0.113.8:51234", "203.0.113.8", "[::ffff:203.0.113.8]:80"],
        &["[2001:db8:1::7]:443", "2001:db8:1::7", "\"[2001:db8:1::7]\""],
        &["fe80::7%eth0", "[fe80::7%eth0]:80", "fe80::7"],
    ];
    for (number, forms) in clients.iter().enumerate() {
        for (form, forwarded_for) in forms.iter().enumerate() {
            let answer = sign_up(&service, &format!("client-{number}-{form}"), forwarded_for);
            let expected = if form == 0 { 201 } else { 429 };
            assert_eq!(answer.status, expected, "{forwarded_for}: {}", answer.text());
        }
    }
    assert_eq!((ignored(&service, "unreadable"), ignored(&service, "untrusted")), (0, 0));
}

fn an_unreadable_forwarded_address_is_counted(backend: Backend) {
    let service = backend.service().set("TRUSTED_PROXIES", "127.0.0.1").start();
    let mut expected = 0;
    for forwarded_for in ["unknown", "_hidden", "203.0.113.7, unknown", "203.0.113.7:", "app.example.com"] {
        expected += 1;
        assert_eq!(sign_up(&service, &format!("user-{expected}"), forwarded_for).status, 201);
        assert_eq!(ignored(&service, "unreadable"), expected, "{forwarded_for}");
    }
    assert_eq!(sign_up(&service, "readable", "unknown, 203.0.113.7").status, 201);
    assert_eq!((ignored(&service, "unreadable"), ignored(&service, "untrusted")), (expected, 0));
}

fn a_forwarded_header_of_an_untrusted_sender_is_counted(backend: Backend) {
    for proxies in ["", "10.0.0.0/8"] {
        let service = backend.service().set("TRUSTED_PROXIES", proxies).start();
        register(&service, "emily");
        assert_eq!(ignored(&service, "untrusted"), 0, "a client without a proxy");
        let access = crate::support::Tokens::in_jar_of(&sign_in(&service, "emily")).access;
        let wrong = r#"{"username":"emily","password":"wrong-wrong"}"#;
        let requests = [
            Request::new("POST", "/auth/refresh")
                .json(r#"{"refreshToken":"junk"}"#)
                .header("X-Forwarded-For", "1.2.3.4"),
            Request::new("POST", "/auth/login").json(wrong).header("X-Forwarded-Proto", "https"),
            Request::new("GET", "/auth/verify").bearer(&access).header("X-Forwarded-For", "unknown"),
            Request::new("GET", "/auth/forward").header("Forwarded", "for=1.2.3.4"),
        ];
        for (number, request) in (1..).zip(requests) {
            request.send(service.address());
            assert_eq!(ignored(&service, "untrusted"), number, "each request is counted once");
        }
        assert_eq!(ignored(&service, "unreadable"), 0, "it is not read");
    }
}

fn a_trusted_proxy_without_x_forwarded_for_is_counted(backend: Backend) {
    let service = backend.service().set("TRUSTED_PROXIES", "127.0.0.1").start();
    let counted = || ["missing", "unreadable", "untrusted"].map(|reason| ignored(&service, reason));
    let junk = |headers: &[(&str, &str)]| {
        let request = Request::new("POST", "/auth/refresh").json(r#"{"refreshToken":"junk"}"#);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        assert_eq!(request.send(service.address()).status, 401);
    };
    let missing: [&[(&str, &str)]; 4] = [
        &[("Forwarded", "for=203.0.113.7;proto=https")],
        &[("X-Real-IP", "203.0.113.7")],
        &[("X-Real-IP", "203.0.113.7"), ("Forwarded", "for=203.0.113.7")],
        &[("X-Real-IP", "203.0.113.7"), ("X-Forwarded-Proto", "https")],
    ];
    for (number, headers) in (1..).zip(missing) {
        junk(headers);
        assert_eq!(counted(), [number, 0, 0], "{headers:?}");
    }
    // A proxy's own request has none of them, and the usual proxy sends both.
    let complete: [&[(&str, &str)]; 4] = [
        &[],
        &[("X-Forwarded-Proto", "https")],
        &[("X-Forwarded-For", "203.0.113.7"), ("X-Real-IP", "203.0.113.7")],
        &[("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.7")],
    ];
    complete.into_iter().for_each(junk);
    assert_eq!(counted(), [4, 0, 0]);
}

fn log_lines(node: &Node, text: &str) -> usize {
    let log = node.stderr() + &node.stdout();
    log.lines().filter(|line| line.contains(text)).count()
}

fn what_is_ignored_is_logged_once(backend: Backend) {
    const UNREADABLE: &str = "X-Forwarded-For has an entry that is not an address";
    const UNTRUSTED: &str = "its sender is not in TRUSTED_PROXIES";
    const MISSING: &str = "a trusted proxy sends no X-Forwarded-For";
    for (proxies, expected) in [("127.0.0.1", (1, 0)), ("10.0.0.0/8", (0, 1))] {
        let node = WorkDir::on(backend).set("TRUSTED_PROXIES", proxies);
        let mut node = node.serve(&[]);
        let logged = |node: &Node| (log_lines(node, UNREADABLE), log_lines(node, UNTRUSTED));
        for _ in 0..5 {
            let request = Request::new("POST", "/auth/refresh").json(r#"{"refreshToken":"junk"}"#);
            assert_eq!(node.send(&request.header("X-Forwarded-For", "canary, unknown")).status, 401);
        }
        for _ in 0..3 {
            let request = Request::new("POST", "/auth/refresh").json(r#"{"refreshToken":"junk"}"#);
            assert_eq!(node.send(&request.header("X-Real-IP", "canary")).status, 401);
        }
        // After its end the log is whole.
        node.signal("TERM");
        assert!(node.wait().success());
        assert_eq!(log_lines(&node, MISSING), expected.0, "{proxies}: {}{}", node.stdout(), node.stderr());
        assert_eq!(logged(&node), expected, "each is logged once");
        assert_eq!(log_lines(&node, "canary"), 0, "the header is not quoted");
    }
}
