//! The architecture test: reads the text of `src` and holds its rules and its figures: which module may use which, import
//! cycles, sizes, names. `./scripts/house` prints the figures.
//!
//! It is a test binary of its own, since it needs no running service.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod dependencies;
mod duplicates;
mod facts;
mod limits;
mod lines;
mod measures;
mod names;
mod report;
mod rules;
mod snippets;
mod source;
mod words;

/// Fails with every fault on a line of its own.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
