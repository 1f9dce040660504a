//! Replayed refreshes: a replay returns the rotation that it repeats and writes nothing, unless it returns a token with
//! a longer lifetime.

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use super::{AFTER_GRACE, refreshed};
use crate::support::http::Response;
use crate::support::{Backend, Tokens, decode_jwt, is_accepted, on_both_backends, post, refresh_with, register};

on_both_backends!(
    a_replay_writes_nothing,
    a_replay_with_a_longer_lifetime_is_stored_so_that_its_revocation_lasts,
    a_replay_in_another_token_shape_works,
    a_replay_states_the_remaining_lifetime,
    a_replay_returns_no_expired_token,
    every_access_token_is_unique,
);

const WRITTEN: &str = "SELECT max(last_seen_at) FROM sessions";
const NOTED: &str = "SELECT max(access_expires_at) FROM sessions";

fn a_replay_writes_nothing(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = refreshed(&service, &first.refresh);
    let written = tables.number(&service, WRITTEN);
    service.advance(Duration::from_secs(2));
    assert_eq!(refreshed(&service, &first.refresh), second);
    assert_eq!(tables.number(&service, WRITTEN), written, "fifty tabs are one write");
    service.advance(Duration::from_secs(60));
    assert_ne!(refreshed(&service, &first.refresh).access, second.access);
    assert_eq!(tables.number(&service, WRITTEN), written + 62_000, "another access token is noted");
}

/// The answer of the mount flat to a refresh token, with a lifetime in minutes.
fn from_flat(service: &TestService, token: &str, minutes: u32) -> Response {
    post(service, "/flat/auth/refresh", &json!({ "refreshToken": token, "expiresInMins": minutes }))
}

fn a_replay_with_a_longer_lifetime_is_stored_so_that_its_revocation_lasts(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.demo().start();
    let login = json!({ "username": "emilys", "password": "emilyspass", "expiresInMins": 1 });
    let first = post(&service, "/flat/auth/login", &login).json()["refreshToken"].as_str().unwrap().to_owned();
    for minutes in [5, 120, 30] {
        let answer = from_flat(&service, &first, minutes);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let access = answer.json()["accessToken"].as_str().unwrap().to_owned();
        let end = decode_jwt(&access).1["exp"].as_i64().unwrap() * 1000;
        let noted = tables.number(&service, NOTED);
        assert!(noted >= end, "{minutes} minutes: the row says {noted}, the token lives until {end}");
        assert!(is_accepted(&service, &access));
    }
}

fn a_replay_in_another_token_shape_works(backend: Backend) {
    let service = backend.service().demo().start();
    let login = json!({ "username": "emilys", "password": "emilyspass", "tokens": "body" });
    let first = post(&service, "/auth/login", &login).json()["refreshToken"].as_str().unwrap().to_owned();
    refreshed(&service, &first);
    let envelope = |token: &str| {
        let answer = post(&service, "/envelope/auth/refresh-token", &json!({ "refreshToken": token }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"]["refreshToken"].as_str().unwrap().to_owned()
    };
    let opaque = envelope(&first);
    assert_eq!(opaque.len(), 36, "{opaque}");
    assert_ne!(envelope(&opaque), opaque, "it is known, and rotates");
}

/// `Max-Age` of the access cookie of a refresh.
fn lives(answer: &Response) -> i64 {
    let cookie = answer.set_cookies().into_iter().find(|cookie| cookie.name == "accessToken").unwrap();
    let age = cookie.attributes.iter().find_map(|attribute| attribute.strip_prefix("Max-Age=").map(ToOwned::to_owned));
    age.unwrap().parse().unwrap()
}

/// Commit latency below a second is not deducted; a whole second is.
fn a_replay_states_the_remaining_lifetime(backend: Backend) {
    let service = backend.service().set("ACCESS_TTL", "15m").start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let lifetimes = [0, 500, 499, 1, 2_000].map(|step| {
        service.advance(Duration::from_millis(step));
        lives(&refresh_with(&service, &first.refresh))
    });
    assert_eq!(lifetimes, [900, 900, 900, 899, 897]);
}

fn a_replay_returns_no_expired_token(backend: Backend) {
    let service = backend.service().set("ACCESS_TTL", "5s").set("REFRESH_GRACE", "10s").start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = refreshed(&service, &first.refresh);
    let end = decode_jwt(&second.access).1["exp"].as_i64().unwrap() * 1000;
    let left = u64::try_from(end - service.clock().now().as_millis()).unwrap();
    service.advance(Duration::from_millis(left - 1));
    assert_eq!(refreshed(&service, &first.refresh), second);
    // The token has expired at this second; the grace has not.
    service.advance(Duration::from_millis(1));
    let third = refreshed(&service, &first.refresh);
    assert!(third.refresh == second.refresh && is_accepted(&service, &third.access));
}

/// Even those issued in the same second for one session and generation.
fn every_access_token_is_unique(backend: Backend) {
    let service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    refreshed(&service, &first.refresh);
    service.advance(AFTER_GRACE);
    let made = [(); 5].map(|()| refreshed(&service, &first.refresh).access);
    let mut ids: Vec<String> = made.iter().map(|access| decode_jwt(access).1["jti"].to_string()).collect();
    assert!(ids.iter().all(|id| id.len() > 20), "beyond guessing: {ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), made.len(), "{made:?}");
}
