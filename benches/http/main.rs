//! HTTP benchmarks: starts the servers to compare, drives them, and writes tables and plots. `scripts/bench` builds it
//! and installs what it needs. Each file measures what its name says; load.rs and wrk.rs generate the load.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on should stop; it talks to a terminal, its settings are its own, and averages \
              are no exact numbers"
)]

mod alternatives;
mod check;
mod footprint;
mod growth;
mod isolation;
mod load;
mod login;
mod machine;
mod node;
mod oha;
mod pgo;
mod plot;
mod postgres;
mod refresh;
mod report;
mod scale;
mod seed;
mod server;
mod witness;
mod wrk;

use std::path::PathBuf;

use report::Report;

/// Duration, repetitions and sizes of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds of each comparison, interleaved; the table has their medians.
    pub rounds: usize,
    /// Seconds of one drive.
    pub seconds: f64,
    /// Sessions in a grown database.
    pub many: u64,
    /// Whether this is a short run, whose figures are not worth keeping.
    pub quick: bool,
    /// The output folder.
    pub folder: PathBuf,
}

/// Rounds for comparisons of nearly equal variants.
const MANY_TURNS: usize = 21;

impl Plan {
    /// Many short rounds: disturbances of the machine affect all variants, and the medians are as if there were none.
    #[must_use]
    pub fn in_short_turns(&self) -> Self {
        Self { rounds: if self.quick { 1 } else { MANY_TURNS }, seconds: self.seconds / 2.0, ..self.clone() }
    }
}

/// Measures one section and adds it to the report.
type Section = fn(&Plan, &mut Report);

/// The sections, in order, by the name that a FILTER selects.
const SECTIONS: [(&str, Section); 10] = [
    ("check", check::measure),
    ("refresh", refresh::measure),
    ("login", login::measure),
    ("isolation", isolation::measure),
    ("memory", footprint::memory),
    ("start", footprint::start),
    ("growth", growth::measure),
    ("scale", scale::measure),
    ("alternatives", alternatives::measure),
    ("pgo", pgo::measure),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--serve") {
        return server::serve();
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (quick, long) = (has("--quick"), has("--long"));
    // `cargo bench` adds options for harnesses.
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let plan = Plan {
        rounds: if quick { 1 } else { 5 },
        seconds: if quick { 0.5 } else { 2.0 },
        many: if quick { 20_000 } else { 1_000_000 } * if long { 10 } else { 1 },
        quick,
        folder: std::path::absolute(target.join("bench")).unwrap(),
    };
    std::fs::create_dir_all(plan.folder.join("work")).unwrap();
    if arguments.first().is_some_and(|first| first == "--train") {
        let program = std::path::absolute(filters.first().expect("--train PROGRAM")).unwrap();
        return pgo::train(&plan, &program);
    }
    let mut report = Report::new(&plan);
    for (name, measure) in SECTIONS {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            report.begin(name);
            measure(&plan, &mut report);
            // Written after each section, so that an interrupted run keeps its results.
            report.write();
        }
    }
    std::fs::remove_dir_all(plan.folder.join("work")).unwrap();
    println!("\n{}", report.markdown());
    println!("In {}", plan.folder.display());
}
