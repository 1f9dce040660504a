//! Clock steps: the clock is wrong by hours in either direction for a while, with purges and restarts at the wrong
//! time. Ended sessions stay ended, and live ones are refused at most until the clock is right again.

use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::{AccountId, AccountStatus};
use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Browser, Request, Response};
use crate::support::{
    Backend, PASSWORD, Tokens, code, is_accepted, on_both_backends, refresh_with, register, rotated, sign_in,
};

on_both_backends!(
    sessions_ended_before_a_step_stay_ended,
    sessions_ended_during_a_step_stay_ended,
    an_ended_session_of_the_wrong_time_stays_ended,
    a_live_session_is_unchanged_once_the_clock_is_right,
    a_session_used_during_a_step_continues_afterwards,
    a_sign_in_works_whatever_the_clock_says,
    a_lost_refresh_answer_is_replayed_or_replaced_across_a_step,
    a_spent_token_counts_as_reuse_once_the_clock_is_right,
    a_throttle_block_of_the_wrong_time_lasts_no_longer_than_a_wait,
    a_throttle_block_outlives_a_step_that_is_undone,
    beyond_a_day_an_ended_session_never_refreshes_and_without_a_purge_nothing_revives,
);

/// Steps in hours, within the day by which purges lag behind.
const STEPS: [i64; 4] = [-23, -2, 2, 23];

const MINUTE: Duration = Duration::from_mins(1);

fn shifted(at: Timestamp, hours: i64) -> Timestamp {
    Timestamp::from_seconds(at.seconds() + hours * 3600)
}

fn account_of(browser: &mut Browser) -> AccountId {
    AccountId(browser.get("/auth/me").json()["id"].as_i64().unwrap())
}

fn post_as(service: &TestService, path: &str, tokens: &Tokens) -> Response {
    Request::new("POST", path).bearer(&tokens.access).send(service.address())
}

fn tokens_of(service: &TestService, username: &str) -> Tokens {
    Tokens::in_jar_of(&sign_in(service, username))
}

/// A service with an account that has run for more than a day, so that no step leads to before its start.
fn aged(backend: Backend) -> (TestService, AccountId) {
    let service = backend.service().start();
    let account = account_of(&mut register(&service, "emily"));
    service.advance(Duration::from_hours(30));
    (service, account)
}

/// A purge and a restart at the wrong time.
fn purge_and_restart(service: &mut TestService) {
    service.core().purge().unwrap();
    service.restart();
    service.core().purge().unwrap();
    service.core().sync().unwrap();
}

/// Ends sessions in every way. Returns their tokens, in the order in which they were ended.
fn end_in_every_way(service: &TestService, account: AccountId) -> Vec<(&'static str, Tokens)> {
    let mut dead = vec![];
    let out = tokens_of(service, "emily");
    let child = Tokens::set_by(&refresh_with(service, &out.refresh));
    assert_eq!(post_as(service, "/auth/logout", &child).status, 200);
    dead.extend([("a logout's parent", out), ("a logout", child)]);

    let stolen = tokens_of(service, "emily");
    let second = Tokens::set_by(&refresh_with(service, &stolen.refresh));
    let third = rotated(service, &second);
    assert_eq!(code(&refresh_with(service, &stolen.refresh)), "refresh_token_reused");
    dead.extend([("reuse of this", stolen), ("reuse of its parent", second), ("reuse of its grandparent", third)]);

    let mut browser = sign_in(service, "emily");
    dead.push(("a sign-in in its place", Tokens::in_jar_of(&browser)));
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    assert_eq!(browser.post("/auth/login", &body).status, 200);

    let other = tokens_of(service, "emily");
    let mut password = [PASSWORD, "another-harbour-lantern"];
    for _ in 0..2 {
        dead.push(("a change of password, itself", Tokens::in_jar_of(&browser)));
        let body = json!({ "currentPassword": password[0], "newPassword": password[1] }).to_string();
        assert_eq!(browser.post("/auth/change-password", &body).status, 200);
        password.reverse();
    }
    dead.extend([("a change of password", other), ("a logout everywhere", Tokens::in_jar_of(&browser))]);
    assert_eq!(browser.post_empty("/auth/logout-all").status, 200);

    dead.push(("a change of role", tokens_of(service, "emily")));
    service.core().set_role(account, "ADMIN").unwrap();
    dead.push(("a change of status", tokens_of(service, "emily")));
    service.core().set_status(account, AccountStatus::Locked).unwrap();
    service.core().set_status(account, AccountStatus::Active).unwrap();
    dead
}

fn assert_all_invalid(service: &TestService, dead: &[(&'static str, Tokens)], when: &str) {
    for (end, tokens) in dead {
        assert!(!is_accepted(service, &tokens.access), "{when}, after {end}: the access token lives");
        let refused = refresh_with(service, &tokens.refresh);
        assert_eq!(refused.status, 401, "{when}, after {end}: the refresh token lives");
    }
}

/// Steps the clock to the wrong time and back, with purge and restart at each; the ended tokens must be refused at
/// every stage.
fn assert_refused_throughout(service: &mut TestService, dead: &[(&'static str, Tokens)], right: Timestamp, hours: i64) {
    let again = right.plus(MINUTE * 2);
    for (time, when) in [(shifted(right, hours), "at the wrong time"), (again, "at the right time again")] {
        service.clock().set(time);
        assert_all_invalid(service, dead, &format!("{hours} h, {when}"));
        purge_and_restart(service);
        assert_all_invalid(service, dead, &format!("{hours} h, {when}, cleaned up and restarted"));
    }
}

fn sessions_ended_before_a_step_stay_ended(backend: Backend) {
    let (mut service, account) = aged(backend);
    for hours in STEPS {
        let right = service.clock().now();
        let dead = end_in_every_way(&service, account);
        assert_refused_throughout(&mut service, &dead, right, hours);
        service.clock().set(right.plus(Duration::from_hours(30)));
    }
}

fn sessions_ended_during_a_step_stay_ended(backend: Backend) {
    let (mut service, account) = aged(backend);
    for hours in STEPS {
        let right = service.clock().now();
        let before: Vec<Tokens> = (0..3).map(|_| tokens_of(&service, "emily")).collect();
        service.clock().set(shifted(right, hours));
        let mut dead = end_in_every_way(&service, account);
        dead.extend(before.into_iter().map(|tokens| ("a logout everywhere at the wrong time", tokens)));
        assert_refused_throughout(&mut service, &dead, right, hours);
        // Once more through the wrong time, at which tokens issued there would be valid.
        assert_refused_throughout(&mut service, &dead, right, hours);
        service.clock().set(right.plus(Duration::from_hours(30)));
    }
}

fn an_ended_session_of_the_wrong_time_stays_ended(backend: Backend) {
    let (mut service, account) = aged(backend);
    for hours in STEPS {
        let right = service.clock().now();
        service.clock().set(shifted(right, hours));
        let wrong = [tokens_of(&service, "emily"), tokens_of(&service, "emily")];
        service.clock().set(right);
        service.core().set_role(account, "ADMIN").unwrap();
        let dead = wrong.map(|tokens| ("a change of role at the right time", tokens));
        assert_refused_throughout(&mut service, &dead, right, hours);
        service.clock().set(right.plus(Duration::from_hours(30)));
    }
}

fn a_live_session_is_unchanged_once_the_clock_is_right(backend: Backend) {
    let (mut service, _) = aged(backend);
    for hours in STEPS {
        let right = service.clock().now();
        let mut browser = sign_in(&service, "emily");
        let parent = tokens_of(&service, "emily");
        let child = Tokens::set_by(&refresh_with(&service, &parent.refresh));
        service.clock().set(shifted(right, hours));
        purge_and_restart(&mut service);
        if hours < 0 {
            // Tokens issued in the future are refused, and the browser keeps its cookies.
            let refused = refresh_with(&service, &child.refresh);
            assert_eq!(refused.status, 401, "{hours} h: {}", refused.text());
            assert!(refused.set_cookies().is_empty(), "{hours} h: the cookies stay");
        }
        assert!(!is_accepted(&service, &child.access), "{hours} h");
        service.clock().set(right.plus(MINUTE));
        purge_and_restart(&mut service);
        Tokens::in_jar_of(&browser).assert_valid(&service);
        child.assert_valid(&service);
        browser.forget();
        service.clock().set(right.plus(Duration::from_hours(30)));
    }
}

fn a_session_used_during_a_step_continues_afterwards(backend: Backend) {
    let (mut service, _) = aged(backend);
    for hours in [2, 12, 23] {
        let right = service.clock().now();
        let before = tokens_of(&service, "emily");
        service.clock().set(shifted(right, hours));
        let ahead = Tokens::set_by(&refresh_with(&service, &before.refresh));
        assert!(is_accepted(&service, &ahead.access), "{hours} h");
        purge_and_restart(&mut service);
        service.clock().set(right.plus(MINUTE));
        purge_and_restart(&mut service);
        let early = refresh_with(&service, &ahead.refresh);
        assert_eq!(early.status, 401, "{hours} h: {}", early.text());
        assert!(early.set_cookies().is_empty(), "{hours} h: the cookies stay");
        service.clock().set(shifted(right, hours));
        ahead.assert_valid(&service);
        service.clock().set(right.plus(Duration::from_hours(60)));
    }
}

fn a_sign_in_works_whatever_the_clock_says(backend: Backend) {
    let (mut service, _) = aged(backend);
    let right = service.clock().now();
    for hours in STEPS {
        service.clock().set(shifted(right, hours));
        purge_and_restart(&mut service);
        tokens_of(&service, "emily").assert_valid(&service).assert_valid(&service);
        service.clock().set(right);
        tokens_of(&service, "emily").assert_valid(&service).assert_valid(&service);
    }
}

fn a_lost_refresh_answer_is_replayed_or_replaced_across_a_step(backend: Backend) {
    let (mut service, _) = aged(backend);
    for hours in STEPS {
        let begun = tokens_of(&service, "emily");
        // Long enough that its tokens were issued before the step back.
        service.advance(Duration::from_hours(25));
        let right = service.clock().now();
        let lost = Tokens::set_by(&refresh_with(&service, &begun.refresh));
        service.clock().set(shifted(right, hours));
        purge_and_restart(&mut service);
        // By a clock that is ahead the answer was lost long ago, and another one takes its place.
        let during = Tokens::set_by(&refresh_with(&service, &begun.refresh));
        assert_eq!(during.refresh == lost.refresh, hours < 0, "{hours} h");
        assert_eq!(is_accepted(&service, &during.access), hours > 0, "{hours} h: it was issued in the future");
        service.clock().set(right.plus(MINUTE));
        let again = Tokens::set_by(&refresh_with(&service, &begun.refresh));
        assert_eq!(again.refresh, during.refresh, "{hours} h and back");
        if hours > 0 {
            let early = refresh_with(&service, &again.refresh);
            assert_eq!((early.status, code(&early).as_str()), (401, "token_invalid"), "{hours} h and back");
            assert!(early.set_cookies().is_empty(), "{hours} h: the cookies stay");
            service.clock().set(shifted(right, hours));
        }
        again.assert_valid(&service);
    }
}

fn a_spent_token_counts_as_reuse_once_the_clock_is_right(backend: Backend) {
    let (mut service, _) = aged(backend);
    for hours in STEPS {
        let spent = tokens_of(&service, "emily");
        service.advance(Duration::from_hours(25));
        let right = service.clock().now();
        let child = Tokens::set_by(&refresh_with(&service, &spent.refresh));
        assert!(is_accepted(&service, &child.access));
        service.core().flush_confirmations().unwrap();
        if hours < 0 {
            service.clock().set(shifted(right, hours));
            purge_and_restart(&mut service);
            // Here the grace is indistinguishable from a clock before its start: the same successor is replayed, and
            // the session lives on.
            assert_eq!(Tokens::set_by(&refresh_with(&service, &spent.refresh)).refresh, child.refresh);
            service.clock().set(right.plus(Duration::from_secs(10)));
            assert!(is_accepted(&service, &child.access));
        }
        service.clock().set(right.plus(MINUTE));
        assert_eq!(code(&refresh_with(&service, &spent.refresh)), "refresh_token_reused", "{hours} h");
        child.assert_invalid(&service);
    }
}

fn attempt(service: &TestService, password: &str) -> Response {
    let body = json!({ "username": "emily", "password": password }).to_string();
    Request::new("POST", "/auth/login").json(&body).send(service.address())
}

/// A service whose account is throttled at the time that its clock shows.
fn throttled_service(backend: Backend) -> TestService {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").start();
    register(&service, "emily");
    service.advance(Duration::from_hours(30));
    let answers: Vec<u16> = (0..6).map(|_| attempt(&service, "not-this-lantern").status).collect();
    assert_eq!(answers, [401, 401, 401, 401, 401, 429]);
    service
}

fn a_throttle_block_of_the_wrong_time_lasts_no_longer_than_a_wait(backend: Backend) {
    for hours in [2, 25] {
        let mut service = throttled_service(backend);
        let right = shifted(service.clock().now(), -hours);
        service.clock().set(right);
        purge_and_restart(&mut service);
        // The longest throttle wait is an hour.
        service.clock().set(right.plus(Duration::from_hours(1) + MINUTE));
        let answer = attempt(&service, PASSWORD);
        assert_eq!(answer.status, 200, "{hours} h: {}", answer.text());
    }
}

fn a_throttle_block_outlives_a_step_that_is_undone(backend: Backend) {
    for hours in [-12, 2] {
        let mut service = throttled_service(backend);
        let right = service.clock().now();
        service.clock().set(shifted(right, hours));
        purge_and_restart(&mut service);
        service.clock().set(right);
        assert_eq!(attempt(&service, PASSWORD).status, 429, "{hours} h");
        service.clock().set(right.plus(MINUTE));
        assert_eq!(attempt(&service, PASSWORD).status, 200, "{hours} h");
    }
}

fn beyond_a_day_an_ended_session_never_refreshes_and_without_a_purge_nothing_revives(backend: Backend) {
    for cleans_up in [false, true] {
        let (mut service, account) = aged(backend);
        let right = service.clock().now();
        let dead = end_in_every_way(&service, account);
        let live = tokens_of(&service, "emily");
        service.clock().set(shifted(right, 25));
        if cleans_up {
            purge_and_restart(&mut service);
        } else {
            service.restart();
        }
        assert_all_invalid(&service, &dead, "25 h later");
        service.clock().set(right.plus(MINUTE * 2));
        service.restart();
        for (end, tokens) in &dead {
            // The purge removed the revocations: by the wrong clock their access tokens had expired a day before.
            assert!(cleans_up || !is_accepted(&service, &tokens.access), "after {end}: the access token lives");
            assert_eq!(refresh_with(&service, &tokens.refresh).status, 401, "after {end}: the refresh token lives");
        }
        live.assert_valid(&service);
    }
}
