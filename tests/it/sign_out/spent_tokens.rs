//! Spent tokens at a sign-out: a refresh token that its session has moved on from, that a later one voided, or that a change of
//! the password replaced ends nothing, and neither does an access token that was revoked with it.

use std::time::Duration;

use doorward::SessionId;
use doorward::testing::TestService;
use serde_json::json;

use super::post_with;
use crate::support::http::{Browser, Request};
use crate::support::{
    Backend, PASSWORD, SETTLED, Tokens, decode_jwt, is_accepted, on_both_backends, post, refresh_with, register,
    rotated, sign_in,
};

on_both_backends!(
    a_spent_refresh_token_signs_nobody_out,
    a_void_refresh_token_signs_nobody_out,
    tokens_from_before_a_password_change_sign_nobody_out,
    a_spent_token_as_a_cookie_replaces_no_session,
    an_unshown_predecessor_still_signs_out,
    a_revoked_access_token_of_a_live_session_signs_nobody_out,
    a_session_that_ended_with_all_others_does_not_end_again,
);

/// Fails unless no way of signing out with this refresh token ends a session.
fn assert_ends_nothing(service: &TestService, spent: &str, alive: &[&Tokens]) {
    let body = json!({ "refreshToken": spent }).to_string();
    for path in ["/auth/logout", "/auth/logout-all"] {
        let in_body = Request::new("POST", path).json(&body).send(service.address());
        let cookie = format!("refreshToken={spent}");
        let as_cookie = Request::new("POST", path).cookie_header(&cookie).send(service.address());
        for answer in [in_body, as_cookie] {
            assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        }
        for tokens in alive {
            assert!(is_accepted(service, &tokens.access), "{path} ended a session");
        }
    }
}

fn a_spent_refresh_token_signs_nobody_out(backend: Backend) {
    let service = backend.service().start();
    let elsewhere = Tokens::in_jar_of(&register(&service, "emily"));
    let mut made = vec![Tokens::in_jar_of(&sign_in(&service, "emily"))];
    for _ in 0..5 {
        made.push(rotated(&service, made.last().unwrap()));
    }
    let current = made.last().unwrap().clone();
    assert!(is_accepted(&service, &current.access));
    service.advance(SETTLED);
    for spent in made.iter().take(5) {
        assert_ends_nothing(&service, &spent.refresh, &[&current, &elsewhere]);
    }
    current.assert_valid(&service);
    elsewhere.assert_valid(&service);
}

fn a_void_refresh_token_signs_nobody_out(backend: Backend) {
    let service = backend.service().start();
    let owner = Tokens::in_jar_of(&register(&service, "emily"));
    let hidden = Tokens::after_refresh(&refresh_with(&service, &owner.refresh), &owner.refresh);
    service.advance(Duration::from_millis(120_001));
    let current = Tokens::after_refresh(&refresh_with(&service, &owner.refresh), &owner.refresh);
    assert_ends_nothing(&service, &hidden.refresh, &[&current]);
    let by_access = Request::new("POST", "/auth/logout").bearer(&hidden.access).send(service.address());
    assert_eq!(by_access.status, 401, "{}", by_access.text());
    current.assert_valid(&service);
}

fn tokens_from_before_a_password_change_sign_nobody_out(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let old = Tokens::in_jar_of(&browser);
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern" }).to_string();
    assert_eq!(browser.post("/auth/change-password", &body).status, 200);
    let current = Tokens::in_jar_of(&browser);
    assert_ends_nothing(&service, &old.refresh, &[&current]);
    for path in ["/auth/logout", "/auth/logout-all"] {
        let by_access = Request::new("POST", path).bearer(&old.access).send(service.address());
        assert_eq!(by_access.status, 401, "{path}: {}", by_access.text());
    }
    current.assert_valid(&service);
}

fn a_spent_token_as_a_cookie_replaces_no_session(backend: Backend) {
    let service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = rotated(&service, &first);
    let current = rotated(&service, &second);
    assert!(is_accepted(&service, &current.access));
    service.advance(SETTLED);
    for (user, stale) in [("mallory", &first), ("bob", &second)] {
        register(&service, user);
        let login = json!({ "username": user, "password": PASSWORD }).to_string();
        let cookie = format!("refreshToken={}", stale.refresh);
        let answer = Request::new("POST", "/auth/login").cookie_header(&cookie).json(&login).send(service.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(is_accepted(&service, &current.access), "{user}'s sign-in ended emily's session");
    }
    current.assert_valid(&service);
}

/// The successor has not been presented: its predecessor is what the browser holds.
fn an_unshown_predecessor_still_signs_out(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    for wait in [0, 90_000, 1_000_000] {
        let tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
        let unshown = Tokens::after_refresh(&refresh_with(&service, &tokens.refresh), &tokens.refresh);
        service.advance(Duration::from_millis(wait));
        let answer = post(&service, "/auth/logout", &json!({ "refreshToken": tokens.refresh }));
        assert_eq!(answer.status, 200, "{wait}: {}", answer.text());
        unshown.assert_invalid(&service);
    }
}

/// The envelope mount revokes older access tokens at a rotation.
fn a_revoked_access_token_of_a_live_session_signs_nobody_out(backend: Backend) {
    let service = backend.service().set("DIALECTS", "native,envelope").start();
    let register = json!({ "email": "ada@example.org", "password": PASSWORD, "name": "Ada" });
    let begun = post(&service, "/envelope/auth/register", &register);
    assert_eq!(begun.status, 201, "{}", begun.text());
    let login = post(&service, "/envelope/auth/login", &json!({ "email": "ada@example.org", "password": PASSWORD }));
    let token = |name: &str, answer: &crate::support::http::Response| {
        answer.json()["data"][name].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
    };
    let old = token("accessToken", &login);
    let body = json!({ "refreshToken": token("refreshToken", &login) });
    let rotated = post(&service, "/envelope/auth/refresh-token", &body);
    let current = token("accessToken", &rotated);
    for path in ["/auth/logout", "/auth/logout-all", "/envelope/auth/logout-all"] {
        let answer = Request::new("POST", path).bearer(&old).send(service.address());
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert!(is_accepted(&service, &current), "{path}");
    }
    let mut browser = Browser::new(service.address());
    assert_eq!(browser.get("/auth/me").status, 401);
    let tokens = Tokens { access: current, refresh: String::new() };
    assert_eq!(post_with("/auth/logout", &tokens).send(service.address()).status, 200);
    assert!(!is_accepted(&service, &tokens.access));
}

fn a_session_that_ended_with_all_others_does_not_end_again(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let one = Tokens::in_jar_of(&register(&service, "emily"));
    let other = Tokens::in_jar_of(&sign_in(&service, "emily"));
    assert_eq!(post_with("/auth/logout-all", &one).send(service.address()).status, 200);
    let written =
        || tables.number(&service, "SELECT (SELECT count(*) FROM audit_events) + (SELECT count(*) FROM revocations)");
    let before = written();
    for tokens in [&one, &other] {
        assert_eq!(post_with("/auth/logout", tokens).send(service.address()).status, 200, "a repetition");
        let session = decode_jwt(&tokens.access).1["sid"].as_str().unwrap().parse().unwrap();
        let refused = service.core().end_session_as_operator(SessionId(session));
        assert!(refused.is_err(), "there is no such live session");
        assert_eq!(written(), before);
        tokens.assert_invalid(&service);
    }
}
