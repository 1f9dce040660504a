//! Required password change on the hosted pages: every page redirects to the form, and the form to the original target.

use std::time::Duration;

use doorward::testing::{Builder, TestService};

use super::{form, hidden, is_signed_in, location, open_and_send, send, sign_in_by_page, signed_in};
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, Tokens, code, on_both_backends, sessions_of};

on_both_backends!(
    a_sign_in_redirects_to_the_form_and_the_form_to_the_target,
    without_a_target_the_form_redirects_to_the_default_page,
    the_page_shows_nothing_else_of_the_account,
    a_refused_change_keeps_the_redirect_target,
    every_other_page_redirects_to_the_form_and_none_loops,
    signing_out_instead_is_possible,
    the_session_of_the_form_is_renewed_when_its_access_token_has_expired,
);

const NEW: &str = "another-quiet-harbour";

const WHY: &str = "The administrator of this service requires you to choose a new password before you continue.";

fn require(service: &TestService) {
    let account = service.core().find_account_by("emily").unwrap();
    service.core().require_password_change(&account, true).unwrap();
}

/// A service with one account that must change its password, and a browser signed in to it by the page.
fn restricted(builder: Builder) -> (TestService, Browser) {
    let service = builder.start();
    let mut browser = signed_in(&service);
    require(&service);
    assert_eq!(location(&sign_in_by_page(&mut browser, "/login", "emily")), "/account");
    (service, browser)
}

fn assert_asks(page: &Response) {
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains(WHY) && page.text().contains("action=\"/account/password\""), "{}", page.text());
}

fn fill_in(browser: &mut Browser, page: &Response, current: &str) -> Response {
    send(browser, page, "/account/password", &[("current", current), ("new", NEW)])
}

fn a_sign_in_redirects_to_the_form_and_the_form_to_the_target(backend: Backend) {
    let service = backend.service().set("REDIRECT_HOSTS", "good.test").start();
    let mut browser = signed_in(&service);
    require(&service);
    assert_eq!(location(&browser.get("/account")), "/login?rd=%2Faccount", "the session has ended");
    let entered = sign_in_by_page(&mut browser, "/login?rd=https%3A%2F%2Fapp.good.test%2Fdeep%3Fa%3Db", "emily");
    let there = location(&entered).to_owned();
    assert_eq!(there, "/account?rd=https%3A%2F%2Fapp.good.test%2Fdeep%3Fa%3Db");
    let page = browser.get(&there);
    assert_asks(&page);
    assert_eq!(code(&browser.get("/auth/me")), "password_change_required");
    let before = Tokens::in_jar_of(&browser);
    assert_eq!(location(&fill_in(&mut browser, &page, PASSWORD)), "https://app.good.test/deep?a=b");
    assert!(is_signed_in(&mut browser));
    before.assert_invalid(&service);
    let page = browser.get("/account").text();
    assert!(!page.contains(WHY) && page.contains("Signed-in devices"), "{page}");
}

fn without_a_target_the_form_redirects_to_the_default_page(backend: Backend) {
    for (default, expected) in [("/account", "/account?done=password"), ("/welcome", "/welcome")] {
        let (_service, mut browser) = restricted(backend.service().set("DEFAULT_PAGE", default));
        let page = browser.get("/account");
        assert_eq!(hidden(&page, "rd"), None);
        assert_eq!(location(&fill_in(&mut browser, &page, PASSWORD)), expected);
        assert!(browser.get("/account?done=password").text().contains("Your password has been changed."));
    }
    // A redirect target that is refused at the sign-in is refused after the form, too.
    let (_service, mut browser) = restricted(backend.service());
    let page = browser.get("/account?rd=https%3A%2F%2Fevil.test%2F");
    assert_eq!(hidden(&page, "rd"), None);
    let token = hidden(&page, "token").unwrap();
    let fields = [("token", token.as_str()), ("rd", "https://evil.test/"), ("current", PASSWORD), ("new", NEW)];
    assert_eq!(location(&browser.send(form("/account/password", &fields))), "/account?done=password");
    // A voluntary change stays on the account page.
    let page = browser.get("/account?rd=%2Felsewhere");
    assert_eq!(hidden(&page, "rd"), None);
    let token = hidden(&page, "token").unwrap();
    let fields = [("token", token.as_str()), ("rd", "/elsewhere"), ("current", NEW), ("new", PASSWORD)];
    assert_eq!(location(&browser.send(form("/account/password", &fields))), "/account?done=password");
}

fn the_page_shows_nothing_else_of_the_account(backend: Backend) {
    let (_service, mut browser) = restricted(backend.service());
    for path in ["/account", "/account?done=password", "/account?done=device"] {
        let page = browser.get(path);
        assert_asks(&page);
        for part in
            ["Profile", "Signed-in devices", "Sign out everywhere", "Member since", "has been changed", "<dl>", "USER"]
        {
            assert!(!page.text().contains(part), "{part}: {}", page.text());
        }
        for part in ["<title>Change password", "current-password", "new-password", "href=\"/logout\""] {
            assert!(page.text().contains(part), "{part}: {}", page.text());
        }
    }
    let spanish = browser.send(Request::new("GET", "/account").header("Accept-Language", "es"));
    assert!(spanish.text().contains("te pide que elijas una contraseña nueva"), "{}", spanish.text());
}

fn a_refused_change_keeps_the_redirect_target(backend: Backend) {
    let (_service, mut browser) = restricted(backend.service());
    let mut page = browser.get("/account?rd=%2Fdeep");
    for (current, new, status, shown) in [
        ("not-the-password", NEW, 403, "The current password is incorrect."),
        (PASSWORD, PASSWORD, 422, "The new password must be different from the current one."),
        (PASSWORD, "short", 422, "Enter at least 8 characters."),
    ] {
        page = send(&mut browser, &page, "/account/password", &[("current", current), ("new", new)]);
        assert_eq!(page.status, status, "{}", page.text());
        assert!(page.text().contains(shown) && page.text().contains(WHY), "{}", page.text());
        assert_eq!(hidden(&page, "rd").as_deref(), Some("/deep"));
    }
    let stale = form("/account/password", &[("token", "x"), ("rd", "/deep"), ("current", PASSWORD), ("new", NEW)]);
    page = browser.send(stale);
    assert_eq!((page.status, hidden(&page, "rd").as_deref()), (403, Some("/deep")));
    assert_eq!(location(&fill_in(&mut browser, &page, PASSWORD)), "/deep");
}

fn every_other_page_redirects_to_the_form_and_none_loops(backend: Backend) {
    let (service, mut browser) = restricted(backend.service());
    for _ in 0..5 {
        for page in ["/login", "/register", "/auth/continue"] {
            assert_eq!(location(&browser.get(&format!("{page}?rd=%2Fdeep"))), "/account?rd=%2Fdeep", "{page}");
            assert_eq!(location(&browser.get(page)), "/account", "{page}");
        }
    }
    // With the refresh cookie alone too: the page renews the session first.
    service.advance(Duration::from_mins(20));
    // The second one presents a generation for the first time, which is not rotated yet.
    for (page, cookies) in [("/login?rd=%2Fdeep", 2), ("/auth/continue?rd=%2Fdeep", 1)] {
        browser.set_cookie("accessToken", "old.and.over");
        let answer = browser.get(page);
        assert_eq!((location(&answer), answer.set_cookies().len()), ("/account?rd=%2Fdeep", cookies));
    }
    let page = browser.get("/account");
    let account = service.core().find_account_by("emily").unwrap().uuid;
    let other = Browser::new(service.address());
    assert_eq!(location(&sign_in_by_page(&mut { other }, "/login", "emily")), "/account");
    for session in sessions_of(service.core(), account) {
        let refused = send(&mut browser, &page, &format!("/account/sessions/{}", session.id), &[]);
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains(WHY) && refused.text().contains("href=\"/account\""), "{}", refused.text());
    }
    assert_eq!(sessions_of(service.core(), account).len(), 2, "none was ended");
    assert_eq!(location(&fill_in(&mut browser, &page, PASSWORD)), "/account?done=password");
    assert_eq!(location(&browser.get("/login?rd=%2Fdeep")), "/deep");
}

fn signing_out_instead_is_possible(backend: Backend) {
    let (service, mut browser) = restricted(backend.service());
    let session_tokens = Tokens::in_jar_of(&browser);
    assert_eq!(location(&open_and_send(&mut browser, "/logout", "/logout", &[])), "/logout");
    session_tokens.assert_invalid(&service);
    assert_eq!(location(&sign_in_by_page(&mut browser, "/login", "emily")), "/account");
    let session_tokens = Tokens::in_jar_of(&browser);
    assert_eq!(location(&open_and_send(&mut browser, "/account", "/account/sign-out-everywhere", &[])), "/logout");
    session_tokens.assert_invalid(&service);
    assert_eq!(browser.cookie("refreshToken"), None);
}

fn the_session_of_the_form_is_renewed_when_its_access_token_has_expired(backend: Backend) {
    let (service, mut browser) = restricted(backend.service());
    let page = browser.get("/account?rd=%2Fdeep");
    // The second time presents a generation for the first time, which is not rotated yet.
    for cookies in [2, 1, 2] {
        service.advance(Duration::from_hours(3));
        let renewed = browser.get("/account?rd=%2Fdeep");
        assert_asks(&renewed);
        assert_eq!(renewed.set_cookies().len(), cookies);
    }
    service.advance(Duration::from_hours(3));
    assert_eq!(location(&fill_in(&mut browser, &page, PASSWORD)), "/deep");
    assert!(is_signed_in(&mut browser));
    service.advance(Duration::from_mins(20));
    assert_eq!(location(&browser.get("/auth/continue?rd=%2Fdeep")), "/deep");
    assert!(is_signed_in(&mut browser));
}
