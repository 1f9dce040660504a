//! Enumeration by the throttle: the same requests for an identifier that exists and for one that does not get the same
//! answers and cost the same hashes, whatever fields they use, however far apart they are.

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::{Value, json};

use super::{behind_a_proxy, metric, right, wait_of};
use crate::support::http::{Request, Response};
use crate::support::{Backend, on_both_backends, registered};

on_both_backends!(
    throttle_answers_alike_for_known_and_unknown_in_any_fields,
    throttle_answers_alike_for_known_and_unknown_after_any_silence,
    throttle_answers_alike_for_known_and_unknown_up_to_the_hard_limit,
    throttle_counts_each_identifier_of_a_request_by_itself,
    throttle_success_resets_every_identifier_of_the_account,
    throttle_ignores_blanks_around_an_identifier,
    throttle_refuses_an_overlong_identifier_without_a_hash,
);

const DAY: Duration = Duration::from_hours(24);

/// The three identifiers of the only account, each beside an unknown one.
const PAIRS: [(&str, &str); 3] =
    [("emily", "nobody"), ("emily@example.test", "nobody@example.test"), ("Emily Stone", "Nora Nobody")];

fn service(backend: Backend) -> TestService {
    let service = behind_a_proxy(backend);
    let body = json!({ "username": "emily", "email": "emily@example.test", "name": "Emily Stone" });
    assert_eq!(registered(&service, body).status, 201);
    service
}

/// One step of a sequence: the fields that carry the identifier, or a pause.
#[derive(Clone, Copy)]
enum Step {
    Try(usize, &'static [&'static str]),
    Pin(usize, &'static [&'static str]),
    Upper(usize, &'static [&'static str]),
    Pause(Duration),
}

fn post(service: &TestService, body: &Value, number: usize) -> Response {
    let address = format!("198.51.{}.{}", number / 250, number % 250 + 1);
    let request = Request::new("POST", "/auth/login").header("x-forwarded-for", address);
    request.json(&body.to_string()).send(service.address())
}

/// Status, wait and body of each answer, and whether a hash was computed for it.
fn walk(service: &TestService, identifier: &str, steps: &[Step]) -> Vec<(u16, Option<String>, String, u64)> {
    let (mut seen, mut number) = (vec![], 0);
    for step in steps {
        let (times, fields, secret) = match *step {
            Step::Try(times, fields) | Step::Upper(times, fields) => (times, fields, "password"),
            Step::Pin(times, fields) => (times, fields, "pin"),
            Step::Pause(time) => {
                service.advance(time);
                service.core().purge().unwrap();
                continue;
            }
        };
        let text = if matches!(step, Step::Upper(..)) { identifier.to_uppercase() } else { identifier.to_owned() };
        for _ in 0..times {
            let mut body: Value = fields.iter().map(|field| ((*field).to_owned(), Value::from(text.clone()))).collect();
            body[secret] = if secret == "pin" { "987654".into() } else { "wrong-wrong".into() };
            let before = metric(service, "doorward_password_hash_seconds_count");
            let answer = post(service, &body, number);
            let hashes = metric(service, "doorward_password_hash_seconds_count") - before;
            number += 1;
            let mut shown = answer.json();
            shown["requestId"] = Value::Null;
            seen.push((answer.status, answer.header("retry-after").map(ToOwned::to_owned), shown.to_string(), hashes));
        }
    }
    seen
}

/// Walks the steps for each identifier of the account and its unknown twin; the statuses, and the number of hashes.
fn assert_alike(backend: Backend, steps: &[Step], pairs: &[(&str, &str)]) -> Vec<(Vec<u16>, u64)> {
    let service = service(backend);
    let walks = pairs.iter().map(|(known, unknown)| {
        let [of_known, of_unknown] = [known, unknown].map(|identifier| walk(&service, identifier, steps));
        assert_eq!(of_known, of_unknown, "{known} and {unknown}");
        let hashes = of_known.iter().map(|(.., hashed)| hashed).sum();
        (of_known.into_iter().map(|(status, ..)| status).collect(), hashes)
    });
    walks.collect()
}

fn throttle_answers_alike_for_known_and_unknown_in_any_fields(backend: Backend) {
    let sequences: [&[Step]; 5] = [
        &[Step::Try(5, &["identifier"]), Step::Try(1, &["identifier", "email"])],
        &[Step::Try(5, &["username"]), Step::Try(1, &["name"])],
        &[Step::Try(2, &["name", "email"]), Step::Upper(3, &["email"]), Step::Try(1, &["username"])],
        &[Step::Pin(3, &["identifier"]), Step::Try(2, &["name"]), Step::Pin(1, &["username", "identifier"])],
        &[Step::Try(5, &["identifier", "email", "username", "name"]), Step::Upper(1, &["identifier"])],
    ];
    for steps in sequences {
        for (statuses, _) in assert_alike(backend, steps, &PAIRS) {
            assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
        }
    }
}

fn throttle_answers_alike_for_known_and_unknown_after_any_silence(backend: Backend) {
    for (days, sixth) in [(1, 429), (25, 429), (89, 429), (91, 401), (400, 401)] {
        let pause = Step::Pause(DAY * days + Duration::from_hours(1));
        let steps = [Step::Try(5, &["identifier"]), pause, Step::Try(1, &["identifier"])];
        for (statuses, _) in assert_alike(backend, &steps, &PAIRS[..2]) {
            assert_eq!(statuses, [401, 401, 401, 401, 401, sixth], "{days} days");
        }
    }
}

fn throttle_answers_alike_for_known_and_unknown_up_to_the_hard_limit(backend: Backend) {
    for (secret, limit) in [("password", 90), ("pin", 50)] {
        let one = if secret == "pin" { Step::Pin(1, &["username"]) } else { Step::Try(1, &["username"]) };
        let mut steps: Vec<Step> = (0..limit).flat_map(|_| [one, Step::Pause(Duration::from_hours(1))]).collect();
        steps.extend([one, Step::Pause(DAY * 500), one]);
        let (statuses, hashes) = assert_alike(backend, &steps, &PAIRS[..1]).remove(0);
        assert_eq!(statuses[limit..], [429, 429], "{secret}: not even after a long silence");
        assert_eq!(hashes, limit as u64, "{secret}");
    }
}

fn throttle_counts_each_identifier_of_a_request_by_itself(backend: Backend) {
    let service = service(backend);
    let together = json!({ "username": "emily", "email": "emily@example.test", "password": "wrong-wrong" });
    let mixed = json!({ "username": "emily", "email": "nobody@example.test", "password": "wrong-wrong" });
    for (number, body) in [&together, &mixed, &mixed, &together, &mixed].into_iter().enumerate() {
        assert_eq!(post(&service, body, number).status, 401);
    }
    // The username has failed five times, the email twice, the other email three times.
    for (identifier, left) in [("emily", 0), ("emily@example.test", 3), ("nobody@example.test", 2), ("bob", 5)] {
        let body = json!({ "identifier": identifier, "password": "wrong-wrong" });
        let answers: Vec<u16> = (0..=left).map(|number| post(&service, &body, 100 + number).status).collect();
        let free = answers.iter().filter(|status| **status == 401).count();
        assert_eq!((free, answers.last()), (left, Some(&429)), "{identifier}");
    }
}

fn throttle_success_resets_every_identifier_of_the_account(backend: Backend) {
    let service = service(backend);
    for (known, _) in PAIRS {
        let body = json!({ "identifier": known, "password": "wrong-wrong" });
        (0..5).for_each(|number| assert_eq!(post(&service, &body, number).status, 401, "{known}"));
    }
    assert_eq!(post(&service, &serde_json::from_str(&right()).unwrap(), 9).status, 200);
    for (known, _) in PAIRS {
        let body = json!({ "identifier": known, "password": "wrong-wrong" });
        let answers: Vec<u16> = (0..6).map(|number| post(&service, &body, number).status).collect();
        assert_eq!(answers, [401, 401, 401, 401, 401, 429], "{known}");
    }
    // An operator's reset is the way back in without a trusted device.
    let account = service.core().find_account_by("emily").unwrap().id;
    service.core().unlock(account).unwrap();
    for (known, _) in PAIRS {
        let body = json!({ "identifier": known, "password": crate::support::PASSWORD });
        assert_eq!(post(&service, &body, 10).status, 200, "{known}");
    }
}

fn throttle_ignores_blanks_around_an_identifier(backend: Backend) {
    let service = service(backend);
    for identifier in ["emily ", " emily", "\temily\n", "emily\u{a0}", "emily@example.test ", " Emily Stone  "] {
        let body = json!({ "identifier": identifier, "password": crate::support::PASSWORD });
        assert_eq!(post(&service, &body, 1).status, 200, "{identifier:?}");
    }
    let variants = ["emily", "emily ", " EMILY", "\u{2003}emily", "emily\t"];
    for (number, identifier) in variants.into_iter().enumerate() {
        let body = json!({ "identifier": identifier, "password": "wrong-wrong" });
        assert_eq!(post(&service, &body, number).status, 401, "{identifier:?}");
    }
    let body = json!({ "identifier": " emily ", "password": "wrong-wrong" });
    assert_eq!(wait_of(&post(&service, &body, 9)), 60, "one counter for all of them");
}

fn throttle_refuses_an_overlong_identifier_without_a_hash(backend: Backend) {
    let service = service(backend);
    let hashes = metric(&service, "doorward_password_hash_seconds_count");
    let long = ["\u{fdfa}".repeat(5200), "a".repeat(255), format!("{}@example.test", "ﬃ".repeat(100)), "é".repeat(300)];
    for identifier in &long {
        for field in ["identifier", "email", "username", "name"] {
            let answer = post(&service, &json!({ field: identifier, "password": "wrong-wrong" }), 1);
            assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("invalid_credentials")));
        }
    }
    assert_eq!(metric(&service, "doorward_password_hash_seconds_count"), hashes);
    assert_eq!(post(&service, &serde_json::from_str(&right()).unwrap(), 1).status, 200, "and nothing is counted");
}
