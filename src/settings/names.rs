//! Variables that look like a setting of ours and are none: a misspelt setting must not silently be the default.

use std::collections::BTreeMap;

use super::mounts::KnownDialect;

/// A variable with this prefix that is none of ours is a slip: settings have no prefix.
const LOOKS_LIKE_OURS: &str = "DOORWARD_";

/// Read by the test suite, not by the service.
const TEST_SUITE: &str = "DOORWARD_TEST_BACKENDS";

/// Names that are ours by their look and are no setting: a misspelt setting must not be silently the default.
pub fn unknown_names(vars: &BTreeMap<String, String>, names: &[String], known: &[KnownDialect]) -> Vec<String> {
    let of_mounts = |dialect: &KnownDialect| {
        ["ACCESS_TTL", "REFRESH_TTL"].map(|kind| format!("{}_{kind}", dialect.name.to_uppercase()))
    };
    let all: Vec<String> = names.iter().cloned().chain(known.iter().flat_map(of_mounts)).collect();
    let unknown = vars.keys().filter(|name| !all.contains(name) && *name != TEST_SUITE);
    unknown.filter_map(|name| explain_unknown(name, &all)).collect()
}

fn explain_unknown(name: &str, all: &[String]) -> Option<String> {
    if let Some(rest) = name.strip_prefix(LOOKS_LIKE_OURS) {
        return Some(match closest(rest, all) {
            Some(meant) => format!("{name}: settings have no prefix; write {meant}"),
            None => format!("{name}: there is no such setting; `doorward serve --help` lists them"),
        });
    }
    let near = closest(name, all)?;
    Some(format!("{name}: there is no such setting; did you mean {near}?"))
}

/// The setting that is at most two slips away; one for a single word, and none for a short one: those are anybody's.
fn closest<'a>(name: &str, all: &'a [String]) -> Option<&'a String> {
    let bearable = |known: &str| if known.contains('_') { 2 } else { usize::from(known.len() >= 6 && name.len() >= 6) };
    all.iter().find(|known| slips(name, known) <= bearable(known))
}

/// Levenshtein distance.
fn slips(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
