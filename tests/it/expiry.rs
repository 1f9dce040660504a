//! Expiry of tokens and sessions: each ends at its exact second, lifetimes are settings, and neither a clock set back
//! nor a purge revives an ended session.

use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::{AccountId, AccountStatus};
use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Browser, Request, Response};
use crate::support::{
    Backend, PASSWORD, Tables, Tokens, code, expiry_of, is_accepted, on_both_backends, refresh_with, register, rotated,
    sign_in,
};

on_both_backends!(
    an_access_token_expires_at_its_exp_and_a_refresh_issues_another,
    an_idle_session_expires,
    a_session_expires_absolutely_however_often_it_is_refreshed,
    lifetimes_are_settings,
    a_clock_set_back_revives_no_signed_out_session,
    a_purge_and_a_clock_set_back_revive_nothing,
    revocations_are_purged_a_day_after_the_last_token_they_concern,
    a_revocation_outlasts_every_token_that_it_ends,
    sessions_are_purged_a_day_after_their_end,
    a_refreshed_session_is_never_purged,
    a_restart_keeps_every_logout,
    a_restart_revives_no_session_ended_in_another_way,
);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn me(service: &TestService, access: &str) -> Response {
    Request::new("GET", "/auth/me").bearer(access).send(service.address())
}

fn logout(service: &TestService, tokens: &Tokens) {
    let answer = Request::new("POST", "/auth/logout").bearer(&tokens.access).send(service.address());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn tokens_of(service: &TestService, username: &str) -> Tokens {
    Tokens::in_jar_of(&sign_in(service, username))
}

fn assert_expired(answer: &Response) {
    assert_eq!((answer.status, code(answer).as_str()), (401, "token_expired"));
    assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
}

fn an_access_token_expires_at_its_exp_and_a_refresh_issues_another(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    for _ in 0..3 {
        let access = Tokens::in_jar_of(&browser).access;
        let end = expiry_of(&access);
        assert_eq!(end - service.clock().now().seconds(), 900, "a quarter of an hour");
        service.clock().set(Timestamp::from_millis(end * 1000 - 1));
        assert_eq!(browser.get("/auth/me").status, 200);
        service.clock().set(Timestamp::from_seconds(end));
        assert_expired(&me(&service, &access));
        assert_expired(&browser.get("/auth/me"));
        assert_eq!(browser.post_empty("/auth/refresh").status, 200);
        assert_eq!(browser.get("/auth/me").status, 200);
        assert_expired(&me(&service, &access));
    }
}

fn an_idle_session_expires(backend: Backend) {
    let service = backend.service().set("REFRESH_TTL", "1h").start();
    let mut browser = register(&service, "emily");
    for _ in 0..3 {
        service.advance(HOUR.checked_sub(SECOND).unwrap());
        assert_eq!(browser.post_empty("/auth/refresh").status, 200, "each refresh begins the hour anew");
        assert_eq!(browser.get("/auth/me").status, 200);
    }
    let refresh = Tokens::in_jar_of(&browser).refresh;
    service.advance(HOUR);
    let refused = browser.post_empty("/auth/refresh");
    assert_eq!(refused.status, 401, "{}", refused.text());
    let cleared = refused.set_cookies().iter().filter(|cookie| cookie.is_cleared()).count();
    assert_eq!(cleared, 2, "a session that is over for good takes its cookies with it");
    assert_eq!(refresh_with(&service, &refresh).status, 401);
}

fn a_session_expires_absolutely_however_often_it_is_refreshed(backend: Backend) {
    let service = backend.service().set("REFRESH_TTL", "1h").set("SESSION_MAX_AGE", "2h").start();
    let mut browser = register(&service, "emily");
    let end = service.clock().now().plus(2 * HOUR).seconds();
    for step in 1..12 {
        service.advance(10 * MINUTE);
        assert_eq!(browser.post_empty("/auth/refresh").status, 200, "after {step}0 minutes");
        let Tokens { access, refresh } = Tokens::in_jar_of(&browser);
        assert!(expiry_of(&access) <= end && expiry_of(&refresh) <= end, "no token outlives its session");
        assert_eq!(browser.get("/auth/me").status, 200);
    }
    service.advance((10 * MINUTE).checked_sub(SECOND).unwrap());
    assert_eq!(browser.get("/auth/me").status, 200);
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    let last = Tokens::in_jar_of(&browser);
    service.advance(SECOND);
    assert_eq!(me(&service, &last.access).status, 401);
    assert_eq!(browser.post_empty("/auth/refresh").status, 401);
    assert_eq!(refresh_with(&service, &last.refresh).status, 401);
}

type Settings = &'static [(&'static str, &'static str)];

fn lifetimes_are_settings(backend: Backend) {
    let rows: [(Settings, i64, i64); 7] = [
        (&[], 15 * 60, 30 * 86_400),
        (&[("ACCESS_TTL", "2m")], 120, 30 * 86_400),
        (&[("ACCESS_TTL", "2m"), ("NATIVE_ACCESS_TTL", "3m")], 180, 30 * 86_400),
        (&[("REFRESH_TTL", "7d")], 900, 7 * 86_400),
        (&[("REFRESH_TTL", "7d"), ("NATIVE_REFRESH_TTL", "8d")], 900, 8 * 86_400),
        (&[("SESSION_MAX_AGE", "1d")], 900, 86_400),
        (&[("SESSION_MAX_AGE", "5m")], 300, 300),
    ];
    for (settings, access, refresh) in rows {
        let service = settings.iter().fold(backend.service(), |all, (name, value)| all.set(name, *value)).start();
        let now = service.clock().now().seconds();
        let mut browser = register(&service, "emily");
        for _ in 0..2 {
            let tokens = Tokens::in_jar_of(&browser);
            assert_eq!(
                (expiry_of(&tokens.access) - now, expiry_of(&tokens.refresh) - now),
                (access, refresh),
                "{settings:?}"
            );
            let answer = browser.post_empty("/auth/refresh");
            assert_eq!(answer.json()["expiresIn"], access, "{settings:?}");
        }
        service.clock().set(Timestamp::from_millis((now + access) * 1000 - 1));
        let last = Tokens::in_jar_of(&browser);
        assert!(is_accepted(&service, &last.access), "{settings:?}");
        service.advance(Duration::from_millis(1));
        assert_expired(&me(&service, &last.access));
        service.clock().set(Timestamp::from_seconds(now + refresh));
        assert_eq!(refresh_with(&service, &last.refresh).status, 401, "{settings:?}");
    }
}

fn a_clock_set_back_revives_no_signed_out_session(backend: Backend) {
    let mut service = backend.service().start();
    register(&service, "emily");
    service.advance(12 * HOUR);
    let noon = service.clock().now();
    for back in [SECOND, MINUTE, HOUR, 10 * HOUR] {
        service.clock().set(noon);
        let parent = tokens_of(&service, "emily");
        let child = Tokens::set_by(&refresh_with(&service, &parent.refresh));
        service.advance(MINUTE);
        logout(&service, &child);
        service.clock().set(service.clock().now().minus(back));
        for tokens in [&parent, &child] {
            tokens.assert_invalid(&service);
        }
        service.restart();
        for tokens in [&parent, &child] {
            tokens.assert_invalid(&service);
        }
    }
}

fn a_purge_and_a_clock_set_back_revive_nothing(backend: Backend) {
    let mut service = backend.service().set("REFRESH_TTL", "2h").set("SESSION_MAX_AGE", "4h").start();
    register(&service, "emily");
    let start = service.clock().now();
    // Before each expiry of these tokens: of the access token, of the idle session, of the session.
    for past in [15 * MINUTE, 2 * HOUR, 4 * HOUR] {
        service.clock().set(start);
        let (one, everywhere) = (tokens_of(&service, "emily"), tokens_of(&service, "emily"));
        logout(&service, &one);
        let answer = Request::new("POST", "/auth/logout-all").bearer(&everywhere.access).send(service.address());
        assert_eq!(answer.status, 200);
        service.clock().set(start.plus(past + 23 * HOUR));
        service.core().purge().unwrap();
        service.clock().set(start.plus(past).minus(MINUTE));
        for tokens in [&one, &everywhere] {
            tokens.assert_invalid(&service);
        }
        service.restart();
        for tokens in [&one, &everywhere] {
            tokens.assert_invalid(&service);
        }
    }
}

/// The rows left in a table after a purge.
fn left(tables: &Tables, service: &TestService, table: &str) -> i64 {
    service.core().purge().unwrap();
    tables.number(service, &format!("SELECT count(*) FROM {table}"))
}

fn revocations_are_purged_a_day_after_the_last_token_they_concern(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("ACCESS_TTL", "15m").start();
    register(&service, "emily");
    let start = service.clock().now();
    let tokens = tokens_of(&service, "emily");
    logout(&service, &tokens);
    let everywhere = tokens_of(&service, "emily");
    Request::new("POST", "/auth/logout-all").bearer(&everywhere.access).send(service.address());
    assert_eq!(left(&tables, &service, "revocations"), 2);
    service.clock().set(start.plus(15 * MINUTE + DAY).minus(SECOND));
    assert_eq!(left(&tables, &service, "revocations"), 2);
    // Cache and table are bounded by the lifetime of access tokens, not of sessions.
    service.clock().set(start.plus(15 * MINUTE + DAY + SECOND));
    assert_eq!(
        left(&tables, &service, "revocations"),
        1,
        "that of all sessions outlasts what any mount of any node may issue while it is written"
    );
    service.clock().set(start.plus(DAY + MINUTE + DAY).minus(SECOND));
    assert_eq!(left(&tables, &service, "revocations"), 1);
    service.clock().set(start.plus(DAY + MINUTE + DAY + SECOND));
    assert_eq!(left(&tables, &service, "revocations"), 0);
    for tokens in [&tokens, &everywhere] {
        tokens.assert_invalid(&service);
    }
}

/// Of an account whose only session ends: no other one makes the revocation last.
fn a_revocation_outlasts_every_token_that_it_ends(backend: Backend) {
    type End = fn(&TestService, &mut Browser);
    let ends: [(&str, End); 6] = [
        ("logout", |_, browser| assert_eq!(browser.post_empty("/auth/logout").status, 200)),
        ("logout-all", |_, browser| assert_eq!(browser.post_empty("/auth/logout-all").status, 200)),
        ("password", |_, browser| {
            let body = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern" }).to_string();
            assert_eq!(browser.post("/auth/change-password", &body).status, 200);
        }),
        ("role", |service, _| service.core().set_role(account_of(service, "role"), "ADMIN").unwrap()),
        ("status", |service, _| {
            for status in [AccountStatus::Locked, AccountStatus::Active] {
                service.core().set_status(account_of(service, "status"), status).unwrap();
            }
        }),
        ("byoperator", |service, _| {
            service.core().end_all_sessions_as_operator(account_of(service, "byoperator")).unwrap();
        }),
    ];
    let service = backend.service().start();
    for (name, end) in ends {
        let mut browser = register(&service, name);
        // Renewed later than it began.
        service.advance(10 * MINUTE);
        assert_eq!(browser.post_empty("/auth/refresh").status, 200);
        let access = Tokens::in_jar_of(&browser).access;
        assert!(is_accepted(&service, &access), "{name}");
        end(&service, &mut browser);
        while service.clock().now().seconds() < expiry_of(&access) {
            service.core().purge().unwrap();
            assert!(
                !is_accepted(&service, &access),
                "{name}: {} s",
                expiry_of(&access) - service.clock().now().seconds()
            );
            service.advance(MINUTE);
        }
    }
}

fn account_of(service: &TestService, username: &str) -> AccountId {
    service.core().find_account_by(username).unwrap().id
}

fn sessions_are_purged_a_day_after_their_end(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("REFRESH_TTL", "1h").set("SESSION_MAX_AGE", "2h").start();
    let start = service.clock().now();
    let idle = Tokens::in_jar_of(&register(&service, "emily"));
    let ended = tokens_of(&service, "emily");
    logout(&service, &ended);
    service.clock().set(start.plus(DAY).minus(SECOND));
    assert_eq!(left(&tables, &service, "sessions"), 2);
    service.clock().set(start.plus(HOUR + DAY).minus(SECOND));
    assert_eq!(left(&tables, &service, "sessions WHERE ended_at IS NULL"), 1, "its end is an hour later");
    // A step back within the day by which purges lag behind.
    service.clock().set(start.plus(HOUR).minus(SECOND));
    ended.assert_invalid(&service);
    Tokens::set_by(&refresh_with(&service, &idle.refresh));
    service.clock().set(start.plus(2 * HOUR + DAY + SECOND));
    let alive = tokens_of(&service, "emily");
    assert_eq!(left(&tables, &service, "sessions"), 1);
    alive.assert_valid(&service);
    idle.assert_invalid(&service);
}

fn a_refreshed_session_is_never_purged(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("REFRESH_TTL", "1h").set("SESSION_MAX_AGE", "90d").start();
    let mut browser = register(&service, "emily");
    for _ in 0..60 {
        service.advance(HOUR.checked_sub(SECOND).unwrap());
        assert_eq!(left(&tables, &service, "sessions"), 1);
        assert_eq!(browser.post_empty("/auth/refresh").status, 200);
        assert_eq!(browser.get("/auth/me").status, 200);
    }
    Tokens::in_jar_of(&browser).assert_valid(&service);
}

fn a_restart_keeps_every_logout(backend: Backend) {
    let mut service = backend.service().start();
    let ended = Tokens::in_jar_of(&register(&service, "emily"));
    let stays = tokens_of(&service, "emily");
    logout(&service, &ended);
    for _ in 0..2 {
        service.restart();
        ended.assert_invalid(&service);
        assert!(is_accepted(&service, &stays.access), "a session survives a restart");
    }
    stays.assert_valid(&service);
}

fn a_restart_revives_no_session_ended_in_another_way(backend: Backend) {
    let mut service = backend.service().start();
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let everywhere = Request::new("POST", "/auth/logout-all").bearer(&first.access).send(service.address());
    assert_eq!(everywhere.status, 200);
    let stolen = tokens_of(&service, "emily");
    let second = Tokens::set_by(&refresh_with(&service, &stolen.refresh));
    let third = rotated(&service, &second);
    let reuse = refresh_with(&service, &stolen.refresh);
    assert_eq!((reuse.status, code(&reuse).as_str()), (401, "refresh_token_reused"));
    service.restart();
    for tokens in [&first, &stolen, &second, &third] {
        tokens.assert_invalid(&service);
    }
    tokens_of(&service, "emily").assert_valid(&service);
}
