//! Redirect-loop guard: `/auth/continue` renews a session and redirects; a target that keeps sending signed-in users
//! back is stopped.

use std::time::Duration;

use super::{is_signed_in, location, open_and_send, signed_in};
use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, SETTLED, Tokens, on_both_backends, register};

on_both_backends!(
    continue_refreshes_and_redirects,
    continue_without_a_session_redirects_to_sign_in,
    a_loop_is_stopped_at_the_third_redirect,
    redirects_are_counted_by_target_for_a_minute,
    a_lost_answer_of_continue_ends_no_session,
    continue_with_a_stolen_token_ends_the_session,
);

fn continue_refreshes_and_redirects(backend: Backend) {
    let service = backend.service().set("REDIRECT_HOSTS", "good.test").start();
    let mut browser = signed_in(&service);
    let before = Tokens::in_jar_of(&browser);
    let answer = browser.get("/auth/continue?rd=https%3A%2F%2Fapp.good.test%2Fdeep%3Fa%3Db");
    assert_eq!(location(&answer), "https://app.good.test/deep?a=b");
    let after = Tokens::in_jar_of(&browser);
    assert!(before.access != after.access && before.refresh != after.refresh);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(is_signed_in(&mut browser));
    assert_eq!(location(&browser.get("/auth/continue")), "/account");
}

fn continue_without_a_session_redirects_to_sign_in(backend: Backend) {
    let service = backend.service().start();
    for (page, expected) in [
        ("/auth/continue?rd=%2Fdeep%3Fa%3Db%26c", "/login?rd=%2Fdeep%3Fa%3Db%26c"),
        ("/auth/continue?rd=%2F%2Fevil.test", "/login"),
        ("/auth/continue", "/login"),
    ] {
        assert_eq!(location(&Request::new("GET", page).send(service.address())), expected);
    }
    let mut browser = signed_in(&service);
    service.advance(Duration::from_hours(24 * 31));
    let answer = browser.get("/auth/continue?rd=%2Fdeep");
    assert_eq!(location(&answer), "/login?rd=%2Fdeep");
    for cookie in ["accessToken=x; refreshToken=y", "refreshToken="] {
        let answer = Request::new("GET", "/auth/continue?rd=%2Fdeep").cookie_header(cookie).send(service.address());
        assert_eq!(location(&answer), "/login?rd=%2Fdeep", "{cookie}");
    }
    let differ = Request::new("GET", "/auth/continue").cookie_header("refreshToken=a; refreshToken=b");
    let answer = differ.send(service.address());
    assert_eq!((location(&answer), answer.set_cookies().len()), ("/login", 0), "where a sign-in clears both");
    for method in ["POST", "HEAD", "DELETE"] {
        assert_eq!(Request::new(method, "/auth/continue").send(service.address()).status, 405, "{method}");
    }
}

fn a_loop_is_stopped_at_the_third_redirect(backend: Backend) {
    let service = backend.service().set("REDIRECT_HOSTS", "good.test").start();
    register(&service, "emily");
    let mut browser = Browser::new(service.address());
    let page = "/login?rd=https%3A%2F%2Fapp.good.test%2Fdeep";
    let fields = [("identifier", "emily"), ("password", PASSWORD)];
    assert_eq!(open_and_send(&mut browser, page, "/login", &fields).status, 303);
    for round in 0..2 {
        for _ in 0..2 {
            assert_eq!(location(&browser.get(page)), "https://app.good.test/deep", "{round}");
        }
        let stopped = browser.get(page);
        assert_eq!(stopped.status, 409, "{}", stopped.text());
        for words in ["Too many redirects", "app.good.test keeps redirecting you", "COOKIE_DOMAIN", "role=\"alert\""] {
            assert!(stopped.text().contains(words), "{words}: {}", stopped.text());
        }
        assert!(stopped.text().contains("href=\"https://app.good.test/deep\""), "and lets one try again");
        assert!(is_signed_in(&mut browser));
    }
    let spanish = |browser: &mut Browser| browser.send(Request::new("GET", page).header("Accept-Language", "es"));
    let stopped = [spanish(&mut browser), spanish(&mut browser), spanish(&mut browser)];
    assert!(stopped[2].text().contains("Demasiadas redirecciones"));
}

fn redirects_are_counted_by_target_for_a_minute(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    for number in 0..5 {
        assert_eq!(location(&browser.get(&format!("/login?rd=%2F{number}"))), format!("/{number}"));
    }
    for _ in 0..5 {
        assert_eq!(location(&browser.get("/login?rd=%2Fslow")), "/slow");
        service.advance(Duration::from_secs(31));
    }
    // Both routes count together.
    browser.get("/auth/continue?rd=%2Fmixed");
    browser.get("/login?rd=%2Fmixed");
    let before = Tokens::in_jar_of(&browser);
    let stopped = browser.get("/auth/continue?rd=%2Fmixed");
    assert_eq!((stopped.status, stopped.set_cookies().len()), (409, 1), "what was made on the way is kept");
    let after = Tokens::in_jar_of(&browser);
    assert!(after.access != before.access && after.refresh == before.refresh, "too young to be rotated");
    assert!(is_signed_in(&mut browser));
}

fn a_lost_answer_of_continue_ends_no_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    for (wait, is_replay) in [(Duration::from_secs(59), true), (Duration::from_mins(20), false)] {
        let mut lossy = browser.clone();
        lossy.get("/auth/continue?rd=%2Fa");
        assert_ne!(Tokens::in_jar_of(&lossy).refresh, Tokens::in_jar_of(&browser).refresh);
        service.advance(wait);
        assert_eq!(location(&browser.get("/auth/continue?rd=%2Fa")), "/a");
        assert!(is_signed_in(&mut browser));
        let is_same = Tokens::in_jar_of(&browser).refresh == Tokens::in_jar_of(&lossy).refresh;
        assert_eq!(is_same, is_replay, "{wait:?} later");
        service.advance(SETTLED);
    }
}

fn continue_with_a_stolen_token_ends_the_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let mut thief = browser.clone();
    browser.get("/auth/continue?rd=%2Fa");
    assert!(is_signed_in(&mut browser), "and the new token has been shown");
    service.advance(Duration::from_secs(31));
    let answer = thief.get("/auth/continue?rd=%2Fa");
    assert_eq!(location(&answer), "/login?rd=%2Fa");
    assert_eq!(answer.set_cookies().iter().filter(|cookie| cookie.is_cleared()).count(), 2);
    assert!(!is_signed_in(&mut browser), "the session has ended");
}
