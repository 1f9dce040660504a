//! Passwords: why one is refused, which rules do not exist, the cost of overlong ones, and what is stored.

use serde_json::json;

use super::{beside, metric, register_with, registered, sign_in_with};
use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, code, on_both_backends, register};

on_both_backends!(
    a_common_password_is_refused_with_the_reason_and_a_part_of_one_is_not,
    the_names_of_service_and_user_are_refused_as_passwords,
    no_composition_rules_apply,
    an_overlong_new_password_is_refused_before_any_hashing,
    a_stored_hash_names_its_scheme_and_its_pepper,
    a_raised_cost_rehashes_at_the_next_sign_in,
    without_the_pepper_the_rows_verify_no_password,
    no_route_sets_another_accounts_password,
);

/// The message of a field.
fn reason(answer: &Response, field: &str) -> String {
    assert_eq!((answer.status, code(answer).as_str()), (422, "invalid_fields"));
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    let error = errors.iter().find(|error| error["field"] == field).unwrap_or_else(|| panic!("{errors:?}"));
    error["message"].as_str().unwrap().to_owned()
}

fn a_common_password_is_refused_with_the_reason_and_a_part_of_one_is_not(backend: Backend) {
    let service = backend.service().start();
    for listed in ["playstation", "Playstation", "PLAYSTATION"] {
        let why = reason(&register_with(&service, "emily", listed), "password");
        assert!(why.contains("common"), "{why}");
    }
    // The list is of whole passwords: a password that contains a listed one, or is part of one, is another password.
    assert_eq!(register_with(&service, "emily", "laystation").status, 201);
    assert_eq!(register_with(&service, "emil", "playstation of harbours").status, 201);
}

fn the_names_of_service_and_user_are_refused_as_passwords(backend: Backend) {
    let service = backend.service().start();
    let body = |email: &str, username: &str, password: &str| {
        let body = json!({ "email": email, "username": username, "password": password }).to_string();
        Request::new("POST", "/auth/register").json(&body).send(service.address())
    };
    for password in
        ["doorward", "Doorward", "doorward2026", "harbourmaster", "rotserauobrah", "retsamruobrah", "emily.lantern"]
    {
        let answer = body("emily.lantern@example.com", "harbourmaster", password);
        let refused = password != "rotserauobrah";
        assert_eq!(answer.status == 422, refused, "{password}: {}", answer.text());
        if refused {
            assert!(!reason(&answer, "password").is_empty());
        }
    }
}

fn no_composition_rules_apply(backend: Backend) {
    let service = backend.service().set("PASSWORD_MIN_LENGTH", "15").start();
    for (name, password) in [
        ("spaces", "a b c d e f g h"),
        ("cyrillic", "приветприветмир"),
        ("digits", "202611211405199"),
        ("lower", "quietharbourlan"),
        ("upper", "QUIETHARBOURLAN"),
        ("signs", "!\"#$%&'()*+,-./"),
        ("kanji", "静かな港の灯台守は夜も眠らない"),
    ] {
        let answer = register_with(&service, name, password);
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
        assert_eq!(sign_in_with(&service, name, password).status, 200, "{name}");
    }
}

fn an_overlong_new_password_is_refused_before_any_hashing(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let hashed = metric(&service, "doorward_password_hash_seconds_count");
    let overlong = "quiet harbour ".repeat(1000);
    assert!(reason(&register_with(&service, "bob", &overlong), "password").contains("128"));
    let change = json!({ "currentPassword": PASSWORD, "newPassword": overlong }).to_string();
    assert!(!reason(&browser.post("/auth/change-password", &change), "newPassword").is_empty());
    assert_eq!(metric(&service, "doorward_password_hash_seconds_count"), hashed, "nothing was hashed for them");
    // At a sign-in it is an ordinary wrong password: a different answer would reveal nothing that the policy does not.
    assert_eq!(sign_in_with(&service, "emily", &overlong).status, 401);
}

fn a_stored_hash_names_its_scheme_and_its_pepper(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    registered(&service, "emily");
    let like = |pattern: &str| {
        tables.number(&service, &format!("SELECT count(*) FROM accounts WHERE password LIKE '{pattern}'"))
    };
    // Scheme, pepper id and cost: what a later version needs to verify and replace it.
    assert_eq!(like("hmac-bcrypt:p-%:$2b$04$%"), 1);
    assert_eq!(like(&format!("%{PASSWORD}%")), 0);
}

fn a_raised_cost_rehashes_at_the_next_sign_in(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    registered(&service, "emily");
    let of_cost = |cost: &str| {
        tables.number(
            &service,
            &format!("SELECT count(*) FROM accounts WHERE password LIKE 'hmac-bcrypt:%:$2b${cost}$%'"),
        )
    };
    let dearer = beside(&service, &tables).set("BCRYPT_COST", "5").start();
    assert_eq!(sign_in_with(&dearer, "emily", "not-this-lantern").status, 401);
    assert_eq!((of_cost("04"), of_cost("05")), (1, 0), "a wrong password changes nothing");
    assert_eq!(sign_in_with(&dearer, "emily", PASSWORD).status, 200);
    assert_eq!((of_cost("04"), of_cost("05")), (0, 1));
    assert_eq!(sign_in_with(&dearer, "emily", PASSWORD).status, 200);
}

fn without_the_pepper_the_rows_verify_no_password(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    registered(&service, "emily");
    // An attacker with a dump runs doorward itself on it, with other keys; that a start with them is refused does not stop him.
    tables.run(&service, "DELETE FROM nodes");
    let keys = service.folder().join("thief.keys").display().to_string();
    let thief =
        beside(&service, &tables).set("KEYS_FILE", keys).set("PEPPER", "zQ4mWv8RtYc2Lk6NfHs0Xb9GpDj3Ue7AoTi5KyVw1Er");
    let thief = thief.set("JWT_SECRET", "bX7nPq3RtYc2Lk6NfHs0Xb9GpDj3Ue7AoTi5KyVw1Es").start();
    assert_eq!(sign_in_with(&thief, "emily", PASSWORD).status, 401);
    assert_eq!(sign_in_with(&service, "emily", PASSWORD).status, 200);
}

fn no_route_sets_another_accounts_password(backend: Backend) {
    let service = backend.service().start();
    registered(&service, "bob");
    let mut browser = register(&service, "emily");
    for field in ["id", "account", "username", "userId", "sub"] {
        let change = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern", field: "1" });
        let refused = browser.post("/auth/change-password", &change.to_string());
        assert_eq!((refused.status, code(&refused).as_str()), (422, "invalid_fields"), "{field}");
    }
    let refused = browser.patch("/auth/me", &json!({ "password": "another-harbour-lantern" }).to_string());
    assert_eq!(refused.status, 422);
    for name in ["bob", "emily"] {
        assert_eq!(sign_in_with(&service, name, PASSWORD).status, 200);
    }
}
