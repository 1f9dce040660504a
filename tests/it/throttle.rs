//! Throttle: consecutive failures cost a growing wait, by identifier and by trusted device, and during a wait no secret is
//! checked. An account has a hard limit. Addresses are in throttle/address.rs, enumeration in throttle/enumeration.rs,
//! shares of the hashing queue in throttle/work.rs, the device cookie in throttle/devices.rs, writes in throttle/writes.rs.

mod address;
mod devices;
mod enumeration;
mod work;
mod writes;

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, Tokens, code, on_both_backends, register};

on_both_backends!(
    five_failures_are_free_and_the_sixth_costs_a_minute,
    while_blocked_even_the_right_secret_is_not_checked,
    a_success_resets_the_failures,
    an_unknown_identifier_is_throttled_alike,
    a_restart_keeps_the_failures,
    a_wrong_current_password_counts_as_a_failure,
    parallel_first_failures_are_all_counted,
    parallel_wrong_current_passwords_are_all_counted,
    the_owner_signs_in_from_a_trusted_device_during_an_attack,
    a_trusted_device_pays_for_its_own_failures_only,
    a_trusted_device_cookie_of_another_account_or_forged_has_no_effect,
    no_more_than_a_hundred_guesses_are_checked_until_an_operator_unlocks,
    after_fifty_failures_a_pin_works_only_from_a_trusted_device,
    an_attack_does_not_keep_the_owner_from_changing_the_password,
    rate_limit_caps_the_sign_ups_of_an_address,
    rate_limit_caps_the_refreshes_of_an_address,
    junk_refreshes_do_not_reset_the_limit_of_sign_ups,
);

fn throttled(backend: Backend) -> TestService {
    backend.service().set("THROTTLE_FREE_FAILURES", "5").start()
}

fn attempt(service: &TestService, username: &str, password: &str) -> Response {
    let body = json!({ "username": username, "password": password }).to_string();
    Request::new("POST", "/auth/login").json(&body).send(service.address())
}

fn fail(service: &TestService, times: usize) -> Vec<u16> {
    (0..times).map(|_| attempt(service, "emily", "wrong-wrong").status).collect()
}

fn wait_of(answer: &Response) -> u64 {
    assert_eq!((answer.status, code(answer).as_str()), (429, "throttled"));
    retry_after(answer)
}

fn rate_wait_of(answer: &Response) -> u64 {
    assert_eq!((answer.status, code(answer).as_str()), (429, "rate_limited"));
    retry_after(answer)
}

fn retry_after(answer: &Response) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

fn five_failures_are_free_and_the_sixth_costs_a_minute(backend: Backend) {
    let service = throttled(backend);
    register(&service, "emily");
    assert_eq!(fail(&service, 5), [401; 5]);
    assert_eq!(wait_of(&attempt(&service, "emily", "wrong-wrong")), 60);
    service.advance(Duration::from_secs(60));
    assert_eq!(wait_of(&attempt(&service, "emily", "wrong-wrong")), 120, "the next one costs twice as much");
}

fn while_blocked_even_the_right_secret_is_not_checked(backend: Backend) {
    let service = throttled(backend);
    register(&service, "emily");
    fail(&service, 6);
    service.advance(Duration::from_secs(20));
    assert_eq!(wait_of(&attempt(&service, "emily", PASSWORD)), 40);
    service.advance(Duration::from_secs(40));
    assert_eq!(attempt(&service, "emily", PASSWORD).status, 200);
}

fn a_success_resets_the_failures(backend: Backend) {
    let service = throttled(backend);
    register(&service, "emily");
    for _ in 0..3 {
        assert_eq!(fail(&service, 5), [401; 5]);
        assert_eq!(attempt(&service, "emily", PASSWORD).status, 200);
    }
}

fn an_unknown_identifier_is_throttled_alike(backend: Backend) {
    let service = throttled(backend);
    let answers: Vec<u16> = (0..7).map(|_| attempt(&service, "nobody", "wrong-wrong").status).collect();
    assert_eq!(answers, [401, 401, 401, 401, 401, 429, 429]);
}

fn a_restart_keeps_the_failures(backend: Backend) {
    let mut service = throttled(backend);
    register(&service, "emily");
    fail(&service, 6);
    service.restart();
    assert_eq!(wait_of(&attempt(&service, "emily", PASSWORD)), 60);
}

fn a_wrong_current_password_counts_as_a_failure(backend: Backend) {
    let service = throttled(backend);
    let mut browser = register(&service, "emily");
    let body = json!({ "currentPassword": "wrong-wrong", "newPassword": "another-long-one" }).to_string();
    let answers: Vec<u16> = (0..7).map(|_| browser.post("/auth/change-password", &body).status).collect();
    assert_eq!(answers, [403, 403, 403, 403, 403, 429, 429]);
    assert_eq!(browser.get("/auth/me").status, 200, "the session itself goes on");
}

fn parallel_first_failures_are_all_counted(backend: Backend) {
    let service = throttled(backend);
    register(&service, "emily");
    let address = service.address();
    let answers = crate::support::race(12, move |_| {
        let mut browser = Browser::new(address);
        browser.post("/auth/login", r#"{"username":"emily","password":"wrong-wrong"}"#).status
    });
    assert!(answers.iter().all(|status| [401, 429].contains(status)), "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 5, "{answers:?}");
    wait_of(&attempt(&service, "emily", PASSWORD));
}

fn parallel_wrong_current_passwords_are_all_counted(backend: Backend) {
    let service = throttled(backend);
    let cookie = Tokens::in_jar_of(&register(&service, "emily")).access;
    let address = service.address();
    let answers = crate::support::race(12, move |_| {
        let body = json!({ "currentPassword": "wrong-wrong", "newPassword": "another-long-one" }).to_string();
        let request = Request::new("POST", "/auth/change-password").cookie_header(&format!("accessToken={cookie}"));
        request.json(&body).send(address).status
    });
    assert!(answers.iter().all(|status| [403, 429].contains(status)), "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 403).count(), 5, "{answers:?}");
}

/// From a unique address, so that only the failures of the account count.
fn guess(service: &TestService, number: usize, body: &serde_json::Value) -> Response {
    let address = format!("192.0.{}.{}", number / 250, number % 250 + 1);
    let request = Request::new("POST", "/auth/login").header("x-forwarded-for", address);
    request.json(&body.to_string()).send(service.address())
}

fn behind_a_proxy(backend: Backend) -> TestService {
    backend.service().set("THROTTLE_FREE_FAILURES", "5").set("TRUSTED_PROXIES", "127.0.0.1").start()
}

fn wrong() -> serde_json::Value {
    json!({ "username": "emily", "password": "wrong-wrong" })
}

fn right() -> String {
    json!({ "username": "emily", "password": PASSWORD }).to_string()
}

/// A browser with the trusted-device cookie alone.
fn trusted(service: &TestService, device: &str) -> Browser {
    let mut browser = Browser::new(service.address());
    browser.set_cookie("deviceToken", device);
    browser
}

fn the_owner_signs_in_from_a_trusted_device_during_an_attack(backend: Backend) {
    let service = behind_a_proxy(backend);
    let device = register(&service, "emily").cookie("deviceToken").unwrap();
    for round in 0..20 {
        // A success resets the failures of strangers too, so they are blocked anew in each round.
        let answers: Vec<u16> = (0..8).map(|n| guess(&service, round * 8 + n, &wrong()).status).collect();
        assert_eq!(answers, [401, 401, 401, 401, 401, 429, 429, 429]);
        assert_eq!(
            guess(&service, 4000 + round, &serde_json::from_str(&right()).unwrap()).status,
            429,
            "a stranger waits"
        );
        let answer = trusted(&service, &device).post("/auth/login", &right());
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
    }
}

fn a_trusted_device_pays_for_its_own_failures_only(backend: Backend) {
    let service = throttled(backend);
    let device = register(&service, "emily").cookie("deviceToken").unwrap();
    let mut browser = trusted(&service, &device);
    let answers: Vec<u16> = (0..7).map(|_| browser.post("/auth/login", &wrong().to_string()).status).collect();
    assert_eq!(answers, [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!(attempt(&service, "emily", PASSWORD).status, 200, "neither the account nor the address has failed");
}

fn a_trusted_device_cookie_of_another_account_or_forged_has_no_effect(backend: Backend) {
    let service = throttled(backend);
    let device = register(&service, "emily").cookie("deviceToken").unwrap();
    let other = register(&service, "mallory").cookie("deviceToken").unwrap();
    fail(&service, 6);
    let (number, _) = device.split_once('.').unwrap();
    let (_, mac) = other.split_once('.').unwrap();
    for made_up in [&other, &format!("{number}.{mac}"), number, "", ".", "AAAA.AAAA", &format!("{device}x")] {
        let answer = trusted(&service, made_up).post("/auth/login", &right());
        assert_eq!(wait_of(&answer), 60, "{made_up}");
    }
    // A device used for two accounts is trusted by both.
    let mut shared = trusted(&service, &device);
    let body = json!({ "username": "mallory", "password": PASSWORD }).to_string();
    service.advance(Duration::from_secs(61));
    assert_eq!(shared.post("/auth/login", &body).status, 200);
    fail(&service, 1);
    assert_eq!(shared.post("/auth/login", &right()).status, 200);
}

fn no_more_than_a_hundred_guesses_are_checked_until_an_operator_unlocks(backend: Backend) {
    let service = behind_a_proxy(backend);
    let device = register(&service, "emily").cookie("deviceToken").unwrap();
    let mut looked_at = 0;
    for number in 0..200 {
        let seen = metric(&service, "doorward_password_hash_seconds_count");
        guess(&service, number, &wrong());
        looked_at += metric(&service, "doorward_password_hash_seconds_count") - seen;
        service.advance(Duration::from_hours(2));
        if number % 50 == 0 {
            service.core().purge().unwrap();
        }
    }
    assert!((80..=100).contains(&looked_at), "{looked_at} were checked");
    let stranger = |number| guess(&service, number, &serde_json::from_str(&right()).unwrap());
    assert_eq!(wait_of(&stranger(300)), 3600);
    let account = service.core().find_account_by("emily").unwrap().id;
    service.core().unlock(account).unwrap();
    assert_eq!(stranger(301).status, 200);
    assert_eq!(trusted(&service, &device).post("/auth/login", &right()).status, 200);
}

/// A counter of the service under test.
fn metric(service: &TestService, name: &str) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    line.trim().parse().unwrap()
}

fn after_fifty_failures_a_pin_works_only_from_a_trusted_device(backend: Backend) {
    let service =
        backend.service().set("THROTTLE_FREE_FAILURES", "5").set("TRUSTED_PROXIES", "127.0.0.1").demo().start();
    let body = |pin: &str| json!({ "name": "cooluser1", "pin": pin });
    let mut owner = Browser::new(service.address());
    assert_eq!(owner.post("/pin/auth/login", &body("0000").to_string()).status, 200);
    for number in 0..60 {
        guess(&service, number, &body("9999"));
        service.advance(Duration::from_hours(2));
    }
    assert_eq!(wait_of(&guess(&service, 100, &body("0000"))), 3600, "the right PIN, by a stranger");
    let device = owner.cookie("deviceToken").unwrap();
    assert_eq!(trusted(&service, &device).post("/pin/auth/login", &body("0000").to_string()).status, 200);
    assert_eq!(guess(&service, 101, &body("0000")).status, 429, "that lifts nothing for strangers");
    let account = service.core().find_account_by("cooluser1").unwrap();
    service.core().unlock(account.id).unwrap();
    assert_eq!(guess(&service, 102, &body("0000")).status, 200);
}

fn an_attack_does_not_keep_the_owner_from_changing_the_password(backend: Backend) {
    let service = throttled(backend);
    let mut browser = register(&service, "emily");
    fail(&service, 7);
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "another-long-one" }).to_string();
    assert_eq!(browser.post("/auth/change-password", &body).status, 200);
}

fn rate_limit_caps_the_sign_ups_of_an_address(backend: Backend) {
    let service = backend.service().set("THROTTLE_SIGN_UPS", "3/1h").start();
    let sign_up = |name: &str| {
        let body = json!({ "username": name, "password": PASSWORD }).to_string();
        Request::new("POST", "/auth/register").json(&body).send(service.address())
    };
    let answers: Vec<u16> = ["a-one", "b-two", "a-one", "d-four"].map(|name| sign_up(name).status).into();
    assert_eq!(answers, [201, 201, 409, 429], "attempts count");
    assert_eq!(rate_wait_of(&sign_up("e-five")), 1200, "the limit is refilled evenly");
    service.advance(Duration::from_secs(1199));
    assert_eq!(rate_wait_of(&sign_up("e-five")), 1);
    service.advance(Duration::from_secs(1));
    assert_eq!(sign_up("e-five").status, 201);
    assert_eq!(rate_wait_of(&sign_up("f-six")), 1200);
    service.advance(Duration::from_hours(1));
    let answers: Vec<u16> = ["f-six", "g-seven", "h-eight", "i-nine"].map(|name| sign_up(name).status).into();
    assert_eq!(answers, [201, 201, 201, 429]);
}

fn rate_limit_caps_the_refreshes_of_an_address(backend: Backend) {
    let service = backend.service().set("THROTTLE_REFRESHES", "3/1m").start();
    let mut browser = register(&service, "emily");
    let answers: Vec<u16> = (0..4).map(|_| browser.post("/auth/refresh", "{}").status).collect();
    assert_eq!(answers, [200, 200, 200, 429]);
    assert!(browser.cookie("refreshToken").is_some(), "a wait ends no session");
    service.advance(Duration::from_mins(1));
    assert_eq!(browser.post("/auth/refresh", "{}").status, 200);
}

/// Each kind has a limiter of its own: junk of one kind, however much and however long its window, leaves the other be.
fn junk_refreshes_do_not_reset_the_limit_of_sign_ups(backend: Backend) {
    let limits = backend.service().set("THROTTLE_SIGN_UPS", "1/1h").set("THROTTLE_REFRESHES", "3/1s");
    let service = limits.set("TRUSTED_PROXIES", "127.0.0.1").start();
    let post = |path: &str, address: &str, body: &str| {
        Request::new("POST", path).header("x-forwarded-for", address).json(body).send(service.address())
    };
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    assert_eq!(post("/auth/register", "192.0.2.1", &body).status, 201);
    for second in 1..=20 {
        let junk = r#"{"refreshToken":"junk"}"#;
        let answers: Vec<u16> = (0..4).map(|_| post("/auth/refresh", "192.0.2.1", junk).status).collect();
        assert_eq!(answers, [401, 401, 401, 429], "second {second}");
        assert_eq!(post("/auth/refresh", &format!("198.51.100.{second}"), junk).status, 401);
        service.advance(Duration::from_secs(1));
        assert_eq!(rate_wait_of(&post("/auth/register", "192.0.2.1", &body)), 3600 - second, "second {second}");
    }
    assert_eq!(post("/auth/refresh", "192.0.2.1", r#"{"refreshToken":"junk"}"#).status, 401, "nor the other way round");
}
