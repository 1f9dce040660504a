//! Model-based test: random sequences of everything that clients, operators, clocks and restarts do, on one node and on
//! two, compared at each step with a model in memory: status, cookies, tokens and identity.
//!
//! The ordinary run plays the same few sequences each time; the long one plays 10,000 new steps. A failing sequence is
//! shrunk before it is shown, and belongs into `KNOWN` once it is understood.

mod actions;
mod driver;
mod model;
mod requests;

use std::cell::RefCell;
use std::time::Instant;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::support::rng::Rng;
use crate::support::{Backend, is_soak, on_both_backends, print_figure};
use actions::{Action, Step, With};
use driver::Machine;
use model::{GRACE, LOST_AFTER};

on_both_backends!(
    one_node_answers_as_the_model_at_each_step,
    two_nodes_answer_as_the_model_at_each_step,
    known_sequences_are_answered_as_the_model_says,
);

fn one_node_answers_as_the_model_at_each_step(backend: Backend) {
    run(backend, 1);
}

fn two_nodes_answer_as_the_model_at_each_step(backend: Backend) {
    run(backend, 2);
}

/// The most steps in a sequence; half as many on average.
const LONGEST: usize = 90;

/// Of a refresh token, and of an access token.
const VERDICTS: [&str; 11] = [
    "Over",
    "Refused",
    "Repeats",
    "Replaced",
    "Replaces",
    "Reuse",
    "Rotates",
    "Stays",
    "Waits",
    "accepted",
    "not accepted",
];

fn run(backend: Backend, nodes: usize) {
    let who = format!("{backend:?}, {nodes} node(s)");
    let (cases, seed) = if is_soak() { (300, Rng::seeded(&who).below(usize::MAX)) } else { (6, 4) };
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        max_shrink_time: 120_000,
        rng_seed: RngSeed::Fixed(u64::try_from(seed).unwrap()),
        ..Config::default()
    };
    let began = Instant::now();
    let machine = RefCell::new(Machine::start(backend, nodes));
    let outcome = TestRunner::new(config)
        .run(&actions::steps(nodes, LONGEST), |steps| machine.borrow_mut().play(&steps).map_err(TestCaseError::fail));
    let Machine { steps, tally, .. } = machine.into_inner();
    print_figure(&format!("{who}: {steps} steps in {:.1?}; of tokens: {tally:?}", began.elapsed()));
    if let Err(TestError::Fail(why, steps)) = &outcome {
        let line = |Step { node, action }: &Step| format!("at({node}, Action::{action:?}),");
        let steps = steps.iter().map(line).collect::<Vec<_>>().join("\n");
        panic!("{why}\nSeed {seed}; at its shortest:\n{steps}");
    }
    outcome.unwrap();
    assert!(!is_soak() || (steps >= 10_000 && tally.len() == VERDICTS.len()), "{steps} steps, {tally:?}");
}

const fn at(node: usize, action: Action) -> Step {
    Step { node, action }
}

/// Sequences that run each time: edge cases that random ones seldom reach, and findings of long runs.
const KNOWN: &[&[Step]] = &[
    // An answer is lost: its successor is replayed, waits, and is replaced.
    &[
        at(0, Action::Refresh { client: 0, in_body: false, lost: true }),
        at(0, Action::Refresh { client: 0, in_body: false, lost: true }),
        at(0, Action::Clock { by: LOST_AFTER + 1 }),
        at(0, Action::Refresh { client: 0, in_body: true, lost: false }),
        at(0, Action::Me { client: 0 }),
        at(0, Action::Clock { by: 2 * GRACE }),
        at(1, Action::Refresh { client: 0, in_body: false, lost: false }),
        at(0, Action::Me { client: 0 }),
        at(1, Action::Refresh { client: 0, in_body: false, lost: false }),
        at(0, Action::Clock { by: 2 * GRACE + 3 }),
        at(1, Action::Refresh { client: 0, in_body: false, lost: false }),
        // The void one: its session ends.
        at(0, Action::Respend { pick: 2 }),
        at(0, Action::Refresh { client: 0, in_body: false, lost: false }),
    ],
    // The successor is used: its parent is replayed for a grace, and is reuse after it.
    &[
        at(0, Action::Refresh { client: 0, in_body: false, lost: false }),
        at(0, Action::Me { client: 0 }),
        at(0, Action::Clock { by: GRACE }),
        at(0, Action::Respend { pick: 2 }),
        at(0, Action::Clock { by: 1 }),
        at(0, Action::Respend { pick: 2 }),
        at(0, Action::Me { client: 0 }),
    ],
    &[
        at(0, Action::ChangePassword { client: 0, right: true, to: 1, lost: true }),
        at(1, Action::Me { client: 0 }),
        at(1, Action::Refresh { client: 0, in_body: false, lost: false }),
        at(1, Action::SignOut { client: 0, with: With::Refresh, lost: false }),
        at(1, Action::SignIn { client: 0, account: 0, right: true, with_cookies: false, lost: false }),
        at(1, Action::SignIn { client: 1, account: 0, right: true, with_cookies: false, lost: true }),
        at(1, Action::SignIn { client: 0, account: 0, right: true, with_cookies: true, lost: true }),
        at(1, Action::Refresh { client: 0, in_body: false, lost: false }),
        at(1, Action::SignOutEverywhere { client: 1, with: With::Both }),
        at(1, Action::Refresh { client: 1, in_body: false, lost: false }),
    ],
];

fn known_sequences_are_answered_as_the_model_says(backend: Backend) {
    let mut machine = Machine::start(backend, 2);
    for (number, steps) in KNOWN.iter().enumerate() {
        machine.play(steps).unwrap_or_else(|why| panic!("sequence {number}: {why}"));
    }
    let reached: Vec<&str> = machine.tally.keys().map(String::as_str).collect();
    assert_eq!(reached, VERDICTS, "each is reached");
}
