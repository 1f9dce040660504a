//! Timing side channel of the sign-in: the time of a refusal does not reveal whether the account exists. The ordinary
//! run compares medians coarsely, which detects a hash that is left out; `DOORWARD_SOAK=1` runs 300 rounds at a real
//! cost and prints medians and ROC areas.

use std::cmp::Ordering;
use std::time::Instant;

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::Request;
use crate::support::{Backend, is_soak, on_both_backends, registered};

on_both_backends!(an_unknown_identifier_takes_as_long_as_a_wrong_secret);

/// Two accounts of the same kind, whose difference is the noise; one without a password; an unknown name.
const NAMES: [&str; 4] = ["emily", "george", "pinned", "nobody"];

/// The milliseconds that a request takes, which must be answered with this status.
fn timed(service: &TestService, request: &Request, status: u16) -> f64 {
    let began = Instant::now();
    let answer = request.send(service.address());
    let took = began.elapsed().as_secs_f64() * 1000.0;
    assert_eq!(answer.status, status, "{}", answer.text());
    took
}

/// The times in milliseconds for each name, measured in turns.
fn measure(service: &TestService, rounds: usize) -> Vec<Vec<f64>> {
    let mut times = vec![vec![]; NAMES.len()];
    for round in 0..rounds {
        // The order is reversed in every other round.
        for step in 0..NAMES.len() {
            let at = (round + step * if round % 2 == 0 { 1 } else { NAMES.len() - 1 }) % NAMES.len();
            let body = json!({ "identifier": NAMES[at], "password": "not-this-lantern" }).to_string();
            let request = Request::new("POST", "/auth/login").json(&body);
            times[at].push(timed(service, &request, 401));
        }
    }
    times
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The probability that a time of the one exceeds one of the other: 0.5 if they are indistinguishable (Mann and
/// Whitney).
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

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn an_unknown_identifier_takes_as_long_as_a_wrong_secret(backend: Backend) {
    let (rounds, cost) = if is_soak() { (300, "10") } else { (20, "8") };
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
        // A hash that is left out makes the answer ten times faster. Finer differences are for the long job.
        assert!((0.25..4.0).contains(&(median / known)), "{name}: {median} ms against {known} ms");
        if is_soak() {
            // The difference of two accounts of the same kind is the machine's noise.
            let bound = 0.07 + (roc_area(&times[1], &times[0]) - 0.5).abs();
            assert!((area - 0.5).abs() <= bound, "{name} is distinguishable from emily: {area}");
        }
    }
    let healthz: Vec<f64> = (0..rounds).map(|_| timed(&service, &Request::new("GET", "/healthz"), 200)).collect();
    let without_a_hash = median(&healthz);
    assert!(known > 3.0 * without_a_hash, "{known} ms with a hash of cost {cost}, {without_a_hash} ms without");
}
