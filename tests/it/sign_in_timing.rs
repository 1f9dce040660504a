//! How long a refused sign-in takes tells nothing about whether the account exists. The ordinary run asks a few pairs and
//! would notice only a check that is left out; `DOORWARD_SOAK=1` asks 300 at a real cost and prints what is measured.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::Request;
use crate::support::{Backend, on_both_backends, registered};

on_both_backends!(an_unknown_identifier_takes_as_long_as_a_wrong_secret);

/// Who is asked for: two of a kind, whose difference is the noise; one that has no password; one that nobody has.
const NAMES: [&str; 4] = ["emily", "george", "pinned", "nobody"];

/// Milliseconds of each name, taken in turns.
fn measure(service: &TestService, rounds: usize) -> Vec<Vec<f64>> {
    let mut times = vec![vec![]; NAMES.len()];
    for round in 0..rounds {
        // Whoever comes first in one round comes last in another.
        for step in 0..NAMES.len() {
            let at = (round + step * if round % 2 == 0 { 1 } else { NAMES.len() - 1 }) % NAMES.len();
            let body = json!({ "identifier": NAMES[at], "password": "not-this-lantern" }).to_string();
            let request = Request::new("POST", "/auth/login").json(&body);
            let began = Instant::now();
            let answer = request.send(service.address());
            times[at].push(began.elapsed().as_secs_f64() * 1000.0);
            assert_eq!(answer.status, 401, "{}", answer.text());
        }
    }
    times
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// How often a time of the one is above one of the other: 0.5 where they cannot be told apart (Mann and Whitney).
fn roc_area(one: &[f64], other: &[f64]) -> f64 {
    let against = |time: &f64, theirs: &f64| match time.total_cmp(theirs) {
        Ordering::Greater => 1.0,
        Ordering::Equal => 0.5,
        Ordering::Less => 0.0,
    };
    let above = |time: &f64| -> f64 { other.iter().map(|theirs| against(time, theirs)).sum() };
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let pairs = (one.len() * other.len()) as f64;
    one.iter().map(above).sum::<f64>() / pairs
}

fn soak() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the test suite's own setting")]
    std::env::var("DOORWARD_SOAK").is_ok_and(|value| value == "1")
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn an_unknown_identifier_takes_as_long_as_a_wrong_secret(backend: Backend) {
    let (rounds, cost) = if soak() { (300, "10") } else { (20, "8") };
    let service = backend.service().set("BCRYPT_COST", cost).set("HASH_THREADS", "1").start();
    for name in ["emily", "george"] {
        assert_eq!(registered(&service, json!({ "username": name })).status, 201);
    }
    crate::accounts::add_with_pin(&service, "pinned", "918273");
    measure(&service, 3);
    let times = measure(&service, rounds);
    let known = median(&times[0]);
    for (name, theirs) in NAMES.iter().zip(&times) {
        let (median, area) = (median(theirs), roc_area(theirs, &times[0]));
        println!(
            "{backend:?} cost {cost}, {rounds} rounds: {name:7} median {median:7.2} ms, {:+5.1} %, ROC area {area:.3}",
            (median / known - 1.0) * 100.0
        );
        // A check that was left out answers in a tenth of the time. What is finer than that is for the soak.
        assert!((0.25..4.0).contains(&(median / known)), "{name}: {median} ms against {known} ms");
        if soak() {
            // What two of a kind differ by is the machine's noise.
            let bound = 0.07 + (roc_area(&times[1], &times[0]) - 0.5).abs();
            assert!((area - 0.5).abs() <= bound, "{name} is told apart from emily: {area}");
        }
    }
    assert!(known > Duration::from_millis(2).as_secs_f64() * 1000.0, "a hash of cost {cost} takes longer");
}
