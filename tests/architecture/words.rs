//! Where a search for the field's own words leads: a maintainer looks for a mechanism by its standard term, in the names of
//! files first, then in what they say of themselves.

use crate::source::{Source, SourceFile};

/// What maintainers search for. A mechanism that is new to the service adds its word.
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

const SHOWN: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundIn {
    /// The path or the first line of the file.
    Heading,
    /// The text alone.
    Text,
    Nowhere,
}

/// What is searched of every file, in a form in which spellings do not matter.
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

    /// The files that a word leads to, at most three: those named after it first, then those whose first line holds it,
    /// and only when there are none those whose text does.
    pub fn search(&self, word: &str) -> (FoundIn, Vec<&'a str>) {
        let word = searchable(word);
        let mut found = self.holding(|entry| entry.name.contains(&word));
        found.extend(self.holding(|entry| !entry.name.contains(&word) && entry.first_line.contains(&word)));
        let mut place = FoundIn::Heading;
        if found.is_empty() {
            found = self.holding(|entry| entry.text.contains(&word));
            place = if found.is_empty() { FoundIn::Nowhere } else { FoundIn::Text };
        }
        found.truncate(SHOWN);
        (place, found)
    }

    fn holding(&self, wanted: impl Fn(&Entry<'_>) -> bool) -> Vec<&'a str> {
        self.0.iter().filter(|entry| wanted(entry)).map(|entry| entry.path).collect()
    }

    /// The words that no file has in its path or its first line.
    pub fn words_without_a_file(&self) -> Vec<&'static str> {
        WORDS.iter().copied().filter(|word| self.search(word).0 != FoundIn::Heading).collect()
    }
}

/// Lower case, and without what stands between the parts of a name: `WriteQueue`, `write_queue` and "write queue" are one.
fn searchable(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect()
}
