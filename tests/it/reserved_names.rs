//! Reserved names: registration and profile changes refuse them, on any mount, in any spelling; operators may assign them.

use doorward::core::registration::sign_up::{Privileges, Registration};
use doorward::core::session::caller::Client;
use doorward::testing::TestService;
use serde_json::{Value, json};

use crate::multi_node::beside;
use crate::pages;
use crate::support::confirmed_sign_up::{self, SignUpService};
use crate::support::http::{Browser, Request, Response};
use crate::support::process::WorkDir;
use crate::support::{Backend, PASSWORD, assert_refused, on_both_backends, post, register, registered};

on_both_backends!(
    a_reserved_username_or_name_is_refused_in_every_spelling,
    every_dialect_refuses_a_reserved_name_in_its_own_shape,
    the_pages_say_that_a_name_is_reserved_in_both_languages,
    a_confirmed_sign_up_takes_no_reserved_name,
    a_name_reserved_after_the_request_is_not_confirmed,
    a_profile_cannot_change_to_a_reserved_name,
    operators_give_reserved_names_to_accounts,
    the_setting_replaces_the_list_and_may_be_empty,
);

/// The field that a native validation error names.
fn field(answer: &Response) -> String {
    answer.json()["errors"][0]["field"].as_str().unwrap_or_default().to_owned()
}

fn a_reserved_username_or_name_is_refused_in_every_spelling(backend: Backend) {
    let service = backend.service().start();
    for name in ["admin", "Admin", "ADMIN", "ａｄｍｉｎ", "root", "postmaster", "ſecurity", "no-reply"] {
        for named in ["username", "name"] {
            let answer = registered(&service, json!({ "email": "ceo@corp.example", named: name }));
            assert_refused(&answer, 422, "invalid_fields");
            assert_eq!(field(&answer), named, "{name}: {}", answer.text());
            assert!(answer.text().contains("is reserved"), "{}", answer.text());
        }
    }
    // The uuid that Remote-User may say of another account.
    let uuid = registered(&service, json!({ "username": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b" }));
    assert_refused(&uuid, 422, "invalid_fields");
    for free in ["admin2", "adm", "rooty", "the-admin"] {
        assert_eq!(registered(&service, json!({ "username": free })).status, 201, "{free}");
    }
    // Reported together with the other errors of the request.
    let answer = post(&service, "/auth/register", &json!({ "username": "root", "password": "short" }));
    assert_eq!(answer.json()["errors"].as_array().map(Vec::len), Some(2), "{}", answer.text());
}

fn every_dialect_refuses_a_reserved_name_in_its_own_shape(backend: Backend) {
    let service = backend.service().start();
    let store = json!({
        "firstName": "A", "lastName": "B", "login": "Administrator", "email": "a@example.com", "password": PASSWORD
    });
    let answer = post(&service, "/store/auth/signup", &store);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.json()["message"].to_string().contains("login is reserved; choose another"), "{}", answer.text());
    let signin = json!({
        "first_name": "A", "last_name": "B", "username": "Postmaster", "email": "b@example.com", "password": PASSWORD
    });
    let answer = post(&service, "/signin/api/v1/auths/sign-up", &signin);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("username is reserved; choose another"), "{}", answer.text());
    for email in ["a@example.com", "b@example.com"] {
        assert!(service.core().find_account_by(email).is_err(), "{email} was added");
    }
}

fn the_pages_say_that_a_name_is_reserved_in_both_languages(backend: Backend) {
    let service = backend.service().start();
    for (language, expected) in
        [("en", "This name is reserved. Choose a different one."), ("es", "Este nombre está reservado. Elige otro.")]
    {
        let mut browser = Browser::new(service.address());
        let form = browser.send(Request::new("GET", "/register").header("Accept-Language", language));
        let token = pages::hidden(&form, "token").unwrap();
        let fields = [("token", token.as_str()), ("email", ""), ("username", "Root"), ("password", PASSWORD)];
        let answer = browser.send(pages::form("/register", &fields).header("Accept-Language", language));
        assert_eq!((answer.status, answer.set_cookies().len()), (422, 0), "{}", answer.text());
        let beside = answer.text().split_once("id=\"username-error\">").map(|(_, rest)| rest.to_owned());
        assert!(beside.is_some_and(|text| text.contains(expected)), "{}", answer.text());
    }
}

fn a_confirmed_sign_up_takes_no_reserved_name(backend: Backend) {
    let sign_ups = SignUpService::start(backend);
    for more in [json!({ "username": "Hostmaster" }), json!({ "name": "WEBMASTER" })] {
        assert_refused(&sign_ups.sign_up("ada@mail.example", &more), 422, "invalid_fields");
    }
    assert_eq!(sign_ups.count("pending_sign_ups"), 0);
}

fn a_name_reserved_after_the_request_is_not_confirmed(backend: Backend) {
    let sign_ups = SignUpService::with(backend, |builder| builder.set("RESERVED_NAMES", ""));
    let builder = beside(&sign_ups.service, &sign_ups.tables);
    let reserving = confirmed_sign_up::settings(builder, sign_ups.mails.url()).start();
    for (username, status) in [("admin", 401), ("adam", 201)] {
        let email = format!("{username}@mail.example");
        sign_ups.must_sign_up(&email, &json!({ "username": username }));
        let token = sign_ups.mails.wait_for_mail_to(&email, 1).token();
        let confirmed = post(&reserving, "/auth/register/confirm", &json!({ "token": token, "password": PASSWORD }));
        assert_eq!(confirmed.status, status, "{}", confirmed.text());
        assert_eq!(reserving.core().find_account_by(&email).is_ok(), status == 201, "{email}");
    }
}

fn a_profile_cannot_change_to_a_reserved_name(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let mut change = |body: Value| browser.send(Request::new("PATCH", "/auth/me").json(&body.to_string()));
    for name in ["support", "Support", "ＳＵＰＰＯＲＴ", "HelpDesk"] {
        let answer = change(json!({ "name": name, "firstName": "Changed" }));
        assert_refused(&answer, 422, "invalid_fields");
        assert_eq!(field(&answer), "name", "{}", answer.text());
    }
    let answer = change(json!({ "name": "Supporter" }));
    assert_eq!((answer.status, answer.json()["firstName"].clone()), (200, Value::Null), "{}", answer.text());
}

fn operators_give_reserved_names_to_accounts(backend: Backend) {
    let service = backend.service().start();
    add(&service, "root", "Support");
    let mut browser = Browser::new(service.address());
    let signed_in = browser.post("/auth/login", &json!({ "username": "root", "password": PASSWORD }).to_string());
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    // A form sends every field again.
    let body = json!({ "name": "SUPPORT", "firstName": "Ada" }).to_string();
    let kept = browser.send(Request::new("PATCH", "/auth/me").json(&body));
    assert_eq!(kept.status, 200, "{}", kept.text());
    let other = browser.send(Request::new("PATCH", "/auth/me").json(r#"{"name":"security"}"#));
    assert_refused(&other, 422, "invalid_fields");

    let workdir = WorkDir::on(backend);
    workdir.succeed(&["account", "add", "--username", "admin", "--password-stdin"], PASSWORD);
    std::fs::write(workdir.file("accounts.jsonl"), r#"{"username":"webmaster","name":"Hostmaster"}"#).unwrap();
    workdir.succeed(&["import", "accounts.jsonl"], "");
    for name in ["admin", "webmaster", "hostmaster"] {
        workdir.succeed(&["account", "show", name], "");
    }
}

fn add(service: &TestService, username: &str, name: &str) {
    let registration = Registration {
        username: Some(username.to_owned()),
        name: Some(name.to_owned()),
        password: Some(doorward::secret::Secret::new(PASSWORD)),
        ..Registration::default()
    };
    let core = service.core();
    let validated = core.validate_account(registration, Privileges::default()).unwrap();
    core.add_account(&validated.hash(core.hasher()).unwrap(), &Client::operator()).unwrap();
}

fn the_setting_replaces_the_list_and_may_be_empty(backend: Backend) {
    let service = backend.service().set("RESERVED_NAMES", "Boss,\n straße").start();
    for (name, status) in [("boss", 422), ("BOSS", 422), ("Strasse", 422), ("admin", 201)] {
        assert_eq!(registered(&service, json!({ "username": name })).status, status, "{name}");
    }
    let service = backend.service().set("RESERVED_NAMES", "").start();
    assert_eq!(registered(&service, json!({ "username": "admin" })).status, 201);
}
