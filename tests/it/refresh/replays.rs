//! Replayed refreshes: a replay returns the rotation that it repeats and writes nothing, unless it returns a token with
//! a longer lifetime.

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use super::refreshed;
use crate::support::http::{Request, Response};
use crate::support::{
    Backend, Tokens, decode_jwt, is_accepted, on_both_backends, post, refresh_with, register, sign_in,
};

on_both_backends!(
    a_replay_writes_nothing,
    a_replay_with_a_longer_lifetime_is_stored_so_that_its_revocation_lasts,
    a_session_keeps_its_token_shape_at_every_mount,
    no_mount_makes_an_access_token_outlive_the_sessions_own_policy,
    a_mount_without_a_place_for_a_new_refresh_token_leaves_the_generation,
    a_mount_that_does_not_rotate_returns_the_same_refresh_token,
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
    let waiting = refreshed(&service, &first.refresh);
    assert!(waiting.access != second.access && waiting.refresh == first.refresh);
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

/// The session keeps the token shape of the mount that it began at, whichever mount is asked.
fn a_session_keeps_its_token_shape_at_every_mount(backend: Backend) {
    let service = backend.service().demo().start();
    let login = json!({ "username": "emilys", "password": "emilyspass", "tokens": "body" });
    let first = post(&service, "/auth/login", &login).json()["refreshToken"].as_str().unwrap().to_owned();
    let native = refreshed(&service, &first);
    let envelope = |token: &str| {
        let answer = post(&service, "/envelope/auth/refresh-token", &json!({ "refreshToken": token }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"]["refreshToken"].as_str().unwrap().to_owned()
    };
    assert_eq!(envelope(&first), native.refresh, "the same successor, as native signs it");
    let enter = json!({ "email": "emily.johnson@x.dummyjson.com", "password": "emilyspass" });
    let begun = post(&service, "/envelope/auth/login", &enter);
    assert_eq!(begun.status, 200, "{}", begun.text());
    let opaque = begun.json()["data"]["refreshToken"].as_str().unwrap().to_owned();
    let at_native = post(&service, "/auth/refresh", &json!({ "refreshToken": opaque }));
    assert_eq!(at_native.status, 200, "{}", at_native.text());
    let successor = at_native.json()["refreshToken"].as_str().unwrap().to_owned();
    assert!(successor.len() == 36 && successor != opaque, "{successor}");
    assert_eq!(envelope(&opaque), successor);
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
    let second = refreshed(&service, &first.refresh);
    let made = [(); 5].map(|()| refreshed(&service, &second.refresh).access);
    let mut ids: Vec<String> = made.iter().map(|access| decode_jwt(access).1["jti"].to_string()).collect();
    assert!(ids.iter().all(|id| id.len() > 20), "beyond guessing: {ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), made.len(), "{made:?}");
}

/// A lifetime that a request asks for counts at the mount that has such requests, and up to what its sign-in asked for.
fn no_mount_makes_an_access_token_outlive_the_sessions_own_policy(backend: Backend) {
    let service = backend.service().demo().set("ACCESS_TTL", "5m").start();
    let now = || service.clock().now().seconds();
    let life = |access: &str| decode_jwt(access).1["exp"].as_i64().unwrap() - now();
    let access = |answer: &Response| answer.json()["accessToken"].as_str().unwrap().to_owned();
    let login = json!({ "username": "emilys", "password": "emilyspass", "tokens": "body" });
    let native = post(&service, "/auth/login", &login).json()["refreshToken"].as_str().unwrap().to_owned();
    for minutes in [1, 60, 43_200] {
        let answer = from_flat(&service, &native, minutes);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(life(&access(&answer)), 300, "{minutes} minutes asked for a session of native");
    }
    for (asked, cap) in [(None, 60), (Some(10), 60), (Some(600), 600)] {
        let mut login = json!({ "username": "emilys", "password": "emilyspass" });
        asked.inspect(|minutes| login["expiresInMins"] = (*minutes).into());
        let begun = post(&service, "/flat/auth/login", &login);
        let token = begun.json()["refreshToken"].as_str().unwrap().to_owned();
        assert_eq!(life(&access(&begun)), asked.unwrap_or(60) * 60);
        assert_eq!(life(&access(&from_flat(&service, &token, 43_200))), cap * 60, "{asked:?}");
        assert_eq!(life(&access(&from_flat(&service, &token, 7))), 7 * 60);
        let elsewhere = post(&service, "/auth/refresh", &json!({ "refreshToken": token }));
        assert_eq!(life(&access(&elsewhere)), 3600, "flat's own lifetime at native");
    }
}

fn a_mount_without_a_place_for_a_new_refresh_token_leaves_the_generation(backend: Backend) {
    let service = backend.service().demo().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = refreshed(&service, &first.refresh);
    let at_pin = |token: &str| {
        let cookie = format!("refreshToken={token}");
        Request::new("POST", "/pin/auth/refresh").cookie_header(&cookie).send(service.address())
    };
    for _ in 0..3 {
        service.advance(Duration::from_hours(1));
        let answer = at_pin(&second.refresh);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let names: Vec<String> = answer.set_cookies().into_iter().map(|cookie| cookie.name).collect();
        assert_eq!(names, ["accessToken"]);
    }
    for spent in [&first.refresh, &first.refresh] {
        assert_eq!(at_pin(spent).status, 401, "a spent token gets nothing there, and ends nothing");
    }
    service.advance(Duration::from_hours(24));
    assert_eq!(at_pin(&second.refresh).status, 401, "a generation is not renewed for ever");
    assert_ne!(refreshed(&service, &second.refresh).refresh, second.refresh);
}

fn a_mount_that_does_not_rotate_returns_the_same_refresh_token(backend: Backend) {
    let mounts = ["NATIVE", "FLAT", "STORE", "SIGNIN", "ENVELOPE"];
    let builder =
        mounts.iter().fold(backend.service(), |builder, name| builder.set(&format!("{name}_ROTATES"), "false"));
    let service = builder.set("REFRESH_TTL", "7d").demo().start();
    let flat = post(&service, "/flat/auth/login", &json!({ "username": "emilys", "password": "emilyspass" }));
    let flat_refresh = |token: &str| post(&service, "/flat/auth/refresh", &json!({ "refreshToken": token }));
    let emily = json!({ "email": "emily.johnson@x.dummyjson.com", "password": "emilyspass" });
    let envelope = post(&service, "/envelope/auth/login", &emily).json()["data"].clone();
    let native = Tokens::in_jar_of(&register(&service, "emily"));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (first_flat, first_envelope) = (text(&flat.json()["refreshToken"]), text(&envelope["refreshToken"]));
    let mut accesses = vec![native.access.clone(), text(&flat.json()["accessToken"])];
    for day in 1..=6 {
        service.advance(Duration::from_hours(24));
        let answer = refresh_with(&service, &native.refresh);
        assert_eq!(answer.status, 200, "day {day}: {}", answer.text());
        let set: Vec<_> = answer.set_cookies().into_iter().filter(|cookie| cookie.name == "refreshToken").collect();
        assert!(set.iter().all(|cookie| cookie.value == native.refresh), "day {day}");
        accesses.push(Tokens::after_refresh(&answer, &native.refresh).access);
        let answer = flat_refresh(&first_flat);
        assert_eq!(answer.status, 200, "day {day}: {}", answer.text());
        assert_eq!(answer.json()["refreshToken"], json!(first_flat), "day {day}");
        accesses.push(text(&answer.json()["accessToken"]));
        let body = json!({ "refreshToken": first_envelope });
        let answer = post(&service, "/envelope/auth/refresh-token", &body);
        assert_eq!(answer.status, 200, "day {day}: {}", answer.text());
        assert_eq!(answer.json()["data"]["refreshToken"], json!(first_envelope), "day {day}");
    }
    let count = accesses.len();
    accesses.sort();
    accesses.dedup();
    assert_eq!(accesses.len(), count, "each access token is new");
    assert_eq!(post(&service, "/auth/logout", &json!({ "refreshToken": native.refresh })).status, 200);
    assert_eq!(refresh_with(&service, &native.refresh).status, 401);
    let other = Tokens::in_jar_of(&sign_in(&service, "emily"));
    service.advance(Duration::from_hours(7 * 24));
    assert_eq!(refresh_with(&service, &other.refresh).status, 401, "the expiry is in the token");
    assert_eq!(flat_refresh(&first_flat).status, 200, "flat's own lifetime is 30 days");
    service.advance(Duration::from_hours(17 * 24));
    assert_eq!(flat_refresh(&first_flat).status, 403, "{} days", 6 + 7 + 17);
}
