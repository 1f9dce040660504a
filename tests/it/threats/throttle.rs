//! Throttle and enumeration: the waits are the documented ones, and a throttled client cannot distinguish accounts.

use std::time::Duration;

use doorward::core::AccountStatus;
use serde_json::json;

use super::{bare, metric, registered, sign_in_with};
use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, code, on_both_backends};

on_both_backends!(
    the_waits_are_the_documented_ones,
    known_unknown_and_locked_accounts_look_alike_when_throttled_too,
    a_throttled_attempt_computes_no_hash,
    a_forwarded_address_from_an_untrusted_client_opens_no_other_bucket,
    variants_of_a_name_share_their_failures,
);

fn wait_of(answer: &Response) -> u64 {
    assert_eq!((answer.status, code(answer).as_str()), (429, "throttled"), "{}", answer.text());
    answer.header("retry-after").unwrap().parse().unwrap()
}

/// The numbers in the sentence of docs/security.md.
fn documented() -> Vec<u64> {
    let text = include_str!("../../../docs/security.md");
    let line = text.lines().find_map(|line| line.split_once("waits, in seconds: ")).expect("the sentence");
    line.1.split(['.', ';', '|']).next().unwrap().trim().split(", ").map(|number| number.parse().unwrap()).collect()
}

fn the_waits_are_the_documented_ones(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").start();
    registered(&service, "emily");
    let free = (0..5).filter(|_| sign_in_with(&service, "emily", "wrong-wrong").status == 401).count();
    assert_eq!(free, 5);
    let expected = documented();
    assert!(expected.len() > 6, "{expected:?}");
    let mut measured = vec![];
    for _ in &expected {
        let wait = wait_of(&sign_in_with(&service, "emily", "wrong-wrong"));
        measured.push(wait);
        service.advance(Duration::from_secs(wait));
    }
    assert_eq!(measured, expected);
}

fn known_unknown_and_locked_accounts_look_alike_when_throttled_too(backend: Backend) {
    // Each attempt from a unique address, so that only the failures of the account count.
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").set("TRUSTED_PROXIES", "127.0.0.1").start();
    registered(&service, "emily");
    registered(&service, "locked");
    let locked = service.core().find_account_by("locked").unwrap().id;
    service.core().set_status(locked, AccountStatus::Locked).unwrap();
    let attempt = |name: &str, password: &str, address: String| {
        let body = json!({ "username": name, "password": password }).to_string();
        bare(
            &Request::new("POST", "/auth/login").header("X-Forwarded-For", address).json(&body).send(service.address()),
        )
    };
    let mut seen = vec![];
    for (number, name) in ["emily", "locked", "nobody"].into_iter().enumerate() {
        let mut answers: Vec<_> =
            (0..7).map(|try_| attempt(name, "wrong-wrong", format!("192.0.2.{}", number * 20 + try_ + 1))).collect();
        // The right password makes no difference while the wait lasts.
        answers.push(attempt(name, PASSWORD, format!("192.0.2.{}", number * 20 + 19)));
        seen.push(answers);
    }
    let statuses: Vec<u16> = seen[0].iter().map(|answer| answer.0).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
    assert_eq!(seen[0], seen[1], "a locked account");
    assert_eq!(seen[0], seen[2], "an unknown identifier");
}

fn a_throttled_attempt_computes_no_hash(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").start();
    registered(&service, "emily");
    (0..6).for_each(|_| drop(sign_in_with(&service, "emily", "wrong-wrong")));
    let hashed = metric(&service, "doorward_password_hash_seconds_count");
    for name in ["emily", "EMILY"] {
        for _ in 0..10 {
            wait_of(&sign_in_with(&service, name, PASSWORD));
        }
    }
    assert_eq!(metric(&service, "doorward_password_hash_seconds_count"), hashed);
}

fn a_forwarded_address_from_an_untrusted_client_opens_no_other_bucket(backend: Backend) {
    let service = backend.service().set("THROTTLE_ADDRESS", "5/1h").start();
    let headers = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"];
    let attempt = |number: usize, header: &str| {
        let body = json!({ "username": format!("name{number}"), "password": "wrong-wrong" }).to_string();
        let value = if header == "Forwarded" { format!("for=192.0.2.{number}") } else { format!("192.0.2.{number}") };
        Request::new("POST", "/auth/login").header(header, value).json(&body).send(service.address()).status
    };
    let answers: Vec<u16> = headers.iter().enumerate().map(|(number, header)| attempt(number, header)).collect();
    assert_eq!(answers, [401, 401, 401, 401, 401, 429], "the sixth name from one peer");
}

fn variants_of_a_name_share_their_failures(backend: Backend) {
    for name in ["emily", "nobody"] {
        let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").set("TRUSTED_PROXIES", "127.0.0.1").start();
        registered(&service, "emily");
        let wide = name.chars().filter_map(|letter| char::from_u32(u32::from(letter) + 0xfee0)).collect::<String>();
        let variants = [name.to_owned(), name.to_uppercase(), wide];
        let mut answers = vec![];
        for number in 0..6 {
            let body = json!({ "username": variants[number % variants.len()], "password": "wrong-wrong" }).to_string();
            let request = Request::new("POST", "/auth/login").header("X-Forwarded-For", format!("192.0.2.{number}"));
            answers.push(request.json(&body).send(service.address()).status);
        }
        assert_eq!(answers, [401, 401, 401, 401, 401, 429], "{name}");
    }
}
