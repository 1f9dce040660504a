//! Footprint: the memory of a node, and the time from its start to its first answer.

use std::path::Path;
use std::time::{Duration, Instant};

use doorward::settings::TokenAlgorithm;

use super::check::{CHECK, Ground};
use super::node::{self, Node};
use super::report::{Goal, Report, Series, interleaved};
use super::seed::{self, Rows};
use super::{Plan, machine, wrk};

/// Long enough for the background work of a start.
const SETTLED: Duration = Duration::from_millis(1500);

fn settled(ground: &Ground) -> Node {
    let node = ground.place().serve();
    std::thread::sleep(SETTLED);
    node
}

/// Resident memory, by the contents of the caches and the work done.
pub fn memory(plan: &Plan, report: &mut Report) {
    let shrink = if plan.quick { 100 } else { 1 };
    let ground = |name: &str, revocations: u64| {
        let rows = Rows { sessions: seed::ACCOUNTS, revocations: revocations / shrink, over: 0 };
        Ground::new(plan, name, TokenAlgorithm::Hs256, rows)
    };
    let grounds = [ground("memory-0", 0), ground("memory-100k", 100_000), ground("memory-1m", 1_000_000)];
    let names = ["doorward, idle", "doorward, 100,000 revocations", "doorward, 1,000,000 revocations"];
    let resident = interleaved(plan.rounds.min(3), &names, |at| settled(&grounds[at]).resident());
    report.figure("resident, idle after a start", resident[0].median(), "MB", Some(Goal::AtMost(20.0)));
    report.figure("resident, 100,000 live revocations", resident[1].median(), "MB", Some(Goal::AtMost(40.0)));
    let each = (resident[2].median() - resident[0].median()) * 1024.0 * 1024.0 / (1e6 / shrink as f64);
    report.figure("memory a revocation takes", each, "bytes", None);
    report.series("Resident", "MB", &resident);
    after_checks(plan, report, &grounds[1]);
}

fn after_checks(plan: &Plan, report: &mut Report, ground: &Ground) {
    let wanted = if plan.quick { 10_000 } else { 1_000_000 };
    let tokens = ground.keys.access_cookies(ground.folder(), wanted.min(200_000));
    let node = settled(ground);
    let mut resident = Series::new("doorward, by 250,000 checks");
    let mut done = 0;
    while done < wanted {
        let core = Some(machine::load_core());
        done += wrk::drive_on(core, 2.0, &node.url(CHECK), &tokens).answers;
        resident.values.push(node.resident());
    }
    report.note(&format!("{done} checks of {} tokens with 100,000 revocations in view.", wanted.min(200_000)));
    let last = resident.values.last().copied().unwrap();
    report.figure("resident, 100,000 revocations and a million checks", last, "MB", Some(Goal::AtMost(40.0)));
    report.series("Resident while it checks, every 2 s", "MB", &[resident]);
}

/// From exec to the first 200.
pub fn start(plan: &Plan, report: &mut Report) {
    let ground = |name: &str, sessions: u64, revocations: u64| {
        Ground::new(plan, name, TokenAlgorithm::Hs256, Rows { sessions, revocations, over: 0 })
    };
    let many = plan.many;
    let grounds = [
        ground("start-few", seed::ACCOUNTS, 0),
        ground("start-many", many, 0),
        ground("start-revocations", seed::ACCOUNTS, if plan.quick { 1000 } else { 100_000 }),
    ];
    let names = ["doorward, 1,000 sessions", "doorward, a million sessions", "doorward, 100,000 live revocations"];
    let times = interleaved(plan.rounds * 2, &names, |at| first_answer(&grounds[at]).as_secs_f64() * 1e3);
    report.note("From the fork to the first 200 of /readyz, asked every 0.2 ms on a connection of its own.");
    report.figure("start on an existing SQLite file", times[0].median(), "ms", Some(Goal::AtMost(50.0)));
    report.figure("start with a million sessions", times[1].median(), "ms", Some(Goal::AtMost(100.0)));
    report.figure("start with 100,000 live revocations", times[2].median(), "ms", None);
    report.series("Start", "ms", &times);
}

fn first_answer(ground: &Ground) -> Duration {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = ground.place().set("BIND", &format!("127.0.0.1:{port}"));
    let began = Instant::now();
    let mut child = place.spawn(Path::new(env!("CARGO_BIN_EXE_doorward")), "serve");
    node::first_success(([127, 0, 0, 1], port).into(), "/readyz");
    let took = began.elapsed();
    node::end(&mut child);
    took
}
