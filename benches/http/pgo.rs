//! Profile-guided optimisation: drives an instrumented binary as users do, so that the compiler learns which code is
//! hot, and compares the result with the plain binary. scripts/pgo builds it.

use std::path::{Path, PathBuf};

use doorward::settings::TokenAlgorithm;

use super::check::{CHECK, Ground, timed};
use super::load::{self, Outcome, Pace, Same, Visitor};
use super::node::Node;
use super::refresh::Crowd;
use super::report::{Report, Series, interleaved};
use super::seed::Rows;
use super::{Plan, login, machine, wrk};

/// Tokens that are checked for the first time.
const TOKENS: u64 = 20_000;

/// The first session that is left, and how many there are.
const REFRESHED: u64 = 150_000;
const SESSIONS: u64 = 200_000;

/// Drives this binary through all hot code, and stops it as an operator does, so that it writes its profile.
pub fn train(plan: &Plan, program: &Path) {
    let rows = Rows { sessions: SESSIONS, revocations: 1000, over: 0 };
    let ground = Ground::new(plan, "train", TokenAlgorithm::Hs256, rows);
    let mut place = ground.place().cheap_hashes();
    // The file of its profile.
    if let Ok(file) = std::env::var("LLVM_PROFILE_FILE") {
        place = place.set("LLVM_PROFILE_FILE", &file);
    }
    let node = place.serve_program(program);
    wrk::drive(plan, &node.url(CHECK), &ground.one);
    wrk::drive(plan, &node.url(CHECK), &ground.keys.access_cookies(ground.folder(), TOKENS));
    let line = std::fs::read_to_string(&ground.one).unwrap();
    let get = |path: &str, line: &str| (0..wrk::CONNECTIONS).map(|_| Same::get(path, line)).collect();
    closed(plan, &node, get(CHECK, "Cookie: accessToken=no.token.atall")).must_be(&[401]);
    closed(plan, &node, get("/auth/me", line.trim())).must_be(&[200]);
    for (sessions, clients) in [(0..REFRESHED / 8, 1), (REFRESHED / 8..REFRESHED, 64)] {
        Crowd::new(&ground.keys, sessions, clients).refresh(&node, plan.seconds);
    }
    closed(plan, &node, login::visitors(&login::account(&node), 16)).must_be(&[200]);
    let leaver = |n: u64| Visitor::leaving((REFRESHED + n..SESSIONS).step_by(8).map(|n| ground.keys.refresh(n)));
    closed(plan, &node, (0..8).map(leaver).collect()).must_be(&[200, 204]);
    assert!(node.stop().success(), "{} did not stop as it should", program.display());
    std::fs::remove_dir_all(ground.folder()).unwrap();
}

fn closed<C: load::Client>(plan: &Plan, node: &Node, clients: Vec<C>) -> Outcome {
    load::drive(node.address, Some(machine::load_core()), clients, Pace::Closed, plan.seconds).0
}

/// The binary of scripts/pgo, if there is one.
pub fn program(plan: &Plan) -> Option<PathBuf> {
    Some(plan.folder.with_file_name("pgo").join("doorward")).filter(|program| program.exists())
}

/// The binary of scripts/pgo beside the plain one.
pub fn measure(plan: &Plan, report: &mut Report) {
    let Some(program) = program(plan) else {
        return report.note("There is no binary of scripts/pgo: run it first.");
    };
    let rows = Rows { sessions: plan.many / 10, revocations: 100_000, over: 0 };
    let grounds = ["plain", "pgo"].map(|name| Ground::new(plan, &format!("pgo-{name}"), TokenAlgorithm::Hs256, rows));
    let nodes = [grounds[0].place().serve(), grounds[1].place().serve_program(&program)];
    let names = ["doorward, plain", "doorward, by scripts/pgo"];
    report.note("Two binaries of the same source, a token seen before, and 64 clients that refresh on SQLite.");

    let mut cpu = names.map(Series::new);
    let rates = interleaved(plan.rounds, &names, |at| {
        let (drive, micros) = timed(plan, &nodes[at], &nodes[at].url(CHECK), &grounds[at].one);
        cpu[at].values.push(micros);
        drive.rate
    });
    report.ratio("checks, by scripts/pgo ÷ plain", &rates[1], &rates[0], None);
    report.ratio("CPU time of a check, plain ÷ by scripts/pgo", &cpu[0], &cpu[1], None);
    report.series("Checks", "requests/s", &rates);
    report.series("CPU time of a check", "µs", &cpu);

    let mut crowds = grounds.each_ref().map(|ground| Crowd::new(&ground.keys, 0..plan.many, 64));
    let mut cpu = names.map(Series::new);
    let rates = interleaved(plan.rounds, &names, |at| {
        let before = nodes[at].cpu_micros();
        let outcome = crowds[at].refresh(&nodes[at], plan.seconds);
        cpu[at].values.push((nodes[at].cpu_micros() - before) / outcome.count(200) as f64);
        outcome.rate()
    });
    report.ratio("refreshes, by scripts/pgo ÷ plain", &rates[1], &rates[0], None);
    report.ratio("CPU time of a refresh, plain ÷ by scripts/pgo", &cpu[0], &cpu[1], None);
    report.series("Refreshes", "refreshes/s", &rates);
    report.series("CPU time of a refresh", "µs", &cpu);
}
