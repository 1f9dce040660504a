//! What `./scripts/house` prints: the figures beside their targets, and the lists behind them. Each is a test of its own
//! name; without `--nocapture` nothing is shown.
#![expect(clippy::print_stdout, reason = "the report is what a run with --nocapture is for")]

use crate::dependencies::{Edge, cycles, edges, edges_to_others};
use crate::duplicates::{BLOCK, duplicates};
use crate::limits;
use crate::measures::{files_longer_than, fullest_folder, function_lengths, functions, prose_per_100_lines};
use crate::names::{Places, constants_that_share_a_name, public_names, types_that_share_a_name};
use crate::source::Source;
use crate::words::{FoundIn, Index, WORDS};

fn row(figure: &str, value: impl std::fmt::Display, target: &str) {
    println!("{figure:<52} {:<28} {target}", value.to_string());
}

/// How many files are in cycles, and the sizes of the groups.
fn cyclic(edges: &[Edge]) -> String {
    let sizes: Vec<usize> = cycles(edges).iter().map(Vec::len).collect();
    let files: usize = sizes.iter().sum();
    if files == 0 { files.to_string() } else { format!("{files} {sizes:?}") }
}

fn places(places: &Places) {
    places.iter().for_each(|(name, places)| println!("{name}\n    {}", places.join("\n    ")));
}

#[test]
fn figures() {
    let source = Source::project();
    let index = Index::new(source);
    let (folder, files) = fullest_folder(source);
    let lengths = function_lengths(source);
    let (docs, comments) = prose_per_100_lines(source);
    row("figure", "today", "target");
    row("files in import cycles", cyclic(&edges(source)), "0");
    row("  without a module's uses of its own children", cyclic(&edges_to_others(source)), "0");
    row("files in the fullest folder of src", format!("{files} (src/{folder})"), "<= 12");
    let longest = limits::LINES_OF_A_FILE;
    row(&format!("files of more than {longest} lines"), files_longer_than(source, longest).len(), "0");
    row("functions", functions(source).count(), "");
    let spread = format!("{} / {} / {}", lengths.p50, lengths.p90, lengths.max);
    row("lines of a function, p50 / p90 / max", spread, "<= 10 / 30 / 50");
    row("doc lines per 100 lines of code", format!("{docs:.1}"), ">= 12");
    row("comment lines per 100 lines of code", format!("{comments:.1}"), "");
    row("type names that stand for two things", types_that_share_a_name(source).len(), "0");
    row("constant names in several files", constants_that_share_a_name(source).len(), "");
    row("public names", public_names(source).len(), "");
    let halved = format!("<= {}", limits::PAIRS_OF_DUPLICATES_TARGET);
    row(&format!("pairs of duplicated blocks of {BLOCK} lines or more"), duplicates(source).len(), &halved);
    row("words that no file is named by or begins with", index.words_without_a_file().len(), "0");
    println!();
    words_lead_to(&index);
}

fn words_lead_to(index: &Index<'_>) {
    println!("A search for … leads to (by the name or the first line of a file; else by its text):");
    for word in WORDS {
        let (place, files) = index.search(word);
        let shown = match place {
            FoundIn::Heading => files.join(", "),
            FoundIn::Text => format!("text only: {}", files.join(", ")),
            FoundIn::Nowhere => "nothing".to_owned(),
        };
        println!("    {word:<20} {shown}");
    }
}

#[test]
fn cycle_list() {
    let source = Source::project();
    let edges = edges(source);
    for group in cycles(&edges) {
        println!("{} files:", group.len());
        for edge in edges.iter().filter(|edge| group.contains(&edge.from) && group.contains(&edge.to)) {
            let (from, to) = (&source.files[edge.from].path, &source.files[edge.to].path);
            println!("    {from}:{} uses {to} ({})", edge.line, edge.path);
        }
    }
}

#[test]
fn type_list() {
    places(&types_that_share_a_name(Source::project()));
}

#[test]
fn constant_list() {
    places(&constants_that_share_a_name(Source::project()));
}

#[test]
fn public_list() {
    public_names(Source::project()).iter().for_each(|name| println!("{name}"));
}

#[test]
fn duplicate_list() {
    for duplicate in duplicates(Source::project()) {
        println!("{} lines: {} and {}", duplicate.lines, duplicate.places.0, duplicate.places.1);
    }
}

#[test]
fn function_list() {
    let mut longest: Vec<_> = functions(Source::project()).collect();
    longest.sort_by_key(|(_, function)| std::cmp::Reverse(function.lines));
    for (file, function) in longest.into_iter().take(30) {
        println!("{} lines: {} at {}:{}", function.lines, function.name, file.path, function.line);
    }
}
