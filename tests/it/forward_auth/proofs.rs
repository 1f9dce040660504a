//! Identity headers say what is proved: an email only when it is verified, and a change of that at the next check.

use std::time::Duration;

use doorward::core::account::Account;
use doorward::testing::TestService;
use serde_json::json;

use super::{check, identity};
use crate::multi_node::beside;
use crate::support::confirmed_sign_up::SignUpService;
use crate::support::http::Request;
use crate::support::process::{WorkDir, until};
use crate::support::{Backend, PASSWORD, on_both_backends, registered};

on_both_backends!(
    an_email_is_told_only_when_it_is_verified,
    the_user_is_never_an_unproved_email,
    a_change_of_the_proof_shows_at_the_next_check_on_every_node,
    unproved_emails_are_told_if_the_setting_says_so,
    a_confirmed_sign_up_proves_the_email,
    operators_and_imports_say_whether_an_email_is_proved,
);

/// `Remote-User` and `Remote-Email` of a check.
fn identity_of(service: &TestService, access: &str) -> [String; 2] {
    let answer = check(service, "/auth/verify", access);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let values = identity(&answer);
    [values[0].clone(), values[2].clone()]
}

/// Registers an account; its access token, and the account.
fn account(service: &TestService, body: serde_json::Value) -> (String, Account) {
    let answer = registered(service, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let access = answer.set_cookies()[0].value.clone();
    let id = answer.json()["user"]["id"].as_i64().unwrap();
    (access, service.core().find_account_by(&id.to_string()).unwrap())
}

fn an_email_is_told_only_when_it_is_verified(backend: Backend) {
    let service = backend.service().start();
    let (access, account) = account(&service, json!({ "username": "emily", "email": "ceo@corp.example" }));
    assert_eq!(identity_of(&service, &access), ["emily", ""]);
    service.core().set_email_verified(&account, true).unwrap();
    assert_eq!(identity_of(&service, &access), ["emily", "ceo@corp.example"]);
    service.core().set_email_verified(&account, false).unwrap();
    assert_eq!(identity_of(&service, &access), ["emily", ""]);
    let without = self::account(&service, json!({ "username": "ada" })).1;
    assert!(service.core().set_email_verified(&without, true).is_err(), "there is nothing to prove");
}

fn the_user_is_never_an_unproved_email(backend: Backend) {
    let service = backend.service().start();
    let (access, named) = account(&service, json!({ "name": "Ada", "email": "ceo@corp.example" }));
    assert_eq!(identity_of(&service, &access), ["Ada", ""]);
    service.core().set_email_verified(&named, true).unwrap();
    assert_eq!(identity_of(&service, &access), ["ceo@corp.example"; 2]);

    let (access, nameless) = account(&service, json!({ "email": "cfo@corp.example" }));
    let uuid = nameless.uuid.to_string();
    assert_eq!(identity_of(&service, &access), [uuid.as_str(), ""]);
    let taken = registered(&service, json!({ "username": uuid }));
    assert_eq!(taken.status, 422, "no account may have another's UUID as its name: {}", taken.text());
    let renamed = Request::new("PATCH", "/auth/me").bearer(&access).json(r#"{"name":"Grace"}"#).send(service.address());
    assert_eq!(renamed.status, 200, "{}", renamed.text());
    assert_eq!(identity_of(&service, &access), ["Grace", ""]);
}

fn a_change_of_the_proof_shows_at_the_next_check_on_every_node(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let first = builder.start();
    let second = beside(&first, &tables).start();
    let (access, account) = account(&first, json!({ "email": "emily@example.com", "username": "emily" }));
    assert_eq!((identity_of(&first, &access)[1].as_str(), identity_of(&second, &access)[1].as_str()), ("", ""));
    for (verified, expected) in [(true, "emily@example.com"), (false, "")] {
        first.core().set_email_verified(&account, verified).unwrap();
        assert_eq!(identity_of(&first, &access)[1], expected, "this node, before the change returned");
        // One request at a time: the change may arrive between the two of `check`.
        until(Duration::from_secs(30), "the other node to hear of it", || {
            let answer = Request::new("GET", "/auth/verify").bearer(&access).send(second.address());
            (identity(&answer)[2] == expected).then_some(())
        });
    }
}

fn unproved_emails_are_told_if_the_setting_says_so(backend: Backend) {
    let service = backend.service().set("REMOTE_EMAIL_UNPROVED", "true").start();
    let access = account(&service, json!({ "email": "emily@example.com", "name": "Emily" })).0;
    assert_eq!(identity_of(&service, &access), ["emily@example.com"; 2]);
}

fn a_confirmed_sign_up_proves_the_email(backend: Backend) {
    let sign_ups = SignUpService::start(backend);
    let token = sign_ups.token_of("ada@mail.example");
    let confirmed = sign_ups.confirm(&token, PASSWORD);
    assert_eq!(confirmed.status, 201, "{}", confirmed.text());
    let access = confirmed.set_cookies()[0].value.clone();
    assert_eq!(identity_of(&sign_ups.service, &access), ["ada@mail.example"; 2]);
}

fn operators_and_imports_say_whether_an_email_is_proved(backend: Backend) {
    let workdir = WorkDir::on(backend);
    let add = |username: &str, more: &[&str]| {
        let email = format!("{username}@example.com");
        let arguments = ["account", "add", "--username", username, "--email", &email, "--password-stdin"];
        workdir.succeed(&[&arguments[..], more].concat(), PASSWORD);
    };
    add("vouched", &[]);
    add("unvouched", &["--email-unverified"]);
    let lines = [
        json!({ "username": "imported", "email": "imported@example.com" }),
        json!({ "username": "proved", "email": "proved@example.com", "emailVerified": true }),
    ];
    std::fs::write(workdir.file("accounts.jsonl"), lines.map(|line| line.to_string()).join("\n")).unwrap();
    workdir.succeed(&["import", "accounts.jsonl"], "");
    let is_verified = |name: &str| workdir.succeed(&["account", "show", name], "").contains("(verified)");
    for (name, expected) in [("vouched", true), ("unvouched", false), ("imported", false), ("proved", true)] {
        assert_eq!(is_verified(name), expected, "{name}");
    }
    workdir.succeed(&["account", "verify-email", "unvouched"], "");
    workdir.succeed(&["account", "verify-email", "vouched", "--withdraw"], "");
    assert!(is_verified("unvouched") && !is_verified("vouched"));

    let node = workdir.serve(&[]);
    let body = json!({ "username": "unvouched", "password": PASSWORD, "tokens": "body" });
    let access = node.post("/auth/login", &body).json()["accessToken"].as_str().unwrap().to_owned();
    let answer = node.send(&Request::new("GET", "/auth/verify").bearer(&access));
    assert_eq!(answer.header("remote-email"), Some("unvouched@example.com"));
    workdir.succeed(&["account", "verify-email", "unvouched", "--withdraw"], "");
    until(Duration::from_secs(30), "the running service to hear of it", || {
        let answer = node.send(&Request::new("GET", "/auth/verify").bearer(&access));
        (answer.status == 200 && answer.header("remote-email") == Some("")).then_some(())
    });
}
