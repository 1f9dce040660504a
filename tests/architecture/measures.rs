//! Sizes: files in folders, lines of files and functions, documentation and comments beside code.

use std::collections::BTreeMap;

use crate::facts::Function;
use crate::lines::LineKind;
use crate::source::{Source, SourceFile};

/// The schema is generated from the migrations, so its length is not chosen.
pub const GENERATED: &str = "schema.rs";

/// The folder of `src` with the most source files in it, subfolders not counted, and how many they are.
pub fn fullest_folder(source: &Source) -> (String, usize) {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    source.files.iter().for_each(|file| *folders.entry(file.folder()).or_default() += 1);
    let fullest = folders.into_iter().max_by_key(|(_, files)| *files);
    fullest.map(|(folder, files)| (folder.to_owned(), files)).unwrap_or_default()
}

/// The files of more lines than `most`, with their lines.
pub fn files_longer_than(source: &Source, most: usize) -> Vec<(&str, usize)> {
    let written = source.files.iter().filter(|file| !file.path.ends_with(GENERATED));
    let lengths = written.map(|file| (file.path.as_str(), file.text.lines().count()));
    lengths.filter(|(_, lines)| *lines > most).collect()
}

/// Median, 90th percentile and maximum.
#[derive(Debug, PartialEq, Eq)]
pub struct Spread {
    pub p50: usize,
    pub p90: usize,
    pub max: usize,
}

pub fn spread(mut values: Vec<usize>) -> Spread {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    let at = |percent: usize| values.get(last * percent / 100).copied().unwrap_or_default();
    Spread { p50: at(50), p90: at(90), max: at(100) }
}

pub fn function_lengths(source: &Source) -> Spread {
    spread(functions(source).map(|(_, function)| function.lines).collect())
}

/// The functions of the service, each with its file.
pub fn functions(source: &Source) -> impl Iterator<Item = (&SourceFile, &Function)> {
    source.service_files().flat_map(|file| file.facts.functions.iter().map(move |function| (file, function)))
}

/// Lines of documentation and lines of comments per 100 lines of code, unit tests and the schema left out.
pub fn prose_per_100_lines(source: &Source) -> (f64, f64) {
    let lines = || {
        let files = source.service_files().filter(|file| !file.path.ends_with(GENERATED));
        files.flat_map(|file| &file.lines).map(|line| line.kind)
    };
    let count = |wanted: LineKind| f64::from(u32::try_from(lines().filter(|kind| *kind == wanted).count()).unwrap());
    let code = count(LineKind::Code).max(1.0);
    (100.0 * count(LineKind::Doc) / code, 100.0 * count(LineKind::Comment) / code)
}
