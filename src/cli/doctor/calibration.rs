//! Calibration (`doctor --calibrate`): measures each bcrypt cost on this machine, on all hashing threads in parallel, and
//! compares BCRYPT_COST with the result. The hash itself is computed in core/credential/password.rs.

use std::thread;
use std::time::Duration;

use crate::cli::console::{print_line, print_table};
use crate::cli::doctor::finding::Finding;
use crate::core::credential::password::measure_hash;
use crate::settings::PasswordSettings;

/// The costs to measure. Below 10 the hashes of a stolen table are too cheap to crack (OWASP Password Storage Cheat Sheet).
const MEASURED_COSTS: std::ops::RangeInclusive<u32> = 10..=16;

/// The target time of one hash: a longer sign-in is noticeable, and a few of them occupy the machine.
const TARGET_TIME: Duration = Duration::from_millis(400);

/// Higher costs are not measured after one that takes longer than this.
const MEASUREMENT_LIMIT: Duration = Duration::from_secs(1);

/// The measured time of one cost.
#[derive(Debug, Clone, Copy)]
struct CostMeasurement {
    cost: u32,
    duration: Duration,
}

/// Measures the costs, prints the table and evaluates BCRYPT_COST.
pub fn calibrate(settings: &PasswordSettings) -> Finding {
    let (threads, configured) = (settings.hashing_threads(), settings.bcrypt_cost);
    let mut measurements: Vec<CostMeasurement> = vec![];
    for cost in MEASURED_COSTS {
        let duration = slowest(cost, threads);
        measurements.push(CostMeasurement { cost, duration });
        if duration > MEASUREMENT_LIMIT && cost >= configured {
            break;
        }
    }
    print_line(&format!("bcrypt on {threads} threads in parallel"));
    let row = |one: &CostMeasurement| {
        let mark = if one.cost == configured { "BCRYPT_COST" } else { "" };
        vec![one.cost.to_string(), format!("{} ms", one.duration.as_millis()), rate(one, threads), mark.to_owned()]
    };
    print_table(&["cost", "one hash", "sign-ins per second", ""], &measurements.iter().map(row).collect::<Vec<_>>());
    evaluate(&measurements, configured, threads)
}

/// The slowest of one hash on each thread in parallel: hyper-threads share a core, so a single hash would be faster.
fn slowest(cost: u32, threads: usize) -> Duration {
    thread::scope(|scope| {
        let hashing: Vec<_> = (0..threads).map(|_| scope.spawn(move || measure_hash(cost))).collect();
        hashing.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
    })
}

fn rate(one: &CostMeasurement, threads: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a machine has few threads")]
    let rate = threads as f64 / one.duration.as_secs_f64().max(1e-6);
    format!("{rate:.1}")
}

fn evaluate(measurements: &[CostMeasurement], configured: u32, threads: usize) -> Finding {
    let best = measurements.iter().rev().find(|one| one.duration <= TARGET_TIME).or(measurements.first());
    let current = measurements.iter().find(|one| one.cost == configured);
    match (current, best) {
        (Some(current), Some(best)) if current.cost > best.cost => Finding::Warning(format!(
            "BCRYPT_COST={configured} takes {} ms, which limits this machine to {} sign-ins per second; cost {} takes {} ms",
            current.duration.as_millis(),
            rate(current, threads),
            best.cost,
            best.duration.as_millis()
        )),
        (Some(current), Some(best)) if current.cost < best.cost => Finding::Warning(format!(
            "BCRYPT_COST={configured} is lower than necessary: cost {} takes {} ms; passwords are rehashed at the next sign-in",
            best.cost,
            best.duration.as_millis()
        )),
        (Some(current), _) if current.duration > TARGET_TIME => Finding::Warning(format!(
            "this machine is slow: BCRYPT_COST={configured}, the lowest safe cost, takes {} ms",
            current.duration.as_millis()
        )),
        (Some(current), _) => Finding::Passed(format!(
            "BCRYPT_COST={configured} is appropriate: it takes {} ms, and is the highest cost under {} ms",
            current.duration.as_millis(),
            TARGET_TIME.as_millis()
        )),
        (None, _) if configured < *MEASURED_COSTS.start() => {
            Finding::Warning(format!("BCRYPT_COST={configured} is for test suites only"))
        }
        (None, _) => Finding::Warning(format!("BCRYPT_COST={configured} is too high to be measured; use at most 16")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Vec<CostMeasurement> {
        [(10, 60), (11, 120), (12, 240), (13, 480), (14, 960)]
            .map(|(cost, ms)| CostMeasurement { cost, duration: Duration::from_millis(ms) })
            .to_vec()
    }

    #[test]
    fn the_highest_cost_within_the_target_time_is_appropriate() {
        assert!(matches!(evaluate(&measured(), 12, 2), Finding::Passed(text) if text.contains("240 ms")));
        assert!(
            matches!(evaluate(&measured(), 10, 2), Finding::Warning(text) if text.contains("cost 12 takes 240 ms"))
        );
        assert!(
            matches!(evaluate(&measured(), 14, 2), Finding::Warning(text) if text.contains("2.1 sign-ins per second"))
        );
        assert!(matches!(evaluate(&measured(), 4, 2), Finding::Warning(text) if text.contains("test suites")));
    }

    #[test]
    fn a_slow_machine_is_reported_at_the_lowest_safe_cost() {
        let slow = [CostMeasurement { cost: 10, duration: Duration::from_secs(2) }];
        assert!(matches!(evaluate(&slow, 10, 1), Finding::Warning(text) if text.contains("2000 ms")));
        assert!(matches!(evaluate(&slow, 31, 1), Finding::Warning(text) if text.contains("too high to be measured")));
    }
}
