//! Paths that lead to a page: the entrance, trailing slashes, and the well-known URL for changing passwords.

use super::signed_in;
use crate::support::http::Request;
use crate::support::{Backend, on_both_backends, register};

on_both_backends!(
    short_ways_lead_to_the_pages,
    what_a_browser_loads_in_vain_is_a_page,
    a_signed_in_user_opens_the_sign_in_page_as_often_as_he_likes,
);

fn short_ways_lead_to_the_pages(backend: Backend) {
    let service = backend.service().start();
    for (path, target) in [
        ("/", "/account"),
        ("/?rd=%2Faccount", "/account?rd=%2Faccount"),
        ("/login/", "/login"),
        ("/login/?rd=https%3A%2F%2Fx", "/login?rd=https%3A%2F%2Fx"),
        ("/register/", "/register"),
        ("/account/", "/account"),
        ("/logout/", "/logout"),
        ("/.well-known/change-password", "/account"),
    ] {
        let answer = Request::new("GET", path).send(service.address());
        assert_eq!((answer.status, answer.header("location")), (303, Some(target)), "{path}");
    }
    let stranger = Request::new("GET", "/account").send(service.address());
    assert!(stranger.header("location").is_some_and(|target| target.starts_with("/login")), "{:?}", stranger.headers);
    let mut browser = register(&service, "emily");
    assert_eq!(browser.get("/account").status, 200);
    for path in ["/login//", "/nothing/", "//login"] {
        let answer = Request::new("GET", path).send(service.address());
        assert_eq!(answer.status, 404, "{path}: {:?}", answer.headers);
    }
    assert_eq!(Request::new("POST", "/login/").send(service.address()).status, 405);
    let without = backend.service().set("PAGES", "false").start();
    for path in ["/", "/login/", "/.well-known/change-password"] {
        assert_eq!(Request::new("GET", path).send(without.address()).status, 404, "{path}");
    }
}

fn what_a_browser_loads_in_vain_is_a_page(backend: Backend) {
    let service = backend.service().start();
    let load = |path: &str| Request::new("GET", path).header("Accept", "text/html,*/*;q=0.8");
    let is_page = |answer: &crate::support::http::Response| {
        answer.header("content-type").is_some_and(|media_type| media_type.starts_with("text/html"))
    };
    let cookies = format!("theme={}", "x".repeat(9000));
    for (request, status, words) in [
        (load("/nothing"), 404, "This page does not exist."),
        (load("/nothing").header("Accept-Language", "es"), 404, "Esta página no existe."),
        (load("/auth/nothing?a=b"), 404, "This page does not exist."),
        (load("/account/nothing/more"), 404, "This page does not exist."),
        (load("/login").cookie_header(&cookies), 431, "too many cookies"),
        (load("/auth/me").cookie_header(&cookies), 431, "too many cookies"),
        (load("/nothing").cookie_header(&cookies), 431, "too many cookies"),
    ] {
        let answer = request.send(service.address());
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(is_page(&answer) && answer.text().contains(words), "{}", answer.text());
        assert!(answer.header("content-security-policy").is_some());
    }
    for request in [
        Request::new("GET", "/nothing"),
        Request::new("GET", "/nothing").header("Accept", "application/json"),
        load("/nothing").header("X-Requested-With", "XMLHttpRequest"),
        load("/nothing").header("Sec-Fetch-Mode", "cors"),
        Request::new("POST", "/nothing").header("Accept", "text/html"),
        load("/auth/me"),
        load("/store/nothing"),
        load("/flat/nothing"),
    ] {
        let answer = request.send(service.address());
        assert!(!is_page(&answer) && answer.text().starts_with('{'), "{}", answer.text());
    }
    let without = backend.service().set("PAGES", "false").start();
    assert!(!is_page(&load("/nothing").send(without.address())));
}

fn a_signed_in_user_opens_the_sign_in_page_as_often_as_he_likes(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    for path in ["/login", "/login?rd=%2Faccount", "/register", "/auth/continue"] {
        for _ in 0..5 {
            let answer = browser.get(path);
            assert_eq!((answer.status, answer.header("location")), (303, Some("/account")), "{path}");
        }
    }
}
