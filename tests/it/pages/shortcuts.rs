//! Paths that lead to a page: the entrance, trailing slashes, and the well-known URL for changing passwords.

use crate::support::http::Request;
use crate::support::{Backend, on_both_backends, register};

on_both_backends!(short_ways_lead_to_the_pages);

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
