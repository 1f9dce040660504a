//! Login: its cost beyond the hash, and load shedding when there are too many.

use std::time::Instant;

use doorward::settings::TokenAlgorithm;

use super::check::Ground;
use super::load::{self, Pace, Same};
use super::machine::Pinned;
use super::node::Node;
use super::report::{Goal, Report, interleaved};
use super::seed::{PASSWORD, Rows};
use super::{Plan, machine};

/// The default BCRYPT_COST.
const COST: u32 = 12;

/// HASH_QUEUE's default.
const QUEUE: f64 = 32.0;

/// Makes an account that can sign in, and the request that signs it in.
pub fn account(node: &Node) -> String {
    let name = format!("visitor{}", node.id());
    let body = format!(r#"{{"username":"{name}","password":"{PASSWORD}"}}"#);
    let answer = node.ask("POST", "/auth/register", &[], &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    Same::post("/auth/login", &body).0
}

/// This many clients that sign in with it.
pub fn visitors(request: &str, clients: usize) -> Vec<Same> {
    (0..clients).map(|_| Same(request.to_owned())).collect()
}

/// Hashes a second on the server's core.
fn hashes(seconds: f64) -> f64 {
    let _pinned = Pinned::to(machine::server_core());
    let (began, mut done) = (Instant::now(), 0.0);
    while done < 3.0 || began.elapsed().as_secs_f64() < seconds {
        bcrypt::hash(PASSWORD, COST).unwrap();
        done += 1.0;
    }
    done / began.elapsed().as_secs_f64()
}

/// At saturation, and then with sixteen times as many clients.
pub fn measure(plan: &Plan, report: &mut Report) {
    let ground = Ground::new(plan, "login", TokenAlgorithm::Hs256, Rows::default());
    let node = ground.place().serve();
    let request = account(&node);
    let seconds = if plan.quick { 1.0 } else { 4.0 };
    let core = Some(machine::load_core());
    let rates = interleaved(plan.rounds, &["bcrypt by itself", "doorward, logins"], |at| {
        if at == 0 {
            return hashes(seconds / 2.0);
        }
        let (outcome, _) = load::drive(node.address, core, visitors(&request, 4), Pace::Closed, seconds);
        outcome.must_be(&[200]);
        outcome.rate()
    });
    report.note(&format!(
        "bcrypt cost {COST}, one hashing thread on the server's core, four clients that sign in without pause."
    ));
    report.ratio("logins ÷ (threads ÷ time of one hash)", &rates[1], &rates[0], Some(Goal::AtLeast(0.95)));
    report.series("Logins", "logins/s", &rates);
    overload(plan, report, &node, &request, rates[1].median());
}

fn overload(plan: &Plan, report: &mut Report, node: &Node, request: &str, rate: f64) {
    let seconds = if plan.quick { 2.0 } else { 12.0 };
    let pace = Pace::Rate(rate * 16.0);
    let core = Some(machine::load_core());
    let (outcome, _) = load::drive(node.address, core, visitors(request, 256), pace, seconds);
    outcome.must_be(&[200, 503]);
    report.note(&format!(
        "Overload: {:.0} logins due a second for {seconds} s: {} answered 200, {} answered 503.",
        rate * 16.0,
        outcome.count(200),
        outcome.count(503)
    ));
    report.figure("overload: the slowest refusal", outcome.worst(503) / 1e3, "ms", Some(Goal::AtMost(100.0)));
    report.figure("overload: p99 of the refusals", outcome.percentile(503, 0.99) / 1e3, "ms", None);
    // The queue before it, its own hash, and the one that was running.
    let longest = (QUEUE + 2.0) / rate * 1.1;
    let waited = outcome.worst(200) / 1e6;
    report.figure(
        "overload: the longest wait of those served, HASH_QUEUE deep",
        waited,
        "s",
        Some(Goal::AtMost(longest)),
    );
}
