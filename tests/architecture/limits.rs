//! Limits of the figures. A limit above its target is the figure at the time it was last lowered: it may be lowered again,
//! never raised.

use crate::dependencies::{Edge, cycles, edges, edges_to_others};
use crate::duplicates::duplicates;
use crate::measures::{Spread, files_longer_than, fullest_folder, function_lengths, functions, prose_per_100_lines};
use crate::names::types_that_share_a_name;
use crate::source::Source;
use crate::words::Index;

pub const LINES_OF_A_FILE: usize = 400;
const LINES_OF_A_FUNCTION: Spread = Spread { p50: 10, p90: 30, max: 50 };
const DOC_LINES_PER_100: f64 = 12.0;
const FILES_IN_CYCLES: usize = 0;
/// Without a module's uses of its own children.
const FILES_IN_CYCLES_WITH_OTHERS: usize = 0;
const FILES_IN_A_FOLDER: usize = 12;
const SHARED_TYPE_NAMES: usize = 0;
const PAIRS_OF_DUPLICATES: usize = 19;
/// Half of what it was when it was first counted.
pub const PAIRS_OF_DUPLICATES_TARGET: usize = 19;

/// Fails with the command that lists what a figure counts.
fn assert_at_most(figure: &str, value: usize, limit: usize, list: &str) {
    assert!(value <= limit, "{figure}: {value}, at most {limit}; ./scripts/house {list} shows them");
}

#[test]
fn files_do_not_import_in_cycles() {
    let files_in_cycles = |edges: &[Edge]| cycles(edges).iter().map(Vec::len).sum();
    let source = Source::project();
    assert_at_most("files in import cycles", files_in_cycles(&edges(source)), FILES_IN_CYCLES, "cycles");
    let others = files_in_cycles(&edges_to_others(source));
    assert_at_most("files in cycles with other modules", others, FILES_IN_CYCLES_WITH_OTHERS, "cycles");
}

#[test]
fn a_folder_is_short_enough_to_read() {
    let (folder, files) = fullest_folder(Source::project());
    assert!(files <= FILES_IN_A_FOLDER, "src/{folder} holds {files} files, at most {FILES_IN_A_FOLDER}");
}

#[test]
fn a_file_is_short_enough_to_read() {
    let long = files_longer_than(Source::project(), LINES_OF_A_FILE);
    assert!(long.is_empty(), "of more than {LINES_OF_A_FILE} lines: {long:?}");
}

#[test]
fn a_function_is_short_enough_to_read() {
    let (lengths, limit) = (function_lengths(Source::project()), LINES_OF_A_FUNCTION);
    let within = lengths.p50 <= limit.p50 && lengths.p90 <= limit.p90 && lengths.max <= limit.max;
    assert!(within, "{lengths:?}, at most {limit:?}");
    assert!(functions(Source::project()).count() > 1000, "the functions are parsed");
}

#[test]
fn code_is_documented() {
    let (docs, _) = prose_per_100_lines(Source::project());
    assert!(docs >= DOC_LINES_PER_100, "{docs:.1} doc lines per 100 lines of code, at least {DOC_LINES_PER_100}");
}

#[test]
fn a_type_name_stands_for_one_thing() {
    let shared = types_that_share_a_name(Source::project());
    assert_at_most("type names that stand for two things", shared.len(), SHARED_TYPE_NAMES, "types");
}

#[test]
fn code_is_not_copied() {
    let pairs = duplicates(Source::project()).len();
    assert_at_most("pairs of duplicated blocks", pairs, PAIRS_OF_DUPLICATES, "duplicates");
}

#[test]
fn a_maintainers_words_lead_to_files() {
    let missing = Index::new(Source::project()).words_without_a_file();
    assert!(missing.is_empty(), "no file is named by or begins with: {missing:?}");
}
