//! Several nodes on one database and one keys file, before they have received each other's changes; and sessions used
//! through more than one mount.

use std::time::Duration;

use doorward::testing::{Builder, TestService};
use serde_json::json;

use crate::support::http::{Browser, Request};
use crate::support::{
    Backend, PASSWORD, Tables, Tokens, code, expiry_of, is_accepted, on_both_backends, race, register, sign_in,
};

on_both_backends!(
    a_repeated_logout_is_answered_only_once_this_node_knows_the_first,
    concurrent_sign_ins_after_a_raised_cost_all_succeed,
    a_database_with_accounts_gets_no_new_pepper,
    a_late_refresh_of_a_replaced_session_clears_no_cookie,
    a_revocation_lasts_as_long_as_the_longest_token_of_any_mount,
    the_last_identifier_of_an_account_cannot_be_removed,
);

/// Another node on the same database and keys.
pub fn beside(first: &TestService, tables: &Tables) -> Builder {
    let database = match tables {
        Tables::Sqlite => format!("sqlite://{}", first.folder().join("doorward.db").display()),
        Tables::Postgres(url) => url.clone(),
    };
    let keys = first.folder().join("doorward.keys").display().to_string();
    TestService::builder().set("DATABASE_URL", database).set("KEYS_FILE", keys)
}

fn a_repeated_logout_is_answered_only_once_this_node_knows_the_first(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let first = builder.start();
    let second = beside(&first, &tables).start();
    register(&first, "emily");
    for path in ["/auth/logout", "/auth/logout-all"] {
        for round in 0..20 {
            let tokens = Tokens::in_jar_of(&sign_in(&first, "emily"));
            let body = json!({ "refreshToken": tokens.refresh }).to_string();
            for node in [&first, &second] {
                let answer = Request::new("POST", path).json(&body).send(node.address());
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(!is_accepted(node, &tokens.access), "{path}, round {round}");
            }
        }
    }
}

fn concurrent_sign_ins_after_a_raised_cost_all_succeed(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let first = builder.start();
    register(&first, "emily");
    let second = beside(&first, &tables).set("BCRYPT_COST", "6").start();
    let to = second.address();
    let statuses = race(8, move |_| {
        let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
        Request::new("POST", "/auth/login").json(&body).send(to).status
    });
    assert_eq!(statuses, [200; 8]);
}

fn a_database_with_accounts_gets_no_new_pepper(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let first = builder.start();
    register(&first, "emily");
    let elsewhere = first.folder().join("elsewhere.keys");
    let refused = beside(&first, &tables).set("KEYS_FILE", elsewhere.display().to_string()).try_start();
    let why = refused.err().expect("a start without the keys").to_string();
    assert!(why.starts_with("KEYS_FILE: ") && why.contains("restore it"), "{why}");
    assert!(!elsewhere.exists(), "and none are made");
}

fn a_late_refresh_of_a_replaced_session_clears_no_cookie(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let mut late = browser.clone();
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    assert_eq!(browser.post("/auth/login", &body).status, 200);
    let refused = late.post_empty("/auth/refresh");
    assert_eq!((refused.status, code(&refused).as_str()), (401, "token_invalid"));
    assert!(refused.set_cookies().is_empty(), "the jar is one, and holds the new session's");
    assert_eq!(browser.get("/auth/me").status, 200);
}

fn a_revocation_lasts_as_long_as_the_longest_token_of_any_mount(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    register(&service, "emily");
    let sign_in = json!({ "username": "emily", "password": PASSWORD, "expiresInMins": 43200 }).to_string();
    let long = Tokens::in_jar_of(&{
        let mut browser = Browser::new(service.address());
        assert_eq!(browser.post("/flat/auth/login", &sign_in).status, 200);
        browser
    });
    let body = json!({ "refreshToken": long.refresh }).to_string();
    let refreshed = Request::new("POST", "/auth/refresh").json(&body).send(service.address());
    assert_eq!(refreshed.status, 200, "native's own tokens live for minutes");
    assert_eq!(Request::new("POST", "/auth/logout").json(&body).send(service.address()).status, 200);
    let until = tables.number(&service, "SELECT max(expires_at) FROM revocations");
    assert!(until >= expiry_of(&long.access) * 1000, "{until}");
    service.advance(Duration::from_secs(20 * 24 * 3600));
    service.core().purge().unwrap();
    assert!(!is_accepted(&service, &long.access));
}

fn the_last_identifier_of_an_account_cannot_be_removed(backend: Backend) {
    let service = backend.service().demo().start();
    let mut browser = Browser::new(service.address());
    assert_eq!(browser.post("/auth/login", r#"{"name":"cooluser1","pin":"0000"}"#).status, 200);
    let refused = browser.patch("/auth/me", r#"{"name":null}"#);
    assert_eq!((refused.status, code(&refused).as_str()), (422, "invalid_fields"));
    assert_eq!(browser.get("/auth/me").json()["name"], "cooluser1");
}
