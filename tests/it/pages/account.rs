//! The account page (`/account`): password change and device list, also after a long idle time.

use std::time::Duration;

use super::{form, hidden, is_signed_in, location, open_and_send, send, sign_in_by_page, signed_in};
use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, Tokens, on_both_backends, post, register, sessions_of, sign_in};

on_both_backends!(
    two_browsers_of_one_kind_are_told_apart_and_named,
    a_password_change_signs_every_other_device_out,
    a_refused_change_says_what_is_wrong,
    another_device_is_signed_out_by_its_button,
    sign_out_everywhere_ends_every_session,
    a_form_left_open_for_long_still_works,
    without_a_session_the_sign_in_page_comes_first,
    signing_out_works_with_an_expired_access_token,
);

const NEW: &str = "another-quiet-harbour";

fn a_password_change_signs_every_other_device_out(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let (before, mut other) = (Tokens::in_jar_of(&browser), sign_in(&service, "emily"));
    let changed = open_and_send(&mut browser, "/account", "/account/password", &[("current", PASSWORD), ("new", NEW)]);
    assert_eq!(location(&changed), "/account?done=password");
    assert!(browser.get("/account?done=password").text().contains("Your password has been changed"));
    assert!(is_signed_in(&mut browser) && !is_signed_in(&mut other));
    before.assert_invalid(&service);
    let body = serde_json::json!({ "username": "emily", "password": NEW });
    assert_eq!(post(&service, "/auth/login", &body).status, 200);
}

fn a_refused_change_says_what_is_wrong(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    for (current, new, status, expected) in [
        ("not-the-password", NEW, 403, "The current password is incorrect."),
        (PASSWORD, PASSWORD, 422, "The new password must be different from the current one."),
        (PASSWORD, "short", 422, "Enter at least 8 characters."),
        (PASSWORD, "password123", 422, "This password is too common."),
    ] {
        let fields = [("current", current), ("new", new)];
        let answer = open_and_send(&mut browser, "/account", "/account/password", &fields);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(expected) && answer.text().contains("role=\"alert\""), "{}", answer.text());
        assert!(!answer.text().contains(current) && !answer.text().contains(new), "no password is said back");
        assert!(is_signed_in(&mut browser));
    }
}

fn another_device_is_signed_out_by_its_button(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let body = serde_json::json!({ "username": "emily", "password": PASSWORD }).to_string();
    let mut other = Browser::new(service.address());
    other.send(Request::new("POST", "/auth/login").header("User-Agent", agent).json(&body));
    let account = service.core().find_account_by("emily").unwrap().uuid;
    let sessions = sessions_of(service.core(), account);
    let foreign = sessions.iter().find(|session| session.user_agent.as_deref() == Some(agent)).unwrap().id;
    register(&service, "mallory");
    let mallory = service.core().find_account_by("mallory").unwrap().uuid;
    let of_mallory = sessions_of(service.core(), mallory)[0].id;

    let page = browser.get("/account");
    assert!(page.text().contains("Firefox on Linux") && page.text().contains("This device"), "{}", page.text());
    // Of another account, or unknown: nothing ends, and the answer reveals nothing.
    for id in [of_mallory.to_string(), "x".to_owned(), "00000000-0000-0000-0000-000000000000".to_owned()] {
        let answer = send(&mut browser, &page, &format!("/account/sessions/{id}"), &[]);
        assert_eq!(location(&answer), "/account?done=device");
    }
    assert_eq!(sessions_of(service.core(), mallory).len(), 1);
    assert!(is_signed_in(&mut other));
    let ended = send(&mut browser, &page, &format!("/account/sessions/{foreign}"), &[]);
    assert_eq!(location(&ended), "/account?done=device");
    assert!(!is_signed_in(&mut other) && is_signed_in(&mut browser));
    let page = browser.get("/account?done=device").text();
    assert!(page.contains("The device has been signed out.") && !page.contains("Firefox on Linux"));
}

fn sign_out_everywhere_ends_every_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let (session_tokens, mut other) = (Tokens::in_jar_of(&browser), sign_in(&service, "emily"));
    let done = open_and_send(&mut browser, "/account", "/account/sign-out-everywhere", &[]);
    assert_eq!(location(&done), "/logout");
    assert_eq!(done.set_cookies().iter().filter(|cookie| cookie.is_cleared()).count(), 2);
    assert!(!is_signed_in(&mut other) && !is_signed_in(&mut browser));
    session_tokens.assert_invalid(&service);
}

fn a_form_left_open_for_long_still_works(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let page = browser.get("/account");
    let before = Tokens::in_jar_of(&browser);
    service.advance(Duration::from_hours(3));
    let fields = [("current", PASSWORD), ("new", NEW)];
    assert_eq!(location(&send(&mut browser, &page, "/account/password", &fields)), "/account?done=password");
    assert!(is_signed_in(&mut browser));
    assert_ne!(Tokens::in_jar_of(&browser), before);
    service.advance(Duration::from_hours(3));
    let page = browser.get("/account");
    assert_eq!((page.status, page.set_cookies().len()), (200, 2), "the page renews on the way");
    service.advance(Duration::from_hours(3));
    assert_eq!(location(&send(&mut browser, &page, "/account/sign-out-everywhere", &[])), "/logout");
    assert!(!is_signed_in(&mut browser));
}

fn without_a_session_the_sign_in_page_comes_first(backend: Backend) {
    let service = backend.service().start();
    let mut browser = Browser::new(service.address());
    assert_eq!(location(&browser.get("/account")), "/login?rd=%2Faccount");
    for path in ["/account/password", "/account/sessions/x", "/account/sign-out-everywhere"] {
        assert_eq!(location(&browser.send(form(path, &[("token", "x")]))), "/login?rd=%2Faccount");
    }
    let mut browser = signed_in(&service);
    let account = service.core().find_account_by("emily").unwrap().id;
    service.core().end_all_sessions_as_operator(account).unwrap();
    let answer = browser.get("/account");
    assert_eq!(location(&answer), "/login?rd=%2Faccount");
    assert!(answer.set_cookies().iter().all(crate::support::http::SetCookie::is_cleared), "dead cookies go");
    assert_eq!(sign_in_by_page(&mut browser, "/login?rd=%2Faccount", "emily").status, 303);
    assert_eq!(browser.get("/account").status, 200);
}

fn signing_out_works_with_an_expired_access_token(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let session_tokens = Tokens::in_jar_of(&browser);
    service.advance(Duration::from_hours(1));
    browser.set_cookie("accessToken", "");
    let form_page = browser.get("/logout?rd=%2Fbye");
    assert_eq!(hidden(&form_page, "rd").as_deref(), Some("/bye"));
    assert!(form_page.set_cookies().is_empty(), "asking changes nothing");
    assert_eq!(location(&send(&mut browser, &form_page, "/logout", &[])), "/bye");
    session_tokens.assert_invalid(&service);
    assert_eq!(browser.cookie("refreshToken"), None);
}

fn two_browsers_of_one_kind_are_told_apart_and_named(backend: Backend) {
    let service = backend.service().start();
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    register(&service, "emily");
    let mut browsers = [Browser::new(service.address()), Browser::new(service.address())];
    for browser in &mut browsers {
        let body = serde_json::json!({ "username": "emily", "password": PASSWORD }).to_string();
        let login = Request::new("POST", "/auth/login").json(&body).header("User-Agent", agent);
        assert_eq!(browser.send(login).status, 200);
        service.advance(Duration::from_mins(3));
    }
    let [first, second] = &mut browsers;
    let page = second.get("/account");
    let shown = page.text();
    for words in ["Firefox on Linux", "Signed in <time", "6 minutes ago</time>", "3 minutes ago</time>", "This device"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let listed = first.get("/auth/sessions").json();
    let own = listed["sessions"].as_array().unwrap().iter().find(|session| session["current"] == true).unwrap();
    let path = format!("/account/sessions/{}/name", own["id"].as_str().unwrap());
    let named = send(second, &page, &path, &[("name", "Desk <b>at work</b>")]);
    assert_eq!(location(&named), "/account?done=name");
    let page = second.get("/account?done=name");
    for words in ["Desk &#60;b&#62;at work&#60;/b&#62;", "Firefox on Linux · Last active", "The device has a new name."]
    {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }
    let long = "x".repeat(61);
    assert_eq!(send(second, &page, &path, &[("name", &long)]).status, 422);
    assert_eq!(location(&send(second, &page, &path, &[("name", " ")])), "/account?done=name");
    let forged = form(&path, &[("token", "forged"), ("name", "x")]);
    assert_eq!(second.send(forged).status, 403);
    let mut bob = super::signed_in_as(&service, "bob");
    let page = bob.get("/account");
    assert_eq!(location(&send(&mut bob, &page, &path, &[("name", "mine")])), "/account?done=name");
    assert!(!second.get("/account").text().contains("mine"), "another account's list stays as it is");
}
