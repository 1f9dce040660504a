//! The rate of writes, by account and for what protects the account by session, and the audit rows of writes that a client
//! can repeat in a loop.

use std::time::Duration;

use doorward::core::audit::{AuditFilter, AuditRecord};
use doorward::testing::TestService;
use serde_json::{Value, json};

use super::rate_wait_of as wait_of;
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, Tokens, on_both_backends, refresh_with, register, sign_in};

on_both_backends!(
    write_rate_caps_the_profile_changes_of_an_account,
    write_rate_counts_no_sign_in_refresh_read_or_invalid_change,
    write_rate_of_one_session_does_not_keep_the_owner_from_ending_it,
    write_rate_is_refused_in_the_shape_of_each_dialect,
    write_rate_survives_junk_of_other_kinds,
    write_audit_rows_of_a_minute_are_one_with_a_count,
    write_audit_rows_of_security_events_stay_exact,
);

fn service(backend: Backend, rate: &str) -> TestService {
    backend.service().set("WRITE_RATE", rate).set("TRUSTED_PROXIES", "127.0.0.1").start()
}

fn patch(browser: &mut Browser, number: usize) -> Response {
    browser.patch("/auth/me", &json!({ "firstName": format!("Emily{number}") }).to_string())
}

fn change(current: &str) -> String {
    json!({ "currentPassword": current, "newPassword": "another-long-one" }).to_string()
}

fn write_rate_caps_the_profile_changes_of_an_account(backend: Backend) {
    let service = service(backend, "3/1m");
    let (mut one, mut bob) = (register(&service, "emily"), register(&service, "bob"));
    let mut two = sign_in(&service, "emily");
    let statuses: Vec<u16> = (0..3).map(|n| patch(if n == 1 { &mut two } else { &mut one }, n).status).collect();
    assert_eq!(statuses, [200; 3]);
    assert_eq!(wait_of(&patch(&mut one, 9)), 20);
    assert_eq!(wait_of(&patch(&mut two, 9)), 20, "by whichever session");
    assert_eq!(one.get("/auth/me").json()["firstName"], "Emily2", "nothing was written");
    assert_eq!(patch(&mut bob, 1).status, 200, "another account is not concerned");
    service.advance(Duration::from_secs(19));
    assert_eq!(wait_of(&patch(&mut one, 9)), 1);
    service.advance(Duration::from_secs(1));
    assert_eq!((patch(&mut two, 9).status, wait_of(&patch(&mut one, 9))), (200, 20));
}

fn write_rate_counts_no_sign_in_refresh_read_or_invalid_change(backend: Backend) {
    let service = service(backend, "1/1h");
    let mut browser = register(&service, "emily");
    for _ in 0..5 {
        let mut other = sign_in(&service, "emily");
        assert_eq!(browser.post("/auth/refresh", "{}").status, 200);
        assert_eq!(browser.get("/auth/me").status, 200);
        assert_eq!(browser.get("/auth/sessions").status, 200);
        assert_eq!(browser.patch("/auth/me", r#"{"image":"javascript:alert(1)"}"#).status, 422);
        assert_eq!(other.post("/auth/logout", "{}").status, 200, "a sign-out is never refused");
    }
    assert_eq!(patch(&mut browser, 1).status, 200);
    assert_eq!(wait_of(&patch(&mut browser, 2)), 3600);
    assert_eq!(browser.post("/auth/logout-all", "{}").status, 200);
}

fn write_rate_of_one_session_does_not_keep_the_owner_from_ending_it(backend: Backend) {
    let service = service(backend, "2/1h");
    let (mut thief, mut owner) = (register(&service, "emily"), sign_in(&service, "emily"));
    (0..2).for_each(|n| assert_eq!(patch(&mut thief, n).status, 200));
    (0..2).for_each(|_| assert_eq!(thief.post("/auth/change-password", &change("wrong-wrong")).status, 403));
    wait_of(&thief.post("/auth/change-password", &change(PASSWORD)));
    let of_owner = crate::support::decode_jwt(&Tokens::in_jar_of(&owner).access).1["sid"].as_str().unwrap().to_owned();
    wait_of(&thief.delete(&format!("/auth/sessions/{of_owner}")));
    wait_of(&patch(&mut owner, 3));
    let of_thief = crate::support::decode_jwt(&Tokens::in_jar_of(&thief).access).1["sid"].as_str().unwrap().to_owned();
    assert_eq!(owner.delete(&format!("/auth/sessions/{of_thief}")).status, 200);
    Tokens::in_jar_of(&thief).assert_invalid(&service);
    assert_eq!(owner.post("/auth/change-password", &change(PASSWORD)).status, 200);
}

fn write_rate_is_refused_in_the_shape_of_each_dialect(backend: Backend) {
    let service = backend.service().set("WRITE_RATE", "1/1h").set("DIALECTS", "native,envelope").start();
    let mut browser = register(&service, "emily");
    assert_eq!(browser.post("/auth/change-password", &change("wrong-wrong")).status, 403);
    assert_eq!(wait_of(&browser.post("/auth/change-password", &change("wrong-wrong"))), 3600);
    let account = json!({ "email": "bob@example.test", "password": PASSWORD }).to_string();
    let registered = Request::new("POST", "/envelope/auth/register").json(&account).send(service.address());
    let access = registered.json()["data"]["accessToken"].as_str().unwrap().to_owned();
    let body = json!({ "oldPassword": "wrong-wrong", "newPassword": "another-long-one" }).to_string();
    let change =
        || Request::new("POST", "/envelope/auth/change-password").bearer(&access).json(&body).send(service.address());
    assert_eq!(change().status, 401);
    let refused = change();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3600")), "{}", refused.text());
    assert_eq!((&refused.json()["success"], &refused.json()["data"]), (&Value::Bool(false), &Value::Null));
}

fn write_rate_survives_junk_of_other_kinds(backend: Backend) {
    let limits = backend.service().set("WRITE_RATE", "1/1h").set("THROTTLE_SIGN_UPS", "5/1h");
    let service = limits.set("THROTTLE_REFRESHES", "2/1s").start();
    let mut browser = register(&service, "emily");
    assert_eq!(patch(&mut browser, 1).status, 200);
    for second in 1..=5 {
        let junk: Vec<u16> = (0..3).map(|_| refresh_with(&service, "junk").status).collect();
        assert_eq!(junk, [401, 401, 429]);
        service.advance(Duration::from_secs(1));
        assert_eq!(wait_of(&patch(&mut browser, 2)), 3600 - second);
    }
    let sign_ups: Vec<u16> =
        (0..6).map(|n| crate::support::registered(&service, json!({ "username": format!("new{n}") })).status).collect();
    assert_eq!(sign_ups, [201, 201, 201, 201, 429, 429], "and the other way round");
}

fn changes(service: &TestService) -> Vec<(i64, Option<String>)> {
    let filter = AuditFilter { kind: Some("profile_change".to_owned()), ..AuditFilter::default() };
    let mut rows: Vec<AuditRecord> = service.core().list_events(&filter, 1000).unwrap();
    rows.reverse();
    rows.into_iter().map(|row| (row.count, row.address)).collect()
}

fn write_audit_rows_of_a_minute_are_one_with_a_count(backend: Backend) {
    let service = service(backend, "60/1m");
    let (browser, mut bob) = (register(&service, "emily"), register(&service, "bob"));
    let access = Tokens::in_jar_of(&browser).access;
    let change = |address: &str| {
        let request = Request::new("PATCH", "/auth/me").bearer(&access).header("x-forwarded-for", address);
        assert_eq!(request.json(r#"{"firstName":"Em"}"#).send(service.address()).status, 200);
    };
    let row = |count, address: &str| (count, Some(address.to_owned()));
    (0..7).for_each(|_| change("192.0.2.1"));
    assert_eq!(changes(&service), [row(7, "192.0.2.1")]);
    // From where is not lost.
    change("192.0.2.2");
    change("192.0.2.1");
    assert_eq!(patch(&mut bob, 1).status, 200);
    let first_minute = [row(8, "192.0.2.1"), row(1, "192.0.2.2"), row(1, "127.0.0.1")];
    assert_eq!(changes(&service), first_minute);
    service.advance(Duration::from_secs(60));
    (0..2).for_each(|_| change("192.0.2.1"));
    assert_eq!(changes(&service), [first_minute.as_slice(), &[row(2, "192.0.2.1")]].concat());
    let metrics = service.core().metrics_text().unwrap();
    assert!(metrics.contains(r#"doorward_events_total{kind="profile_change"} 12"#), "each is counted");
}

fn write_audit_rows_of_security_events_stay_exact(backend: Backend) {
    let service = service(backend, "60/1m");
    let mut browser = register(&service, "emily");
    for _ in 0..4 {
        sign_in(&service, "emily");
        browser.post("/auth/login", r#"{"username":"emily","password":"wrong-wrong"}"#);
        assert_eq!(browser.post("/auth/change-password", &change("wrong-wrong")).status, 403);
    }
    for kind in ["sign_in", "sign_in_refused", "secret_change_refused"] {
        let filter = AuditFilter { kind: Some(kind.to_owned()), ..AuditFilter::default() };
        let rows = service.core().list_events(&filter, 1000).unwrap();
        assert!(rows.len() == 4 && rows.iter().all(|row| row.count == 1), "{kind}: {rows:?}");
    }
}
