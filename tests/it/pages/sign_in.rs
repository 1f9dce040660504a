//! The sign-in page (`/login`): who may sign in, where it redirects, and what it does not reveal.

use std::time::Duration;

use super::{hidden, is_signed_in, location, open_and_send, send, sign_in_by_page, signed_in};
use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, Tokens, is_accepted, on_both_backends, register};

on_both_backends!(
    a_sign_in_redirects_to_the_requested_target,
    a_wrong_password_and_an_unknown_name_look_alike,
    a_throttled_sign_in_says_how_long_to_wait,
    without_remember_me_the_cookies_end_with_the_browser,
    a_signed_in_browser_is_redirected_to_the_target,
    an_expired_access_token_is_renewed_before_the_redirect,
    viewing_a_page_begins_no_session,
    a_sign_in_replaces_the_previous_session,
    a_locked_account_is_reported_only_with_its_password,
);

fn a_sign_in_redirects_to_the_requested_target(backend: Backend) {
    let service = backend.service().set("REDIRECT_HOSTS", "good.test").start();
    register(&service, "emily");
    for (page, expected) in [
        ("/login", "/account"),
        ("/login?rd=%2Fdeep%3Fa%3Db%26c%3Dd", "/deep?a=b&c=d"),
        ("/login?rd=https%3A%2F%2Fapp.good.test%2Fdeep%3Fa%3Db%26c%3Dd", "https://app.good.test/deep?a=b&c=d"),
        ("/login?rd=https%3A%2F%2Fevil.test%2F", "/account"),
    ] {
        let mut browser = Browser::new(service.address());
        let entered = sign_in_by_page(&mut browser, page, "emily");
        assert_eq!(location(&entered), expected);
        let names: Vec<String> = entered.set_cookies().into_iter().map(|cookie| cookie.name).collect();
        assert_eq!(names, ["accessToken", "refreshToken"]);
        assert!(entered.device_cookie().is_some(), "the device is known from now on");
        for cookie in entered.set_cookies() {
            for attribute in ["HttpOnly", "Path=/", "SameSite=Lax"] {
                assert!(cookie.attributes.iter().any(|has| has == attribute), "{}", cookie.line);
            }
        }
        assert!(is_signed_in(&mut browser));
    }
}

fn a_wrong_password_and_an_unknown_name_look_alike(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let answer = |name: &str| {
        let mut browser = Browser::new(service.address());
        let fields = [("identifier", name), ("password", "not-the-password")];
        let refused = open_and_send(&mut browser, "/login?rd=/x", "/login", &fields);
        let token = hidden(&refused, "token").unwrap();
        let mut headers = refused.headers.clone();
        headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.to_ascii_lowercase().as_str()));
        assert_eq!(hidden(&refused, "rd").as_deref(), Some("/x"), "the way back is kept");
        assert!(refused.set_cookies().is_empty());
        (refused.status, headers, refused.text().replace(&token, "TOKEN").replace(name, "NAME"))
    };
    let (wrong, unknown) = (answer("emily"), answer("nobod"));
    assert_eq!(wrong.0, 401);
    assert!(wrong.2.contains("Incorrect email, username or password."), "{}", wrong.2);
    assert!(wrong.2.contains("value=\"NAME\""), "what was typed is kept, but for the password");
    assert_eq!(wrong, unknown);
}

fn a_throttled_sign_in_says_how_long_to_wait(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "2").set("THROTTLE_FIRST_WAIT", "90s").start();
    register(&service, "emily");
    let said = [
        ("en", "Try again in 2 minutes.", "ask the administrator of this service"),
        ("es", "Inténtalo de nuevo dentro de 2 minutos.", "pide a quien administra este sitio"),
    ];
    for (language, expected, way_in) in said {
        let mut browser = Browser::new(service.address());
        let page = browser.get("/login");
        let mut last = page.clone();
        for _ in 0..4 {
            let token = hidden(&page, "token").unwrap();
            let fields = [("token", token.as_str()), ("identifier", "emily"), ("password", "not-the-password")];
            last = browser.send(super::form("/login", &fields).header("Accept-Language", language));
        }
        assert_eq!(last.status, 429);
        let wait: u64 = last.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=90).contains(&wait), "{wait}");
        assert!(last.text().contains(expected) && last.text().contains(way_in), "{}", last.text());
    }
}

fn without_remember_me_the_cookies_end_with_the_browser(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    for (ticked, lasts) in [(true, true), (false, false)] {
        let mut browser = Browser::new(service.address());
        let mut fields = vec![("identifier", "emily"), ("password", PASSWORD)];
        fields.extend(ticked.then_some(("remember", "yes")));
        let entered = open_and_send(&mut browser, "/login", "/login", &fields);
        let age = |line: &str| line.contains("Max-Age");
        assert!(entered.set_cookies().iter().all(|cookie| age(&cookie.line) == lasts), "{ticked}");
    }
}

fn a_signed_in_browser_is_redirected_to_the_target(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    for page in ["/login", "/register"] {
        let answer = browser.get(&format!("{page}?rd=%2Fwhere-{}", &page[1..]));
        assert_eq!(location(&answer), format!("/where-{}", &page[1..]));
        assert!(answer.set_cookies().is_empty(), "nothing is changed");
    }
}

fn an_expired_access_token_is_renewed_before_the_redirect(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let before = Tokens::in_jar_of(&browser);
    service.advance(Duration::from_mins(16));
    let answer = browser.get("/login?rd=%2Fdeep");
    assert_eq!(location(&answer), "/deep");
    let after = Tokens::in_jar_of(&browser);
    assert!(after.access != before.access && after.refresh != before.refresh, "both are new");
    // The answer may have been lost: until the new tokens are used, the old refresh token is
    // answered with them again, and later with others.
    for (wait, is_replay) in [(Duration::from_secs(59), true), (Duration::from_mins(5), false)] {
        service.advance(wait);
        browser.set_cookie("refreshToken", &before.refresh);
        browser.set_cookie("accessToken", "");
        assert_eq!(location(&browser.get("/login?rd=%2Fdeeper")), "/deeper");
        let held = Tokens::in_jar_of(&browser).refresh;
        assert!(held != before.refresh && (held == after.refresh) == is_replay, "{wait:?} later");
    }
    assert!(is_signed_in(&mut browser));
}

fn viewing_a_page_begins_no_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let session_tokens = Tokens::in_jar_of(&browser);
    let pages = ["/login", "/register", "/account", "/logout", "/auth/continue"];
    for page in pages {
        for method in ["GET", "HEAD"] {
            let answer = Request::new(method, page).send(service.address());
            assert!(answer.set_cookies().is_empty() && answer.device_cookie().is_none(), "{method} {page}");
        }
    }
    service.advance(Duration::from_mins(16));
    let cookies = format!("refreshToken={}", session_tokens.refresh);
    for page in pages {
        let answer = Request::new("HEAD", page).cookie_header(&cookies).send(service.address());
        assert!(answer.set_cookies().is_empty(), "HEAD {page} changes nothing");
    }
    assert!(!is_accepted(&service, &session_tokens.access));
    assert_eq!(location(&browser.get("/login")), "/account");
    assert!(is_signed_in(&mut browser), "the refresh token was not spent by a HEAD");
}

fn a_sign_in_replaces_the_previous_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let before = Tokens::in_jar_of(&browser);
    // The form was open in another tab before the first sign-in.
    let mut other = Browser::new(service.address());
    let page = other.get("/login");
    for name in ["accessToken", "refreshToken"] {
        other.set_cookie(name, &browser.cookie(name).unwrap());
    }
    let fields = [("identifier", "emily"), ("password", PASSWORD)];
    assert_eq!(send(&mut other, &page, "/login", &fields).status, 303);
    assert!(!is_accepted(&service, &before.access), "the old session is over");
    assert!(is_signed_in(&mut other) && !is_signed_in(&mut browser));
}

fn a_locked_account_is_reported_only_with_its_password(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let id = service.core().find_account_by("emily").unwrap().id;
    service.core().set_status(id, doorward::core::AccountStatus::Inactive).unwrap();
    let shown = |password: &str| {
        let mut browser = Browser::new(service.address());
        open_and_send(&mut browser, "/login", "/login", &[("identifier", "emily"), ("password", password)])
    };
    let (right, wrong) = (shown(PASSWORD), shown("not-the-password"));
    assert_eq!((right.status, wrong.status), (403, 401));
    assert!(right.text().contains("cannot sign in") && right.set_cookies().is_empty());
    assert!(!wrong.text().contains("cannot sign in"));
}
