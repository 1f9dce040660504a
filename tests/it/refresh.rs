//! Refresh: a token always gets the same successor, a lost answer ends no session, and reuse of a stolen token ends its
//! session as soon as its owner has moved on.

mod lost_responses;
mod replays;

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Request, Response};
use crate::support::{
    Backend, SETTLED, Tokens, code, decode_jwt, is_accepted, on_both_backends, race, refresh_with, register, rotated,
    sign_in,
};

on_both_backends!(
    fifty_concurrent_refreshes_get_the_same_bytes_and_end_nothing,
    tabs_that_refresh_together_stay_signed_in,
    a_replay_within_the_grace_gets_the_same_bytes,
    reuse_of_a_stolen_token_ends_the_session_once_its_owner_moved_on,
    reuse_by_the_owner_ends_the_session_of_a_thief_who_came_first,
    the_grace_starts_at_the_first_use_of_the_successor,
    the_grace_is_a_setting,
    a_successor_is_confirmed_by_any_use_of_its_tokens,
    delivery_confirmations_survive_a_restart,
    reuse_of_an_older_generation_ends_the_session_without_grace,
    a_token_in_the_body_overrides_the_cookie,
    neither_token_is_accepted_in_place_of_the_other,
    a_replay_after_a_restart_gets_the_same_bytes,
    a_signing_key_rotation_ends_no_session,
    forged_refresh_tokens_are_refused_and_end_nothing,
    metrics_count_each_outcome_once,
);

const REUSES: &str = "SELECT count(*) FROM audit_events WHERE kind = 'refresh_reuse'";

/// Just longer than the grace.
const AFTER_GRACE: Duration = Duration::from_millis(30_001);

fn refreshed(service: &TestService, token: &str) -> Tokens {
    let answer = refresh_with(service, token);
    let tokens = Tokens::after_refresh(&answer, token);
    assert!(answer.json().get("accessToken").is_none(), "a token in an HttpOnly cookie is in no body");
    tokens
}

fn generation(tokens: &Tokens) -> i64 {
    let of = |token: &str| decode_jwt(token).1["gen"].as_i64().unwrap();
    assert_eq!(of(&tokens.access), of(&tokens.refresh), "both tokens are of one generation");
    of(&tokens.refresh)
}

/// Fails unless the answer reports reuse and clears the cookies.
fn assert_reuse(answer: &Response) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(code(answer), "refresh_token_reused");
    let cleared: Vec<String> = answer.set_cookies().iter().filter(|c| c.is_cleared()).map(|c| c.name.clone()).collect();
    assert_eq!(cleared, ["accessToken", "refreshToken"], "{:?}", answer.headers_named("Set-Cookie"));
}

fn fifty_concurrent_refreshes_get_the_same_bytes_and_end_nothing(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let mut tokens = Tokens::in_jar_of(&register(&service, "emily"));
    for round in 1..=3 {
        let request = Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={}", tokens.refresh));
        let address = service.address();
        let answers = race(50, move |_| request.send(address));
        let all: Vec<Tokens> = answers.iter().map(Tokens::set_by).collect();
        let first = all[0].clone();
        assert!(all.iter().all(|tokens| *tokens == first), "round {round}: {all:?}");
        assert_ne!(first.refresh, tokens.refresh);
        assert_eq!(generation(&first), round, "fifty refreshes are one rotation");
        assert!(is_accepted(&service, &first.access));
        service.advance(SETTLED);
        tokens = first;
    }
    tokens.assert_valid(&service);
    assert_eq!(tables.number(&service, REUSES), 0);
}

fn tabs_that_refresh_together_stay_signed_in(backend: Backend) {
    let service = backend.service().start();
    let mut jar = Tokens::in_jar_of(&register(&service, "emily"));
    for round in 0..25 {
        service.advance(Duration::from_mins(14));
        let (address, token) = (service.address(), jar.refresh.clone());
        // Some tabs use their tokens immediately, so that the successor is confirmed while others still send the
        // parent.
        let answers = race(6, move |tab| {
            let cookie = format!("refreshToken={token}");
            let answer = Request::new("POST", "/auth/refresh").cookie_header(&cookie).send(address);
            let tokens = Tokens::after_refresh(&answer, &token);
            let used = tab % 2 == 0;
            let me = Request::new("GET", "/auth/me").bearer(&tokens.access);
            (tokens, if used { me.send(address).status } else { 200 })
        });
        assert!(answers.iter().all(|answer| *answer == (answers[0].0.clone(), 200)), "round {round}: {answers:?}");
        jar = answers[0].0.clone();
    }
    jar.assert_valid(&service);
}

fn a_replay_within_the_grace_gets_the_same_bytes(backend: Backend) {
    let service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = refreshed(&service, &first.refresh);
    for step in [0, 1, 3_000, 4_500] {
        service.advance(Duration::from_millis(step));
        assert_eq!(refreshed(&service, &first.refresh), second, "{step} ms later");
    }
    assert!(is_accepted(&service, &second.access));
    for step in [0, 1, 2_000, 27_999] {
        service.advance(Duration::from_millis(step));
        assert_eq!(refreshed(&service, &first.refresh), second, "{step} ms later, the child in use");
    }
    second.assert_valid(&service);
}

fn reuse_of_a_stolen_token_ends_the_session_once_its_owner_moved_on(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let stolen = Tokens::in_jar_of(&register(&service, "emily"));
    let elsewhere = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let newest = refreshed(&service, &stolen.refresh);
    assert!(is_accepted(&service, &newest.access), "the owner moves on");
    service.advance(AFTER_GRACE);
    assert_eq!(tables.number(&service, REUSES), 0);
    assert_reuse(&refresh_with(&service, &stolen.refresh));
    assert_eq!(tables.number(&service, REUSES), 1);
    newest.assert_invalid(&service);
    assert!(!is_accepted(&service, &stolen.access));
    assert_eq!(refresh_with(&service, &stolen.refresh).status, 401, "no second chance");
    elsewhere.assert_valid(&service);
}

fn reuse_by_the_owner_ends_the_session_of_a_thief_who_came_first(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let mut owner = register(&service, "emily");
    let mut thief = owner.clone();
    assert_eq!(thief.post_empty("/auth/refresh").status, 200);
    assert_eq!(thief.get("/auth/me").status, 200);
    service.advance(Duration::from_mins(10));
    assert_eq!(thief.post_empty("/auth/refresh").status, 200);
    let taken = Tokens::in_jar_of(&thief);
    assert!(is_accepted(&service, &taken.access));
    assert_reuse(&owner.post_empty("/auth/refresh"));
    assert_eq!(owner.cookie("refreshToken"), None);
    taken.assert_invalid(&service);
    assert_eq!(thief.post_empty("/auth/refresh").status, 401);
    assert_eq!(tables.number(&service, REUSES), 1);
}

fn the_grace_starts_at_the_first_use_of_the_successor(backend: Backend) {
    let service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let child = refreshed(&service, &first.refresh);
    service.advance(Duration::from_mins(10));
    assert!(is_accepted(&service, &child.access), "confirmed now, ten minutes after it was made");
    service.advance(Duration::from_secs(15));
    assert!(is_accepted(&service, &child.access), "a second use begins nothing anew");
    service.advance(Duration::from_millis(14_999));
    assert_eq!(refreshed(&service, &first.refresh).refresh, child.refresh);
    service.advance(Duration::from_millis(2));
    assert_reuse(&refresh_with(&service, &first.refresh));
}

fn the_grace_is_a_setting(backend: Backend) {
    let service = backend.service().set("REFRESH_GRACE", "2s").start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let child = refreshed(&service, &first.refresh);
    assert!(is_accepted(&service, &child.access));
    service.advance(Duration::from_millis(1_999));
    assert_eq!(refreshed(&service, &first.refresh), child);
    service.advance(Duration::from_millis(2));
    assert_reuse(&refresh_with(&service, &first.refresh));
}

fn a_successor_is_confirmed_by_any_use_of_its_tokens(backend: Backend) {
    type Use = fn(&TestService, &Tokens) -> u16;
    let service = backend.service().start();
    register(&service, "emily");
    let uses: [(&str, Use); 3] = [
        ("bearer", |service, child| {
            Request::new("GET", "/auth/me").bearer(&child.access).send(service.address()).status
        }),
        ("cookie", |service, child| {
            let cookie = format!("accessToken={}", child.access);
            Request::new("GET", "/auth/sessions").cookie_header(&cookie).send(service.address()).status
        }),
        ("refresh", |service, child| refresh_with(service, &child.refresh).status),
    ];
    for (name, use_child) in uses {
        let first = Tokens::in_jar_of(&sign_in(&service, "emily"));
        let child = refreshed(&service, &first.refresh);
        assert_eq!(use_child(&service, &child), 200, "{name}");
        service.advance(AFTER_GRACE);
        assert_reuse(&refresh_with(&service, &first.refresh));
        child.assert_invalid(&service);
    }
}

fn delivery_confirmations_survive_a_restart(backend: Backend) {
    let mut service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let child = refreshed(&service, &first.refresh);
    assert!(is_accepted(&service, &child.access));
    service.core().flush_confirmations().unwrap();
    service.restart();
    service.advance(AFTER_GRACE);
    assert_reuse(&refresh_with(&service, &first.refresh));
    child.assert_invalid(&service);
}

fn reuse_of_an_older_generation_ends_the_session_without_grace(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = refreshed(&service, &first.refresh);
    let third = rotated(&service, &second);
    assert_reuse(&refresh_with(&service, &first.refresh));
    third.assert_invalid(&service);
    second.assert_invalid(&service);
    assert_eq!(tables.number(&service, REUSES), 1);
    // A client that sends it in the body has no session cookies.
    let body = json!({ "refreshToken": first.refresh }).to_string();
    let in_body = Request::new("POST", "/auth/refresh").json(&body).send(service.address());
    assert_eq!(in_body.status, 401, "{}", in_body.text());
    assert!(in_body.set_cookies().is_empty());
}

fn a_token_in_the_body_overrides_the_cookie(backend: Backend) {
    let service = backend.service().start();
    let emily = Tokens::in_jar_of(&register(&service, "emily"));
    let bob = Tokens::in_jar_of(&register(&service, "bob"));
    let both = |body: &str, cookie: &Tokens| {
        let request = Request::new("POST", "/auth/refresh").json(&json!({ "refreshToken": body }).to_string());
        request.cookie_header(&format!("refreshToken={}", cookie.refresh)).send(service.address())
    };
    for bad in ["rubbish", "a.b.c", &emily.access] {
        let refused = both(bad, &emily);
        assert_eq!(refused.status, 401, "{bad:?} was rescued by a good cookie");
        assert!(refused.set_cookies().is_empty(), "the cookie was not the question");
    }
    let answer = both(&bob.refresh, &emily);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let access = answer.json()["accessToken"].as_str().unwrap().to_owned();
    let me = Request::new("GET", "/auth/me").bearer(&access).send(service.address());
    assert_eq!(me.json()["username"], "bob");
    assert_eq!(generation(&refreshed(&service, &emily.refresh)), 1, "the cookie's session was left alone");
}

fn neither_token_is_accepted_in_place_of_the_other(backend: Backend) {
    let service = backend.service().start();
    let tokens = Tokens::in_jar_of(&register(&service, "emily"));
    let access_cookie = format!("accessToken={}", tokens.refresh);
    let body = json!({ "refreshToken": tokens.access }).to_string();
    let refused = [
        Request::new("GET", "/auth/me").bearer(&tokens.refresh),
        Request::new("GET", "/auth/me").cookie_header(&access_cookie),
        Request::new("GET", "/auth/sessions").cookie_header(&access_cookie),
        Request::new("POST", "/auth/refresh").json(&body),
        Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={}", tokens.access)),
    ];
    for request in refused {
        let answer = request.send(service.address());
        assert_eq!((answer.status, code(&answer).as_str()), (401, "token_invalid"), "{request:?}");
        assert_eq!(answer.header("www-authenticate").map(|value| value.starts_with("Bearer")), Some(true));
        assert!(answer.set_cookies().is_empty());
    }
    tokens.assert_valid(&service);
}

fn a_replay_after_a_restart_gets_the_same_bytes(backend: Backend) {
    let mut service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = refreshed(&service, &first.refresh);
    service.restart();
    assert_eq!(refreshed(&service, &first.refresh), second);
    service.advance(Duration::from_secs(59));
    service.restart();
    assert_eq!(refreshed(&service, &first.refresh), second);
    assert!(is_accepted(&service, &second.access));
    service.core().flush_confirmations().unwrap();
    service.advance(SETTLED);
    let third = refreshed(&service, &second.refresh);
    service.restart();
    third.assert_valid(&service);
    assert_reuse(&refresh_with(&service, &first.refresh));
}

fn a_signing_key_rotation_ends_no_session(backend: Backend) {
    let service = backend.service().start();
    let old = Tokens::in_jar_of(&register(&service, "emily"));
    let parent = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let child = refreshed(&service, &parent.refresh);
    let kid = |token: &str| decode_jwt(token).0["kid"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let key = service.core().rotate_signing_key(None).unwrap().id;
        service.core().sync().unwrap();
        // A new key signs once every node has had the time to read it.
        service.advance(Duration::from_secs(2));
        service.core().sync().unwrap();
        assert!(is_accepted(&service, &old.access), "an access token outlives the change of keys");
        assert_eq!(
            refreshed(&service, &parent.refresh).refresh,
            child.refresh,
            "a repeat gets the bytes it got before"
        );
        let new = Tokens::in_jar_of(&sign_in(&service, "emily"));
        assert_eq!((kid(&new.access), kid(&new.refresh)), (key.clone(), key.clone()), "new sessions use the new key");
        assert_ne!(kid(&old.access), key);
    }
    let next = refreshed(&service, &old.refresh);
    assert_eq!(refreshed(&service, &old.refresh), next);
    next.assert_valid(&service);
    child.assert_valid(&service);
}

fn forged_refresh_tokens_are_refused_and_end_nothing(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let ours = Tokens::in_jar_of(&register(&service, "emily"));
    let foreign = Tokens::in_jar_of(&register(&TestService::start(), "emily"));
    let [header, claims, signature]: [&str; 3] =
        ours.refresh.split('.').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("no JWT"));
    let [_, newer, _]: [&str; 3] =
        foreign.refresh.split('.').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("no JWT"));
    let forged = [
        foreign.refresh.clone(),
        format!("{header}.{newer}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}A"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        String::new(),
        "a".repeat(3000),
    ];
    for token in forged {
        let body = json!({ "refreshToken": token }).to_string();
        let refused = Request::new("POST", "/auth/refresh").json(&body).send(service.address());
        assert_eq!(refused.status, 401, "{token}: {}", refused.text());
        assert_eq!(refresh_with(&service, &token).status, 401, "{token}");
    }
    ours.assert_valid(&service);
    assert_eq!(tables.number(&service, REUSES), 0);
}

fn metrics_count_each_outcome_once(backend: Backend) {
    let service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let second = refreshed(&service, &first.refresh);
    refreshed(&service, &first.refresh);
    assert!(is_accepted(&service, &second.access));
    service.advance(AFTER_GRACE);
    // Reuse, which ends the session, and then a refusal.
    for spent in [&first.refresh, &second.refresh] {
        assert_eq!(refresh_with(&service, spent).status, 401);
    }
    let text = service.core().metrics_text().unwrap();
    let counted = |outcome: &str| text.contains(&format!("doorward_refreshes_total{{outcome=\"{outcome}\"}} 1\n"));
    for outcome in ["rotated", "replayed", "reuse_detected", "refused"] {
        assert!(counted(outcome), "{outcome}: {text}");
    }
}
