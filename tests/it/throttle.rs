//! Guessing is slow: failures in a row cost a wait, whoever they aim at, and a wait lets nothing be tried.

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, code, on_both_backends, register};

on_both_backends!(
    five_failures_are_free_and_the_sixth_costs_a_minute,
    while_blocked_even_the_right_secret_is_not_looked_at,
    a_success_forgets_the_failures,
    an_unknown_identifier_is_throttled_alike,
    a_restart_forgets_nothing,
    a_wrong_current_password_counts,
    one_address_that_tries_many_names_is_throttled,
    parallel_first_failures_are_all_counted,
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

fn while_blocked_even_the_right_secret_is_not_looked_at(backend: Backend) {
    let service = throttled(backend);
    register(&service, "emily");
    fail(&service, 6);
    service.advance(Duration::from_secs(20));
    assert_eq!(wait_of(&attempt(&service, "emily", PASSWORD)), 40);
    service.advance(Duration::from_secs(40));
    assert_eq!(attempt(&service, "emily", PASSWORD).status, 200);
}

fn a_success_forgets_the_failures(backend: Backend) {
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

fn a_restart_forgets_nothing(backend: Backend) {
    let mut service = throttled(backend);
    register(&service, "emily");
    fail(&service, 6);
    service.restart();
    assert_eq!(wait_of(&attempt(&service, "emily", PASSWORD)), 60);
}

fn a_wrong_current_password_counts(backend: Backend) {
    let service = throttled(backend);
    let mut browser = register(&service, "emily");
    let body = json!({ "currentPassword": "wrong-wrong", "newPassword": "another-long-one" }).to_string();
    let answers: Vec<u16> = (0..7).map(|_| browser.post("/auth/change-password", &body).status).collect();
    assert_eq!(answers, [403, 403, 403, 403, 403, 429, 429]);
    assert_eq!(browser.get("/auth/me").status, 200, "the session itself goes on");
}

fn one_address_that_tries_many_names_is_throttled(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").set("TRUSTED_PROXIES", "127.0.0.1").start();
    register(&service, "emily");
    let from = |address: &str, name: &str, password: &str| {
        let body = json!({ "username": name, "password": password }).to_string();
        Request::new("POST", "/auth/login")
            .header("x-forwarded-for", address)
            .json(&body)
            .send(service.address())
            .status
    };
    let answers: Vec<u16> = (0..6).map(|n| from("192.0.2.7", &format!("name{n}"), "wrong-wrong")).collect();
    assert_eq!(answers, [401, 401, 401, 401, 401, 429]);
    assert_eq!(from("192.0.2.7", "emily", PASSWORD), 429);
    assert_eq!(from("192.0.2.8", "emily", PASSWORD), 200, "another address is not concerned");
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
