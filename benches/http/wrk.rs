//! wrk as a child process: a number of connections from one thread on the load's core, for a time. wrk.lua builds the
//! requests.

use std::path::Path;

use super::{Plan, machine};

/// The result of wrk.
#[derive(Debug, Clone, Copy)]
pub struct Drive {
    /// Answers a second.
    pub rate: f64,
    /// The 99th percentile of their times, in microseconds.
    pub p99: f64,
    /// How many answers came.
    pub answers: u64,
}

/// Concurrent connections.
pub const CONNECTIONS: usize = 32;

/// Requests `url` with the header lines of a file, in turns.
pub fn drive(plan: &Plan, url: &str, headers: &Path) -> Drive {
    drive_on(Some(machine::load_core()), plan.seconds, url, headers)
}

/// Like `drive`, on this core or on any, for this time.
pub fn drive_on(core: Option<usize>, seconds: f64, url: &str, headers: &Path) -> Drive {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/http/wrk.lua");
    let mut wrk = machine::on_core(core, "wrk");
    wrk.args(["-t1", &format!("-c{CONNECTIONS}"), "-d", &format!("{}s", seconds.ceil()), "-s"]);
    let output = wrk.arg(script).args([url, "--"]).arg(headers).output().expect("wrk is missing; see scripts/bench");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let line = line.unwrap_or_else(|| panic!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let numbers: Vec<f64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
    let [answers, micros, p99, refused, broken] = numbers[..] else { panic!("wrk: {line}") };
    // A refusal is cheaper than a check, so a run with refusals is invalid.
    assert!(
        refused + broken == 0.0,
        "{url}: {refused} answers were no 2xx and {broken} connections broke of {answers}"
    );
    Drive { rate: answers / micros * 1e6, p99, answers: answers as u64 }
}
