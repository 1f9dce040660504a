//! The profile: what an owner sees and may change, and what no request can set.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, assert_refused, on_both_backends, post, register, registered};

on_both_backends!(
    me_shows_the_account_and_no_secret,
    the_last_sign_in_is_shown,
    an_owner_changes_the_profile,
    an_invalid_profile_is_refused_as_a_whole,
    another_accounts_name_cannot_be_taken,
    another_accounts_username_cannot_be_taken_as_a_name,
    no_request_field_sets_a_role_a_status_or_an_id,
);

const KEYS: &str = "createdAt email emailVerified firstName gender id image lastName lastSignIn name permissions phone \
    profile role stats status updatedAt username uuid";

fn me_shows_the_account_and_no_secret(backend: Backend) {
    let service = backend.service().start();
    let mut browser = Browser::new(service.address());
    let body = json!({ "username": "emily", "email": "emily@example.com", "password": PASSWORD }).to_string();
    let registered = browser.post("/auth/register", &body).json()["user"].clone();
    let answer = browser.get("/auth/me");
    let me = answer.json();
    let mut keys: Vec<&str> = me.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys.join(" "), KEYS, "every key is always there, and no other");
    assert!(me["id"].is_u64() && me["permissions"] == json!([]) && me["stats"] == json!({}), "{me}");
    assert_eq!(me["uuid"].as_str().map(str::len), Some(36));
    assert_eq!((&me["email"], &me["emailVerified"]), (&json!("emily@example.com"), &json!(false)));
    assert_eq!((&me["username"], &me["role"], &me["status"]), (&json!("emily"), &json!("USER"), &json!("active")));
    for key in ["firstName", "lastName", "gender", "image", "phone", "name"] {
        assert_eq!(me[key], Value::Null, "{key}");
    }
    for key in ["createdAt", "updatedAt"] {
        assert!(me[key].as_str().is_some_and(|text| text.ends_with('Z') && text.len() == 24), "{key}: {}", me[key]);
    }
    assert_eq!(me, registered, "a registration answers the same");
    for secret in ["password", "pin", "$2", "hash", "epoch", PASSWORD] {
        assert!(!answer.text().to_lowercase().contains(secret), "{secret} in {me}");
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

fn the_last_sign_in_is_shown(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let first = browser.get("/auth/me").json();
    assert_eq!(first["lastSignIn"], first["createdAt"], "a registration signs in");
    service.advance(Duration::from_mins(1));
    let login = browser.post("/auth/login", &json!({ "username": "emily", "password": PASSWORD }).to_string());
    assert_eq!(login.json()["user"]["lastSignIn"], service.clock().now().rfc3339());
    service.advance(Duration::from_mins(1));
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    assert_eq!(browser.get("/auth/me").json(), login.json()["user"], "a refresh is none");
}

fn an_owner_changes_the_profile(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let before = browser.get("/auth/me").json();
    service.advance(Duration::from_mins(1));
    let change = json!({
        "name": "emilia", "firstName": "Émilie", "lastName": "O'Hara", "gender": "female",
        "image": "https://example.com/e.png", "phone": "+1 555 0100", "profile": { "age": 28, "address": { "city": "Ely" } },
    });
    let changed = browser.patch("/auth/me", &change.to_string());
    assert_eq!(changed.status, 200, "{}", changed.text());
    let mut expected = before.clone();
    expected.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    expected["updatedAt"] = changed.json()["updatedAt"].clone();
    assert_ne!(expected["updatedAt"], before["updatedAt"]);
    assert_eq!(changed.json(), expected);
    assert_eq!(browser.get("/auth/me").json(), expected);
    let named = post(&service, "/auth/login", &json!({ "name": "Emilia", "password": PASSWORD }));
    assert_eq!(named.status, 200, "the name opens the account");

    let one = browser.patch("/auth/me", r#"{"firstName":"Emily"}"#).json();
    assert_eq!((&one["firstName"], &one["lastName"]), (&json!("Emily"), &json!("O'Hara")), "absent keys stay");
    let keys = ["name", "firstName", "lastName", "gender", "image", "phone"];
    let nulls: Value =
        keys.iter().map(|key| ((*key).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
    let cleared = browser.patch("/auth/me", &nulls.to_string());
    assert_eq!(cleared.status, 200, "{}", cleared.text());
    assert!(keys.iter().all(|key| cleared.json()[*key].is_null()), "{}", cleared.text());
    assert_eq!(cleared.json()["username"], "emily");
    let gone = post(&service, "/auth/login", &json!({ "name": "emilia", "password": PASSWORD }));
    assert_refused(&gone, 401, "invalid_credentials");
}

fn an_invalid_profile_is_refused_as_a_whole(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let before = browser.get("/auth/me").json();
    let rows = [
        json!({ "image": "javascript:alert(1)" }),
        json!({ "image": "data:text/html,x" }),
        json!({ "image": "no url" }),
        json!({ "image": "//example.com/e.png" }),
        json!({ "image": 7 }),
        json!({ "nickname": "Em" }),
        json!({ "firstName": ["Emily"] }),
        json!({ "firstName": "line\nbreak" }),
        json!({ "firstName": "x".repeat(10_000) }),
        json!({ "profile": "text" }),
        json!({ "profile": [1] }),
        json!({ "name": "two\nlines" }),
    ];
    for mut body in rows {
        body["lastName"] = "Changed".into();
        assert_refused(&browser.patch("/auth/me", &body.to_string()), 422, "invalid_fields");
        assert_eq!(browser.get("/auth/me").json(), before, "{body}");
    }
    let unasked = Request::new("PATCH", "/auth/me").json(r#"{"firstName":"Eve"}"#).send(service.address());
    assert_refused(&unasked, 401, "token_missing");
}

fn another_accounts_name_cannot_be_taken(backend: Backend) {
    let service = backend.service().start();
    registered(&service, json!({ "username": "emily", "name": "emilia" }));
    let mut eve = register(&service, "eve");
    for name in ["emilia", "EMILIA"] {
        let refused = eve.patch("/auth/me", &json!({ "name": name, "firstName": "Eve" }).to_string());
        assert_refused(&refused, 409, "identifier_taken");
        assert_eq!(eve.get("/auth/me").json()["firstName"], Value::Null, "refused whole");
    }
    assert_refused(&registered(&service, json!({ "username": "emilia" })), 409, "identifier_taken");
}

/// An `identifier` at sign-in may be a username or a name: one text must not be both of two accounts.
fn another_accounts_username_cannot_be_taken_as_a_name(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    assert_refused(&registered(&service, json!({ "username": "bob", "name": "emily" })), 409, "identifier_taken");
    let mut eve = register(&service, "eve");
    for name in ["emily", "EMILY"] {
        let refused = eve.patch("/auth/me", &json!({ "name": name }).to_string());
        assert_eq!(refused.status, 409, "{name}: {}", refused.text());
    }
    let answer = post(&service, "/auth/login", &json!({ "identifier": "emily", "password": PASSWORD }));
    assert_eq!(answer.json()["user"]["username"], "emily");
}

fn no_request_field_sets_a_role_a_status_or_an_id(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let before = browser.get("/auth/me").json();
    let rows = [
        ("role", json!("ADMIN")),
        ("id", json!(1)),
        ("uuid", json!("00000000-0000-4000-8000-000000000000")),
        ("status", json!("active")),
        ("permissions", json!(["everything"])),
        ("isAdmin", json!(true)),
        ("is_admin", json!(true)),
        ("emailVerified", json!(true)),
        ("epoch", json!(7)),
        ("stats", json!({ "logins": 1 })),
        ("password_hash", json!("$2b$04$")),
        ("createdAt", json!("2020-01-01T00:00:00.000Z")),
        ("pin", json!("0000")),
        ("__proto__", json!({ "role": "ADMIN" })),
    ];
    for (key, value) in rows {
        let mut body = json!({ "username": "bob", "password": PASSWORD });
        body[key] = value.clone();
        assert_refused(&post(&service, "/auth/register", &body), 422, "invalid_fields");
        let change = json!({ "firstName": "Changed", key: value }).to_string();
        assert_refused(&browser.patch("/auth/me", &change), 422, "invalid_fields");
        let login = json!({ "username": "emily", "password": PASSWORD, key: body[key] });
        if key != "pin" {
            assert_refused(&post(&service, "/auth/login", &login), 422, "invalid_fields");
        }
        assert_eq!(browser.get("/auth/me").json(), before, "{key}");
    }
    assert_eq!(registered(&service, json!({ "username": "bob" })).status, 201, "nothing was made of it");
}
