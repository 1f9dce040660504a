//! The benchmark over HTTP: starts what it compares, drives it, writes tables and plots. `scripts/bench` builds it and
//! gets what it needs; what is measured stands in the files named after it, how load is made in load.rs and wrk.rs.
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

/// How long, how often, how much.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds of each comparison, interleaved; the table has their medians.
    pub rounds: usize,
    /// Seconds of one drive.
    pub seconds: f64,
    /// Sessions in a grown database.
    pub many: u64,
    /// Whether figures are worth keeping.
    pub quick: bool,
    /// Where everything goes.
    pub folder: PathBuf,
}

/// Rounds where two are to be told apart that hardly differ.
const MANY_TURNS: usize = 21;

impl Plan {
    /// Many turns, and short ones: what the machine does meanwhile hits some of each, and the medians are as if it had not.
    #[must_use]
    pub fn in_short_turns(&self) -> Self {
        Self { rounds: if self.quick { 1 } else { MANY_TURNS }, seconds: self.seconds / 2.0, ..self.clone() }
    }
}

/// Measures one thing, and tells the report.
type Section = fn(&Plan, &mut Report);

/// What is measured, in order, under the name that a FILTER names.
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
    // What `cargo bench` adds is for harnesses that have one.
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
            // After each, so that a run that is cut leaves what it has.
            report.write();
        }
    }
    std::fs::remove_dir_all(plan.folder.join("work")).unwrap();
    println!("\n{}", report.markdown());
    println!("In {}", plan.folder.display());
}
