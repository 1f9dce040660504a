//! Duplicated blocks: runs of six or more lines of code that stand in two places of `src`.
//!
//! Lines are compared without their indentation. Blank lines, comments, imports and lines of punctuation alone are skipped,
//! so that a block is six lines that say something.

use std::collections::HashMap;

use crate::lines::LineKind;
use crate::measures::GENERATED;
use crate::source::{Source, SourceFile};

pub const BLOCK: usize = 6;

/// Two places with the same lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Each as `path:line`.
    pub places: (String, String),
    pub lines: usize,
}

/// A line of code that counts, and its number in its file.
struct Row<'a> {
    file: &'a SourceFile,
    number: usize,
    text: &'a str,
}

/// Pairs of places that share a block as long as possible; the longest first.
pub fn duplicates(source: &Source) -> Vec<Duplicate> {
    let written = source.service_files().filter(|file| !file.path.ends_with(GENERATED));
    let rows: Vec<Row<'_>> = written.flat_map(rows_of).collect();
    let mut windows: HashMap<Vec<&str>, Vec<usize>> = HashMap::new();
    for (start, window) in rows.windows(BLOCK).enumerate() {
        if window.iter().all(|row| std::ptr::eq(row.file, window[0].file)) {
            windows.entry(window.iter().map(|row| row.text).collect()).or_default().push(start);
        }
    }
    let mut found = vec![];
    for starts in windows.values().filter(|starts| starts.len() > 1) {
        for (index, first) in starts.iter().enumerate() {
            found.extend(starts[index + 1..].iter().filter_map(|second| duplicate(&rows, *first, *second)));
        }
    }
    found.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.places.cmp(&b.places)));
    found
}

/// The block that begins at two rows, unless it begins earlier or runs into itself.
fn duplicate(rows: &[Row<'_>], first: usize, second: usize) -> Option<Duplicate> {
    let same = |first: usize, second: usize| {
        let (a, b) = (rows.get(first)?, rows.get(second)?);
        (a.text == b.text).then_some((a.file.path.as_str(), b.file.path.as_str()))
    };
    let files = same(first, second);
    let begins_earlier = first > 0 && same(first - 1, second - 1) == files;
    let lines = (0..second - first).take_while(|offset| same(first + offset, second + offset) == files).count();
    let place = |row: &Row<'_>| format!("{}:{}", row.file.path, row.number);
    (!begins_earlier && lines >= BLOCK)
        .then(|| Duplicate { places: (place(&rows[first]), place(&rows[second])), lines })
}

/// The lines of a file that count, without its imports.
fn rows_of(file: &SourceFile) -> Vec<Row<'_>> {
    let mut in_import = false;
    let mut rows = vec![];
    for line in file.lines.iter().filter(|line| line.kind == LineKind::Code) {
        in_import |= ["use ", "pub use "].iter().any(|word| line.text.starts_with(word));
        if !in_import && line.text.contains(char::is_alphanumeric) {
            rows.push(Row { file, number: line.number, text: &line.text });
        }
        in_import &= !line.text.ends_with(';');
    }
    rows
}
