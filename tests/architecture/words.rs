//! Search index of standard terms: a maintainer searches for a mechanism by its standard term, which should be part of a
//! file's path or of its first line.

use crate::source::{Source, SourceFile};

/// Terms that maintainers search for. A new mechanism adds its term.
pub const WORDS: &[&str] = &[
    "group commit",
    "write queue",
    "admission control",
    "load shedding",
    "fast path",
    "single flight",
    "rate limiter",
    "cache",
    "deny-list",
    "write-behind",
    "CSRF token",
    "trusted device",
    "checkpoint",
    "backoff",
    "outbox",
    "one-time token",
];

/// Files shown per term.
const FILES_SHOWN: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundIn {
    /// The path or the first line of the file.
    Heading,
    /// Only the rest of the text.
    Text,
    Nowhere,
}

/// The searched parts of every file, normalised by `searchable`.
pub struct Index<'a>(Vec<Entry<'a>>);

struct Entry<'a> {
    path: &'a str,
    name: String,
    first_line: String,
    text: String,
}

impl<'a> Index<'a> {
    pub fn new(source: &'a Source) -> Self {
        let entry = |file: &'a SourceFile| Entry {
            path: &file.path,
            name: searchable(&file.path),
            first_line: searchable(file.text.lines().next().unwrap_or_default()),
            text: searchable(&file.text),
        };
        Self(source.service_files().map(entry).collect())
    }

    /// The files that a term leads to, at most three: by path, then by first line, and only without any of these by text.
    pub fn search(&self, word: &str) -> (FoundIn, Vec<&'a str>) {
        let word = searchable(word);
        let mut found = self.paths_where(|entry| entry.name.contains(&word));
        found.extend(self.paths_where(|entry| !entry.name.contains(&word) && entry.first_line.contains(&word)));
        let mut place = FoundIn::Heading;
        if found.is_empty() {
            found = self.paths_where(|entry| entry.text.contains(&word));
            place = if found.is_empty() { FoundIn::Nowhere } else { FoundIn::Text };
        }
        found.truncate(FILES_SHOWN);
        (place, found)
    }

    fn paths_where(&self, matches: impl Fn(&Entry<'_>) -> bool) -> Vec<&'a str> {
        self.0.iter().filter(|entry| matches(entry)).map(|entry| entry.path).collect()
    }

    /// The terms that are in no file's path or first line.
    pub fn words_without_a_file(&self) -> Vec<&'static str> {
        WORDS.iter().copied().filter(|word| self.search(word).0 != FoundIn::Heading).collect()
    }
}

/// Lower case without separators: `WriteQueue`, `write_queue` and "write queue" are equal.
fn searchable(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect()
}
