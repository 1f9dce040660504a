//! oha as a child process: requests at a fixed pace from the load's core, each timed from when it was due. A
//! cross-check of load.rs.

use std::process::Stdio;

use super::{Plan, machine, wrk};

/// The 99th percentile of the answers' times, in microseconds; `None` without oha, or when it could not hold the pace.
pub fn p99(plan: &Plan, url: &str, header: &str, rate: f64) -> Option<f64> {
    let mut oha = machine::on_core(Some(machine::load_core()), "oha");
    oha.args(["--no-tui", "--output-format", "json", "--latency-correction", "-H", header]);
    oha.args(["-c", &wrk::CONNECTIONS.to_string(), "-q", &format!("{rate:.0}"), "-z", &format!("{}s", plan.seconds)]);
    let output = oha.arg(url).stderr(Stdio::null()).output().ok()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let held = said["summary"]["requestsPerSec"].as_f64()? > rate * 0.9;
    let answered = said["statusCodeDistribution"].as_object()?.keys().all(|status| status == "200");
    assert!(answered, "{url}: {}", said["statusCodeDistribution"]);
    said["latencyPercentiles"]["p99"].as_f64().filter(|_| held).map(|seconds| seconds * 1e6)
}
