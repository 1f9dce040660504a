//! Soak test: a service under long mixed load leaks no memory and no descriptors, and never answers 5xx. soak/load.rs
//! drives the load, soak/footprint.rs measures; soak/shared_jars.rs is another test. The ordinary run has a few seconds of
//! it, in which only the answers and the descriptors are meaningful; `./scripts/soak` has the half hour.
#![expect(clippy::print_stdout, reason = "figures")]

mod footprint;
mod load;
mod shared_jars;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::process::WorkDir;
use crate::support::rng::Rng;
use crate::support::{Backend, is_soak, on_both_backends, soak_number};
use footprint::Footprint;
use load::{Answers, Walker};

on_both_backends!(long_mixed_load_leaks_nothing_and_has_no_5xx);

const WALKERS: usize = 8;

/// Permitted growth after the warm-up, in percent.
const GROWTH: f64 = 5.0;

/// Tenths of a run that are warm-up: caches fill, the allocator finds its size.
const WARM_UP: usize = 4;

/// Samples of a run.
const SAMPLES: u32 = 120;

fn long_mixed_load_leaks_nothing_and_has_no_5xx(backend: Backend) {
    let minutes = soak_number("DOORWARD_SOAK_MINUTES", 30);
    let time = if is_soak() { Duration::from_mins(u64::try_from(minutes).unwrap()) } else { Duration::from_secs(3) };
    let rate = soak_number("DOORWARD_SOAK_RATE", 150);
    // All clients share an address, so the limits by address are off.
    let lifted =
        ["THROTTLE_FREE_FAILURES", "THROTTLE_ADDRESS", "THROTTLE_SIGN_UPS", "THROTTLE_REFRESHES", "WRITE_RATE"];
    let workdir = WorkDir::on(backend).set("RUST_LOG", "warn");
    let workdir = lifted.into_iter().fold(workdir, |workdir, throttle| workdir.set(throttle, "off"));
    let mut node = workdir.serve(&["serve"]);
    let (answers, samples) = walk(node.address(), node.id(), rate, time);
    assert!(node.is_running(), "{}", node.stderr());
    print_answers(backend, &answers, time);
    let wrong: Vec<_> = answers.statuses.keys().filter(|(what, status)| *status != expected(what)).collect();
    assert!(wrong.is_empty(), "unexpected answers: {wrong:?}\n{}", node.stderr());
    assert_eq!(answers.broken_connections, 0);
    judge(&samples);
}

fn expected(what: &str) -> u16 {
    match what {
        "sign-up" => 201,
        "me after sign-out" => 401,
        _ => 200,
    }
}

/// Loads the service for this time; the answers, and samples of the process's size.
fn walk(address: SocketAddr, process: u32, rate: usize, time: Duration) -> (Answers, Vec<Footprint>) {
    let mut rng = Rng::seeded("soak");
    let pace = Duration::from_secs(1) * u32::try_from(WALKERS).unwrap() / u32::try_from(rate).unwrap();
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let walkers = (0..WALKERS).map(|number| Walker::new(number, rng.part(), pace));
        let walking: Vec<_> = walkers.map(|walker| scope.spawn(move || walker.walk(address, stop))).collect();
        let (began, mut samples) = (Instant::now(), vec![]);
        for sample in 1..=SAMPLES {
            std::thread::sleep((time * sample / SAMPLES).saturating_sub(began.elapsed()));
            samples.extend(Footprint::of(process));
        }
        stop.store(true, Ordering::Relaxed);
        let mut answers = Answers::default();
        walking.into_iter().for_each(|walker| answers.add(walker.join().unwrap()));
        (answers, samples)
    })
}

fn print_answers(backend: Backend, answers: &Answers, time: Duration) {
    let all: usize = answers.statuses.values().sum();
    let a_second = u64::try_from(all).unwrap() / time.as_secs();
    println!("{backend:?}: {all} answers in {time:?}, {a_second} a second");
    for ((what, status), count) in &answers.statuses {
        let mut micros = answers.micros[what].clone();
        micros.sort_unstable();
        let [half, most, longest] =
            [50, 99, 100].map(|part| Duration::from_micros(micros[(micros.len() - 1) * part / 100]));
        println!("  {what:<18} {status} {count:>8}   p50 {half:>9.1?}  p99 {most:>9.1?}  max {longest:>9.1?}");
    }
}

/// The median of some samples: a single stall or page does not count.
fn middle(samples: &[Footprint], of: fn(&Footprint) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn judge(samples: &[Footprint]) {
    if samples.is_empty() {
        println!("  no /proc on this system: memory and descriptors are not measured");
        return;
    }
    let tenth = samples.len() / 10;
    let (before, after) = (&samples[WARM_UP * tenth..(WARM_UP + 1) * tenth], &samples[samples.len() - tenth..]);
    let tenths: Vec<u64> = samples.chunks(tenth).map(|part| middle(part, |one| one.resident_kib)).collect();
    println!("  resident KiB, in tenths of the time: {tenths:?}");
    let sizes: [fn(&Footprint) -> u64; 3] = [|one| one.resident_kib, |one| one.descriptors, |one| one.threads];
    let [memory, descriptors, threads] = sizes.map(|of| (middle(before, of), middle(after, of)));
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let growth = (memory.1 as f64 / memory.0 as f64 - 1.0) * 100.0;
    println!(
        "  after the warm-up and at the end: {memory:?} KiB ({growth:+.1} %), {descriptors:?} descriptors, {threads:?} threads"
    );
    // A client between two connections has one more, or one less.
    let walkers = u64::try_from(WALKERS).unwrap();
    assert!(descriptors.1 <= descriptors.0 + walkers, "descriptors grow: {descriptors:?}");
    assert!(threads.1 <= threads.0 + 2, "threads grow: {threads:?}");
    if is_soak() {
        assert!(growth < GROWTH, "memory grows by {growth:.1} % after the warm-up: {tenths:?}");
    }
}
