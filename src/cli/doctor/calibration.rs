//! `doctor --calibrate`: what each cost of bcrypt takes on this machine, on as many threads at once as the service hashes
//! on, and whether the cost that is set fits. What a hash is made of is core/password.rs's.

use std::thread;
use std::time::Duration;

use crate::cli::console::{print_line, table};
use crate::cli::doctor::finding::Finding;
use crate::core::credential::password::measure_hash;
use crate::settings::Passwords;

/// What is worth trying; under 10 a stolen table is guessed too cheaply (OWASP Password Storage Cheat Sheet).
const COSTS: std::ops::RangeInclusive<u32> = 10..=16;

/// A sign-in that takes longer is felt by people, and a handful of them fills the machine.
const FELT: Duration = Duration::from_millis(400);

/// Dearer costs are not tried after one that takes this long.
const LONG: Duration = Duration::from_secs(1);

/// What a cost takes.
#[derive(Debug, Clone, Copy)]
struct Measured {
    cost: u32,
    took: Duration,
}

/// Measures, prints the table and judges the cost that is set.
pub fn calibrate(settings: &Passwords) -> Finding {
    let (threads, set) = (settings.hashing_threads(), settings.bcrypt_cost);
    let mut measured: Vec<Measured> = vec![];
    for cost in COSTS {
        let took = slowest(cost, threads);
        measured.push(Measured { cost, took });
        if took > LONG && cost >= set {
            break;
        }
    }
    print_line(&format!("bcrypt on {threads} threads at once"));
    let row = |one: &Measured| {
        let mark = if one.cost == set { "as BCRYPT_COST says" } else { "" };
        vec![one.cost.to_string(), format!("{} ms", one.took.as_millis()), rate(one, threads), mark.to_owned()]
    };
    table(&["cost", "one hash", "sign-ins a second", ""], &measured.iter().map(row).collect::<Vec<_>>());
    judge(&measured, set, threads)
}

/// The slowest of one hash on each thread, all at once: threads share what a processor's halves share.
fn slowest(cost: u32, threads: usize) -> Duration {
    thread::scope(|scope| {
        let hashing: Vec<_> = (0..threads).map(|_| scope.spawn(move || measure_hash(cost))).collect();
        hashing.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
    })
}

fn rate(one: &Measured, threads: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a machine has few threads")]
    let rate = threads as f64 / one.took.as_secs_f64().max(1e-6);
    format!("{rate:.1}")
}

fn judge(measured: &[Measured], set: u32, threads: usize) -> Finding {
    let fitting = measured.iter().rev().find(|one| one.took <= FELT).or(measured.first());
    let now = measured.iter().find(|one| one.cost == set);
    match (now, fitting) {
        (Some(now), Some(best)) if now.cost > best.cost => Finding::Warning(format!(
            "BCRYPT_COST={set} takes {} ms here, and {} sign-ins a second fill the machine; {} takes {} ms",
            now.took.as_millis(),
            rate(now, threads),
            best.cost,
            best.took.as_millis()
        )),
        (Some(now), Some(best)) if now.cost < best.cost => Finding::Warning(format!(
            "BCRYPT_COST={set} is cheaper than this machine needs: {} takes {} ms, and passwords are upgraded as people sign in",
            best.cost,
            best.took.as_millis()
        )),
        (Some(now), _) if now.took > FELT => Finding::Warning(format!(
            "this machine is slow: BCRYPT_COST={set}, the cheapest that is safe, takes {} ms",
            now.took.as_millis()
        )),
        (Some(now), _) => Finding::Passed(format!(
            "BCRYPT_COST={set} fits: one hash takes {} ms, the dearest under {} ms",
            now.took.as_millis(),
            FELT.as_millis()
        )),
        (None, _) if set < *COSTS.start() => Finding::Warning(format!("BCRYPT_COST={set} is for test suites only")),
        (None, _) => Finding::Warning(format!("BCRYPT_COST={set} is dearer than anything that is worth trying")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Vec<Measured> {
        [(10, 60), (11, 120), (12, 240), (13, 480), (14, 960)]
            .map(|(cost, ms)| Measured { cost, took: Duration::from_millis(ms) })
            .to_vec()
    }

    #[test]
    fn the_dearest_that_nobody_feels_fits() {
        assert!(matches!(judge(&measured(), 12, 2), Finding::Passed(said) if said.contains("240 ms")));
        assert!(matches!(judge(&measured(), 10, 2), Finding::Warning(said) if said.contains("12 takes 240 ms")));
        assert!(matches!(judge(&measured(), 14, 2), Finding::Warning(said) if said.contains("2.1 sign-ins a second")));
        assert!(matches!(judge(&measured(), 4, 2), Finding::Warning(said) if said.contains("test suites")));
    }

    #[test]
    fn on_a_slow_machine_the_least_that_is_safe_is_said_to_be_slow() {
        let slow = [Measured { cost: 10, took: Duration::from_secs(2) }];
        assert!(matches!(judge(&slow, 10, 1), Finding::Warning(said) if said.contains("2000 ms")));
        assert!(matches!(judge(&slow, 31, 1), Finding::Warning(said) if said.contains("dearer than anything")));
    }
}
