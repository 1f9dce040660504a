//! Race conditions: acts that end sessions, concurrent with sign-ins and refreshes. Once the act is answered, the
//! tokens that the others received are refused.

use std::net::SocketAddr;

use doorward::core::{AccountId, AccountStatus};
use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, Tokens, is_accepted, on_both_backends, race, refresh_with, register, sign_in};

on_both_backends!(
    a_password_change_wins_over_sign_ins_with_the_old_one,
    a_password_change_wins_over_refreshes,
    a_status_change_wins_over_sign_ins_and_refreshes,
    a_role_change_wins_over_refreshes,
    concurrent_sign_ins_of_a_device_leave_one_session,
    concurrent_sign_ins_with_the_same_cookies_end_that_session,
);

const ROUNDS: usize = 40;

fn login(address: SocketAddr, username: &str, password: &str) -> Response {
    let body = json!({ "username": username, "password": password }).to_string();
    Request::new("POST", "/auth/login").json(&body).send(address)
}

fn refresh(address: SocketAddr, token: &str) -> Response {
    Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={token}")).send(address)
}

fn change_password(address: SocketAddr, by: &Tokens, new: &str) -> Response {
    let body = json!({ "currentPassword": PASSWORD, "newPassword": new }).to_string();
    let request = Request::new("POST", "/auth/change-password").json(&body);
    request.cookie_header(&format!("accessToken={}", by.access)).send(address)
}

fn account_of(browser: &mut Browser) -> AccountId {
    AccountId(browser.get("/auth/me").json()["id"].as_i64().unwrap())
}

/// A direct call would nearly always be first; a few requests before it put it among the others.
fn delay_start(address: SocketAddr, round: usize) {
    for _ in 0..round % 4 {
        Request::new("GET", "/healthz").send(address);
    }
}

/// Fails unless the tokens in these answers are refused; returns how many answers had any.
fn assert_tokens_refused(service: &TestService, answers: &[Response], round: usize) -> usize {
    let brought: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    for answer in &brought {
        let tokens = Tokens::set_by(answer);
        assert!(!is_accepted(service, &tokens.access), "round {round}: an access token lives");
        let refused = refresh_with(service, &tokens.refresh);
        assert!([401, 403].contains(&refused.status), "round {round}: a refresh token lives");
    }
    brought.len()
}

fn a_password_change_wins_over_sign_ins_with_the_old_one(backend: Backend) {
    let service = backend.service().start();
    let address = service.address();
    let mut brought = 0;
    for round in 0..ROUNDS {
        let name = format!("emily{round}");
        let owner = Tokens::in_jar_of(&register(&service, &name));
        let answers = race(4, move |number| match number {
            0 => change_password(address, &owner, "another-harbour-lantern"),
            _ => login(address, &name, PASSWORD),
        });
        let new = Tokens::set_by(&answers[0]);
        brought += assert_tokens_refused(&service, &answers[1..], round);
        new.assert_valid(&service);
    }
    assert!(brought > 0, "no sign-in ever came before the change: this raced nothing");
}

fn a_password_change_wins_over_refreshes(backend: Backend) {
    let service = backend.service().start();
    let address = service.address();
    let mut brought = 0;
    for round in 0..ROUNDS {
        let name = format!("emily{round}");
        let owner = Tokens::in_jar_of(&register(&service, &name));
        let other = Tokens::in_jar_of(&sign_in(&service, &name));
        let answers = race(4, move |number| match number {
            0 => change_password(address, &owner, "another-harbour-lantern"),
            1 => refresh(address, &owner.refresh),
            _ => refresh(address, &other.refresh),
        });
        let new = Tokens::set_by(&answers[0]);
        brought += assert_tokens_refused(&service, &answers[1..], round);
        assert!(is_accepted(&service, &new.access), "round {round}: the session that made the change stays signed in");
        new.assert_valid(&service);
    }
    assert!(brought > 0, "no refresh ever came before the change: this raced nothing");
}

fn a_status_change_wins_over_sign_ins_and_refreshes(backend: Backend) {
    let service = backend.service().start();
    let id = account_of(&mut register(&service, "emily"));
    let mut brought = 0;
    for round in 0..ROUNDS {
        let tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
        let (core, address) = (service.core().clone(), service.address());
        let answers = race(5, move |number| match number {
            0 => {
                delay_start(address, round);
                core.set_status(id, AccountStatus::Locked).unwrap();
                None
            }
            1 | 2 => Some(login(address, "emily", PASSWORD)),
            _ => Some(refresh(address, &tokens.refresh)),
        });
        let answers: Vec<Response> = answers.into_iter().flatten().collect();
        brought += assert_tokens_refused(&service, &answers, round);
        service.core().set_status(id, AccountStatus::Active).unwrap();
        assert_tokens_refused(&service, &answers, round);
    }
    assert!(brought > 0, "no request was before the change: there was no race");
}

fn a_role_change_wins_over_refreshes(backend: Backend) {
    let service = backend.service().start();
    let id = account_of(&mut register(&service, "emily"));
    let mut brought = 0;
    for round in 0..ROUNDS {
        let tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
        let (core, address) = (service.core().clone(), service.address());
        let role = if round % 2 == 0 { "ADMIN" } else { "USER" };
        let answers = race(4, move |number| match number {
            0 => {
                delay_start(address, round);
                core.set_role(id, role).unwrap();
                None
            }
            _ => Some(refresh(address, &tokens.refresh)),
        });
        let answers: Vec<Response> = answers.into_iter().flatten().collect();
        brought += assert_tokens_refused(&service, &answers, round);
    }
    assert!(brought > 0, "no refresh ever came before the change: this raced nothing");
}

fn concurrent_sign_ins_of_a_device_leave_one_session(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let address = service.address();
    for round in 0..10 {
        let body =
            json!({ "username": "emily", "password": PASSWORD, "deviceId": format!("phone-{round}") }).to_string();
        let answers = race(6, move |_| Request::new("POST", "/auth/login").json(&body).send(address));
        let all: Vec<Tokens> = answers.iter().map(Tokens::set_by).collect();
        let alive: Vec<&Tokens> = all.iter().filter(|tokens| is_accepted(&service, &tokens.access)).collect();
        assert_eq!(alive.len(), 1, "round {round}: one device, one session");
        alive[0].assert_valid(&service);
        let refreshable = all.iter().filter(|tokens| refresh_with(&service, &tokens.refresh).status == 200).count();
        assert_eq!(refreshable, 1, "round {round}");
    }
}

fn concurrent_sign_ins_with_the_same_cookies_end_that_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    for _ in 0..10 {
        let (session_tokens, raced) = (Tokens::in_jar_of(&browser), browser.clone());
        let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
        let statuses = race(4, move |number| {
            let mut tab = raced.clone();
            let answer = if number == 0 { tab.post_empty("/auth/refresh") } else { tab.post("/auth/login", &body) };
            (tab, answer)
        });
        session_tokens.assert_invalid(&service);
        assert_tokens_refused(&service, &[statuses[0].1.clone()], 0);
        for (tab, answer) in &statuses[1..] {
            assert_eq!(answer.status, 200, "{}", answer.text());
            Tokens::in_jar_of(tab).assert_valid(&service);
        }
        browser = sign_in(&service, "emily");
    }
}
