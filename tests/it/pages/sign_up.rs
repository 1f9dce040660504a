//! The sign-up page (`/register`): its form, its error messages, and what it does not reveal.

use super::{hidden, is_signed_in, location, open_and_send};
use crate::support::http::Browser;
use crate::support::{Backend, PASSWORD, on_both_backends, registered};

on_both_backends!(
    a_sign_up_signs_in_and_redirects,
    errors_are_shown_beside_their_field,
    a_taken_name_and_a_taken_email_look_alike,
    the_page_says_when_sign_up_is_closed,
);

fn a_sign_up_signs_in_and_redirects(backend: Backend) {
    let service = backend.service().start();
    for (number, (email, username)) in
        [("e@example.com", ""), ("", "emily"), ("m@example.com", "mia")].iter().enumerate()
    {
        let mut browser = Browser::new(service.address());
        let fields = [("email", *email), ("username", *username), ("password", PASSWORD), ("remember", "yes")];
        let entered = open_and_send(&mut browser, "/register?rd=%2Fwelcome", "/register", &fields);
        assert_eq!(location(&entered), "/welcome");
        assert_eq!(entered.set_cookies().len(), 2);
        assert!(is_signed_in(&mut browser), "{number}");
        let shown = if email.is_empty() { username } else { email };
        assert!(browser.get("/account").text().contains(shown));
    }
    let account = service.core().find_account_by("mia").unwrap();
    assert_eq!((account.email.as_deref(), account.role.as_str()), (Some("m@example.com"), "USER"));
}

fn errors_are_shown_beside_their_field(backend: Backend) {
    let service = backend.service().start();
    for (email, username, password, field, expected) in [
        ("", "", PASSWORD, "email", "Enter an email or a username."),
        ("not-an-email", "", PASSWORD, "email", "Enter a valid email address."),
        ("", "em\u{0456}ly", PASSWORD, "username", "Use only letters, digits"),
        ("", "emily", "short", "password", "Enter at least 8 characters."),
        ("", "emily", "password123", "password", "This password is too common."),
        ("", "emily-long-name", "emily-long-name", "password", "too similar to your username"),
    ] {
        let mut browser = Browser::new(service.address());
        // A `role` field is not part of this form.
        let fields = [("email", email), ("username", username), ("password", password), ("role", "ADMIN")];
        let answer = open_and_send(&mut browser, "/register?rd=%2Fx", "/register", &fields);
        assert_eq!((answer.status, answer.set_cookies().len()), (422, 0), "{}", answer.text());
        let beside = answer.text().split_once(&format!("id=\"{field}-error\">")).map(|(_, rest)| rest.to_owned());
        assert!(beside.is_some_and(|text| text.contains(expected)), "{field}: {}", answer.text());
        assert!(answer.text().contains("aria-invalid=\"true\""));
        assert_eq!(hidden(&answer, "rd").as_deref(), Some("/x"));
        assert!(password == username || !answer.text().contains(&format!("\"{password}\"")));
    }
}

fn a_taken_name_and_a_taken_email_look_alike(backend: Backend) {
    let service = backend.service().start();
    registered(&service, serde_json::json!({ "username": "emily", "email": "e@example.com" }));
    let body_text = |email: &str, username: &str| {
        let mut browser = Browser::new(service.address());
        let fields = [("email", email), ("username", username), ("password", PASSWORD)];
        let answer = open_and_send(&mut browser, "/register", "/register", &fields);
        assert_eq!((answer.status, answer.set_cookies().len()), (409, 0));
        let text = answer.text();
        let alarm = text.split_once("role=\"alert\"").unwrap().1.split_once("</p>").unwrap().0.to_owned();
        (alarm, text.contains("aria-invalid"))
    };
    assert_eq!(body_text("e@example.com", "other"), body_text("o@example.com", "emily"));
}

fn the_page_says_when_sign_up_is_closed(backend: Backend) {
    let service = backend.service().set("SIGNUP", "false").start();
    let mut browser = Browser::new(service.address());
    let page = browser.get("/login");
    assert!(!page.text().contains("/register"));
    let token = hidden(&page, "token").unwrap();
    assert_eq!(browser.get("/register").status, 403);
    let fields = [("token", token.as_str()), ("username", "emily"), ("password", PASSWORD)];
    let answer = browser.send(super::form("/register", &fields));
    assert_eq!((answer.status, answer.set_cookies().len()), (403, 0));
    assert!(answer.text().contains("Registration is closed."), "{}", answer.text());
}
