//! CSRF tokens of the hosted pages: only forms that our own pages rendered are accepted (CSRF, login CSRF), and only
//! form media types.

use super::{form, hidden, is_signed_in, location, send, sign_in_by_page, signed_in};
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, on_both_backends, register, sessions_of};

on_both_backends!(
    a_form_without_its_token_does_not_sign_in,
    a_form_of_another_session_changes_nothing,
    a_form_of_another_origin_is_refused,
    only_form_media_types_are_read,
    a_link_does_not_sign_out,
);

const FORMS: [&str; 2] = ["/login", "/register"];

fn fields<'a>(token: &'a str, back: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("token", token), ("rd", back), ("identifier", "emily"), ("username", "mia"), ("password", PASSWORD)]
}

/// Refused, with a new form to retry.
fn assert_retry_form(answer: &Response) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.set_cookies().is_empty() && answer.device_cookie().is_none());
    assert!(answer.text().contains("Please try again") && answer.text().contains("role=\"alert\""));
    assert!(hidden(answer, "token").is_some_and(|token| !token.is_empty()));
}

fn a_form_without_its_token_does_not_sign_in(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let mut attacker = Browser::new(service.address());
    let theirs = hidden(&attacker.get("/login"), "token").unwrap();
    let mut insider = Browser::new(service.address());
    sign_in_by_page(&mut insider, "/login", "emily");
    let of_session = hidden(&insider.get("/logout"), "token").unwrap();
    for path in FORMS {
        let mut browser = Browser::new(service.address());
        let own = hidden(&browser.get(path), "token").unwrap();
        for token in ["", "x", &theirs, &of_session, &own[1..], &format!("{own}x")] {
            let answer = browser.send(form(path, &fields(token, "/x")));
            assert_retry_form(&answer);
            assert_eq!(hidden(&answer, "rd").as_deref(), Some("/x"));
        }
        // A token whose cookie the browser lacks, and a forged cookie.
        assert_retry_form(&form(path, &fields(&own, "/x")).send(service.address()));
        for cookie in
            ["csrfToken=x", "csrfToken=", "csrfToken=AAAAAAAAAAAAAAAAAAAAAA; csrfToken=BBBBBBBBBBBBBBBBBBBBBB"]
        {
            assert_retry_form(&form(path, &fields(&own, "/x")).cookie_header(cookie).send(service.address()));
        }
        let again = browser.send(form(path, &fields("x", "/x")));
        let entered = send(&mut browser, &again, path, &fields("", "")[2..]);
        assert_eq!(location(&entered), "/x", "the form that was given instead works");
    }
}

fn a_form_of_another_session_changes_nothing(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    register(&service, "mallory");
    let mut attacker = Browser::new(service.address());
    sign_in_by_page(&mut attacker, "/login", "mallory");
    let theirs = hidden(&attacker.get("/account"), "token").unwrap();
    let mut guest = Browser::new(service.address());
    let of_guest = hidden(&guest.get("/login"), "token").unwrap();
    let own = hidden(&browser.get("/account"), "token").unwrap();
    let session = sessions_of(service.core(), service.core().find_account_by("emily").unwrap().uuid)[0].id;
    let acts =
        ["/logout", "/account/password", "/account/sign-out-everywhere", &format!("/account/sessions/{session}")];
    for path in acts {
        for token in ["", "x", &theirs, &of_guest, &format!("{own}x")] {
            let fields = [("token", token), ("current", PASSWORD), ("new", "another-quiet-harbour")];
            let answer = browser.send(form(path, &fields));
            assert_eq!(answer.status, 403, "{path} {token:?}: {}", answer.text());
            assert!(answer.text().contains("Please try again"), "{path}");
        }
        assert!(is_signed_in(&mut browser), "{path}");
    }
    assert_eq!(super::open_and_send(&mut browser, "/account", "/account/sign-out-everywhere", &[]).status, 303);
    assert!(!is_signed_in(&mut browser));
}

fn a_form_of_another_origin_is_refused(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let token = hidden(&browser.get("/account"), "token").unwrap();
    let own = service.url();
    let mut guest = Browser::new(service.address());
    let of_guest = hidden(&guest.get("/login"), "token").unwrap();
    for header in [
        ("Origin", "https://evil.test"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        for path in ["/logout", "/account/password", "/account/sign-out-everywhere"] {
            let answer = browser.send(form(path, &[("token", &token)]).header(header.0, header.1));
            assert_eq!(answer.status, 403, "{path} {header:?}");
            assert!(answer.header("content-type").unwrap().starts_with("text/html"));
            assert!(answer.text().contains("page of another site"), "{}", answer.text());
        }
        let answer = guest.send(form("/login", &fields(&of_guest, "/x")).header(header.0, header.1));
        assert_eq!((answer.status, answer.set_cookies().len()), (403, 0), "{header:?}");
    }
    assert!(is_signed_in(&mut browser));
    let answer = guest.send(form("/login", &fields(&of_guest, "/x")).header("Origin", own));
    assert_eq!(location(&answer), "/x");
}

fn only_form_media_types_are_read(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let mut browser = Browser::new(service.address());
    let token = hidden(&browser.get("/login"), "token").unwrap();
    let json = format!(r#"{{"token":"{token}","identifier":"emily","password":"{PASSWORD}"}}"#);
    let plain = format!("token={token}&identifier=emily&password={PASSWORD}");
    for (kind, body) in [
        (Some("application/json"), json.clone()),
        (Some("text/plain"), plain.clone()),
        (Some("multipart/form-data"), plain.clone()),
        (Some("application/x-www-form-urlencoded-x"), plain.clone()),
        (None, plain.clone()),
    ] {
        let answer = browser.send(Request::new("POST", "/login").body(kind, body));
        assert_eq!((answer.status, answer.set_cookies().len()), (415, 0), "{kind:?}");
    }
    let kind = Some("application/x-www-form-urlencoded");
    let twice = browser.send(Request::new("POST", "/login").body(kind, format!("{plain}&identifier=mia")));
    assert_eq!((twice.status, twice.set_cookies().len()), (400, 0));
    let large = browser.send(Request::new("POST", "/login").body(kind, format!("{plain}&x={}", "a".repeat(20_000))));
    assert_eq!(large.status, 413);
    let bytes = b"identifier=%ff%fe&password=%00&token=\xff".to_vec();
    assert_eq!(browser.send(Request::new("POST", "/login").body(kind, bytes)).status, 403);
    for (method, path) in
        [("DELETE", "/login"), ("PUT", "/account"), ("GET", "/account/password"), ("POST", "/account")]
    {
        let answer = browser.send(Request::new(method, path));
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.header("allow").is_some_and(|allow| !allow.contains(method)), "{method} {path}");
    }
}

fn a_link_does_not_sign_out(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let form_page = browser.get("/logout");
    assert_eq!(form_page.status, 200);
    assert!(form_page.text().contains("Do you want to sign out"));
    assert!(is_signed_in(&mut browser));
    let done = send(&mut browser, &form_page, "/logout", &[]);
    assert_eq!(location(&done), "/logout");
    assert_eq!(done.set_cookies().iter().filter(|cookie| cookie.is_cleared()).count(), 2);
    assert!(browser.get("/logout").text().contains("You are signed out"));
    assert!(!is_signed_in(&mut browser));
}
