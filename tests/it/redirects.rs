//! Redirect targets (`rd`) over HTTP: every payload of the table at every page that takes one, by query and by form.
//! The rule has unit tests with the same table in src/web/redirect/tests.rs.

use std::collections::BTreeMap;

use doorward::testing::TestService;
use url::form_urlencoded::byte_serialize;

use crate::pages::{form, hidden, location, send, sign_in_by_page, signed_in};
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, on_both_backends, register};

on_both_backends!(
    no_page_is_an_open_redirect,
    every_page_redirects_to_allowed_targets,
    a_spoofed_host_changes_no_redirect,
    the_default_page_is_checked_at_startup,
);

#[derive(serde::Deserialize)]
struct Payloads {
    refused: BTreeMap<String, Vec<String>>,
    allowed: Vec<(String, String)>,
}

fn payloads() -> Payloads {
    serde_json::from_str(include_str!("redirects/payloads.json")).unwrap()
}

fn service(backend: Backend) -> TestService {
    backend.service().set("REDIRECT_HOSTS", "good.test").set("DEFAULT_PAGE", "/home").start()
}

fn with(page: &str, back: &str) -> String {
    format!("{page}?rd={}", byte_serialize(back.as_bytes()).collect::<String>())
}

/// The answer has a single header block: no payload has injected another.
fn assert_single_header_block(answer: &Response, payload: &str) {
    let odd = answer.headers.iter().find(|(name, value)| {
        value.contains("x=1") || name.contains("x=1") || (name.eq_ignore_ascii_case("location") && !value.is_ascii())
    });
    assert!(odd.is_none(), "{payload:?}: {odd:?}");
}

/// The redirect targets of a signed-in browser, by each page that reads the query only.
fn by_query(browser: &mut Browser, payload: &str) -> Vec<String> {
    let pages = ["/login", "/register", "/auth/continue"];
    let mut ends = vec![];
    for page in pages {
        browser.set_cookie("redirectCount", "");
        let answer = browser.get(&with(page, payload));
        assert_single_header_block(&answer, payload);
        ends.push(location(&answer).to_owned());
    }
    ends
}

fn no_page_is_an_open_redirect(backend: Backend) {
    let service = service(backend);
    let mut browser = signed_in(&service);
    let mut guest = Browser::new(service.address());
    let token = hidden(&guest.get("/login"), "token").unwrap();
    for (number, payload) in payloads().refused.into_values().flatten().enumerate() {
        assert_eq!(by_query(&mut browser, &payload), ["/home"; 3], "{payload:?}");
        let answer = guest.get(&with("/auth/continue", &payload));
        assert_eq!(location(&answer), "/login", "{payload:?}");
        for page in ["/login", "/register", "/logout"] {
            let shown = guest.get(&with(page, &payload));
            assert_single_header_block(&shown, &payload);
            assert!(hidden(&shown, "rd").is_none() && !shown.text().contains("rd="), "{page} {payload:?}");
            assert!(!shown.text().contains("evil"), "{page} says {payload:?} back");
        }
        // A failed sign-in is a write and the form uses the same rule, so a sample is enough.
        if number % 4 != 0 {
            continue;
        }
        let fields = [("token", token.as_str()), ("identifier", "emily"), ("password", "x"), ("rd", &payload)];
        let refused = guest.send(form("/login", &fields));
        assert_eq!((refused.status, hidden(&refused, "rd")), (401, None), "{payload:?}");
    }
}

fn every_page_redirects_to_allowed_targets(backend: Backend) {
    let service = service(backend);
    let mut browser = signed_in(&service);
    // A start without PUBLIC_URL has no origin of its own.
    let allowed = payloads().allowed.into_iter().filter(|(payload, _)| !payload.contains("auth.example"));
    for (number, (payload, expected)) in allowed.enumerate() {
        assert_eq!(by_query(&mut browser, &payload), [expected.as_str(); 3], "{payload:?}");
        let mut guest = Browser::new(service.address());
        let form_page = guest.get(&with("/login", &payload));
        assert_eq!(
            hidden(&form_page, "rd").map(|back| back.replace("&#60;", "<")),
            Some(expected.clone()),
            "{payload:?}"
        );
        let page = location(&guest.get(&with("/auth/continue", &payload))).to_owned();
        assert!(page.starts_with("/login?rd="), "{page}");
        if number % 4 == 0 {
            assert_eq!(location(&sign_in_by_page(&mut guest, &page, "emily")), expected);
            let form_page = guest.get(&with("/logout", &payload));
            assert_eq!(location(&send(&mut guest, &form_page, "/logout", &[])), expected);
        }
    }
    // By the form alone, on a page opened without a target.
    let mut guest = Browser::new(service.address());
    for (back, expected) in [("//evil.test", "/home"), ("https://evil.test/", "/home"), ("/x", "/x")] {
        guest.forget();
        let form_page = guest.get("/login");
        let fields = [("identifier", "emily"), ("password", crate::support::PASSWORD), ("rd", back)];
        assert_eq!(location(&send(&mut guest, &form_page, "/login", &fields)), expected);
        let form_page = guest.get("/logout");
        let expected = if expected == "/home" { "/logout" } else { expected };
        assert_eq!(location(&send(&mut guest, &form_page, "/logout", &[("rd", back)])), expected);
    }
}

fn a_spoofed_host_changes_no_redirect(backend: Backend) {
    let service = backend.service().set("PUBLIC_URL", "https://auth.example").set("TEST_MODE", "false");
    let service = service.set("BCRYPT_COST", "10").set("TRUSTED_PROXIES", "127.0.0.1/32").start();
    for name in ["Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded-Server", "X-Original-URL", "X-Forwarded-Uri"] {
        let value = if name == "Forwarded" { "host=evil.test" } else { "evil.test" };
        let send_request = |path: &str| Request::new("GET", path).header(name, value).send(service.address());
        assert_eq!(location(&send_request("/auth/continue?rd=%2Fx")), "https://auth.example/login?rd=%2Fx", "{name}");
        assert_eq!(location(&send_request("/account")), "https://auth.example/login?rd=%2Faccount", "{name}");
        assert!(!send_request("/login").text().contains("evil"), "{name}");
        assert_eq!(
            location(&send_request("/auth/continue?rd=https%3A%2F%2Fevil.test%2F")),
            "https://auth.example/login"
        );
    }
}

fn the_default_page_is_checked_at_startup(backend: Backend) {
    for (page, hosts, expected) in [
        ("https://app.good.test/x", "other.test", Some("DEFAULT_PAGE: app.good.test is not in REDIRECT_HOSTS")),
        ("//evil.test", "good.test", Some("DEFAULT_PAGE")),
        ("http://good.test/", "good.test", Some("DEFAULT_PAGE: an http URL")),
        ("https://app.good.test/x", "good.test", None),
    ] {
        let started = backend.service().set("DEFAULT_PAGE", page).set("REDIRECT_HOSTS", hosts).try_start();
        if let Some(words) = expected {
            assert!(started.err().is_some_and(|why| why.to_string().contains(words)), "{page}");
            continue;
        }
        let service = started.unwrap_or_else(|why| panic!("{why}"));
        register(&service, "emily");
        let mut browser = Browser::new(service.address());
        assert_eq!(location(&sign_in_by_page(&mut browser, "/login", "emily")), page);
    }
    for hosts in ["https://good.test", "*.good.test", "good.test:8443", "good.test."] {
        let refused = backend.service().set("REDIRECT_HOSTS", hosts).try_start().err();
        assert!(refused.is_some_and(|why| why.to_string().contains("REDIRECT_HOSTS")), "{hosts}");
    }
}
