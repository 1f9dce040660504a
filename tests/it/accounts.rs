//! Accounts and identifiers: which identifiers sign in, that an identifier belongs to one account, and that no answer
//! reveals which accounts exist.

use doorward::core::AccountStatus;
use doorward::core::registration::sign_up::{Privileges, Registration};
use doorward::core::session::caller::Client;
use doorward::secret::Secret;
use doorward::testing::TestService;
use serde_json::{Value, json};

use crate::support::http::{Request, Response};
use crate::support::{
    Backend, PASSWORD, Tables, Tokens, assert_refused, on_both_backends, post, race, register, registered,
};

on_both_backends!(
    sign_up_takes_an_email_a_username_or_both,
    every_identifier_signs_in_to_the_account,
    a_name_and_a_pin_sign_in,
    variants_of_a_name_are_one_account,
    letters_that_fold_to_the_same_do_not_make_two_accounts,
    sign_up_with_a_taken_identifier_is_a_conflict,
    sign_up_of_fifty_at_once_with_one_name_succeeds_once,
    an_unknown_identifier_gets_the_answer_of_a_wrong_secret,
);

/// An account as an operator adds it, with a PIN and without a password.
pub fn add_with_pin(service: &TestService, name: &str, pin: &str) {
    let (name, pin) = (Some(name.to_owned()), Some(Secret::new(pin)));
    let person = Registration { name, pin, ..Registration::default() };
    let core = service.core();
    let validated = core.validate_account(person, Privileges::default()).unwrap();
    core.add_account(&validated.hash(core.hasher()).unwrap(), &Client::operator()).unwrap();
}

fn sign_up_takes_an_email_a_username_or_both(backend: Backend) {
    let service = backend.service().start();
    let rows = [
        json!({ "email": "emily@example.com" }),
        json!({ "username": "bob" }),
        json!({ "email": "carol@example.com", "username": "carol" }),
    ];
    for identifiers in rows {
        let answer = registered(&service, identifiers.clone());
        assert_eq!(answer.status, 201, "{}", answer.text());
        for field in ["email", "username"] {
            assert_eq!(answer.json()["user"][field], identifiers[field]);
        }
        assert_eq!(answer.set_cookies().len(), 2, "signed in");
        assert_eq!(answer.json()["expiresIn"], 900);
    }
    let bad = [
        json!({}),
        json!({ "email": "" }),
        json!({ "username": "" }),
        json!({ "email": "no-address" }),
        json!({ "email": "two@at@example.com" }),
        json!({ "username": "two words" }),
        json!({ "username": "emily@example.com" }),
        json!({ "username": "line\nbreak" }),
        json!({ "username": "zero\u{200b}width" }),
        json!({ "username": "m\u{0456}xed" }),
        json!({ "username": 7 }),
        json!({ "username": ["dan"] }),
    ];
    for identifiers in bad {
        assert_refused(&registered(&service, identifiers), 422, "invalid_fields");
    }
    let nameless = post(&service, "/auth/register", &json!({ "username": "dan" }));
    assert_refused(&nameless, 422, "invalid_fields");
}

fn every_identifier_signs_in_to_the_account(backend: Backend) {
    let service = backend.service().start();
    let body = json!({ "email": "emily@example.com", "username": "emily", "name": "emilia" });
    let id = registered(&service, body).json()["user"]["id"].clone();
    let opens = [
        ("identifier", "emily@example.com"),
        ("identifier", "emily"),
        ("identifier", "emilia"),
        ("email", "emily@example.com"),
        ("username", "emily"),
        ("name", "emilia"),
    ];
    for (field, value) in opens {
        let answer = post(&service, "/auth/login", &json!({ field: value, "password": PASSWORD }));
        assert_eq!(answer.status, 200, "{field} {value}: {}", answer.text());
        assert_eq!((&answer.json()["user"]["id"], &answer.json()["message"]), (&id, &"Login successful".into()));
    }
    for (field, value) in [("email", "emily"), ("name", "emily"), ("username", "emilia")] {
        let refused = post(&service, "/auth/login", &json!({ field: value, "password": PASSWORD }));
        assert_refused(&refused, 401, "invalid_credentials");
    }
    for body in [json!({ "password": PASSWORD }), json!({ "username": "emily" }), json!({})] {
        assert_refused(&post(&service, "/auth/login", &body), 422, "invalid_fields");
    }
}

fn a_name_and_a_pin_sign_in(backend: Backend) {
    let service = backend.service().start();
    add_with_pin(&service, "cooluser1", "0000");
    for field in ["name", "identifier"] {
        let answer = post(&service, "/auth/login", &json!({ field: "cooluser1", "pin": "0000" }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["user"]["name"], "cooluser1");
        Tokens::set_by(&answer).assert_valid(&service);
    }
    register(&service, "emily");
    let refused = [
        json!({ "name": "cooluser1", "pin": "0001" }),
        json!({ "name": "cooluser1", "pin": "00000" }),
        json!({ "name": "cooluser1", "password": "0000" }),
        json!({ "username": "emily", "pin": "0000" }),
    ];
    for body in refused {
        assert_refused(&post(&service, "/auth/login", &body), 401, "invalid_credentials");
    }
}

fn variants_of_a_name_are_one_account(backend: Backend) {
    let service = backend.service().start();
    let first = registered(&service, json!({ "username": "Emily-K", "email": "Emily@Example.com" }));
    assert_eq!(first.status, 201, "{}", first.text());
    let id = first.json()["user"]["id"].clone();
    for (field, variants) in [
        ("username", ["emily-k", "EMILY-K", "eMiLy-K"]),
        ("email", ["emily@example.com", "EMILY@EXAMPLE.COM", "eMily@exAmple.com"]),
    ] {
        for variant in variants {
            assert_refused(&registered(&service, json!({ field: variant })), 409, "identifier_taken");
            for field in [field, "identifier"] {
                let answer = post(&service, "/auth/login", &json!({ field: variant, "password": PASSWORD }));
                assert_eq!((answer.status, &answer.json()["user"]["id"]), (200, &id), "{field} {variant}");
            }
        }
    }
}

fn letters_that_fold_to_the_same_do_not_make_two_accounts(backend: Backend) {
    let service = backend.service().start();
    for plain in ["emily-k", "strasse", "office"] {
        assert_eq!(registered(&service, json!({ "username": plain })).status, 201);
    }
    // Fullwidth letters, the Kelvin sign, a ligature, a sharp s small and capital.
    for variant in ["ｅｍｉｌｙ-k", "emily-\u{212a}", "o\u{fb03}ce", "stra\u{df}e", "STRA\u{1e9e}E"] {
        let refused = registered(&service, json!({ "username": variant }));
        assert!([409, 422].contains(&refused.status), "{variant}: {}", refused.text());
    }
}

fn sign_up_with_a_taken_identifier_is_a_conflict(backend: Backend) {
    let service = backend.service().start();
    registered(&service, json!({ "username": "emily", "email": "emily@example.com", "name": "emilia" }));
    let rows = [
        json!({ "username": "emily" }),
        json!({ "email": "emily@example.com" }),
        json!({ "username": "emily", "email": "free@example.com" }),
        json!({ "username": "free", "email": "emily@example.com" }),
        json!({ "username": "free", "name": "emilia" }),
    ];
    for body in rows {
        assert_refused(&registered(&service, body), 409, "identifier_taken");
    }
    let free = registered(&service, json!({ "username": "free", "email": "free@example.com" }));
    assert_eq!(free.status, 201, "a refused registration takes nothing: {}", free.text());
}

fn sign_up_of_fifty_at_once_with_one_name_succeeds_once(backend: Backend) {
    // Every request may hash at the same time: load shedding (503) is tested elsewhere.
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("HASH_QUEUE", "64").start();
    let address = service.address();
    let answers = race(50, move |number| {
        let username = if number % 2 == 0 { "emily" } else { "EMILY" };
        let body = json!({ "username": username, "password": PASSWORD }).to_string();
        Request::new("POST", "/auth/register").json(&body).send(address)
    });
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_refused(answer, 409, "identifier_taken");
    }
    assert_eq!(count(&tables, &service, "accounts"), 1);
    assert_eq!(count(&tables, &service, "sessions"), 1);
}

fn count(tables: &Tables, service: &TestService, table: &str) -> i64 {
    tables.number(service, &format!("SELECT count(*) FROM {table}"))
}

/// The answer without the values that are new in every answer.
fn bare(answer: &Response) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.json();
    body["requestId"] = Value::Null;
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.to_lowercase().as_str()));
    // The server writes them in an order that is random for each answer.
    headers.sort_unstable();
    (answer.status, headers, body)
}

fn an_unknown_identifier_gets_the_answer_of_a_wrong_secret(backend: Backend) {
    let service = backend.service().start();
    let first = registered(&service, json!({ "username": "emily", "email": "emily@example.com", "name": "emilia" }));
    assert_eq!(first.status, 201);
    add_with_pin(&service, "cooluser1", "0000");
    let locked = registered(&service, json!({ "username": "locked" }));
    let id = doorward::core::AccountId(locked.json()["user"]["id"].as_i64().unwrap());
    service.core().set_status(id, AccountStatus::Locked).unwrap();
    let wrong = json!({ "username": "emily", "password": "not-this-lantern" });
    let expected = bare(&post(&service, "/auth/login", &wrong));
    assert_eq!((expected.0, &expected.2["code"]), (401, &"invalid_credentials".into()));
    let same = [
        json!({ "username": "nobody", "password": PASSWORD }),
        json!({ "email": "nobody@example.com", "password": PASSWORD }),
        json!({ "identifier": "not even a name", "password": PASSWORD }),
        json!({ "email": "no-address", "password": PASSWORD }),
        json!({ "name": "emilia", "pin": "0000" }),
        json!({ "name": "cooluser1", "password": "0000" }),
        json!({ "name": "nobody", "pin": "0000" }),
        json!({ "username": "locked", "password": "not-this-lantern" }),
        json!({ "username": "emily", "password": "short" }),
    ];
    let emily = json!({ "username": "emily", "password": PASSWORD });
    for body in same {
        assert_eq!(bare(&post(&service, "/auth/login", &body)), expected, "{body}");
        // A successful sign-in in between resets the throttle, which is tested elsewhere.
        assert_eq!(post(&service, "/auth/login", &emily).status, 200);
    }
}
