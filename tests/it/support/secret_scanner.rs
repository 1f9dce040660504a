//! Secret scanner: records every secret that the suite's clients send or receive, and searches for them in what a
//! service leaves behind, log lines and rows. It spans the whole test process: a node is searched for the secrets of
//! every test. process.rs and mod.rs decide what is searched, and when.

mod extraction;
pub mod log_capture;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use extraction::{record_answer, record_raw_answer, record_raw_request, record_request};

/// Shorter texts may occur by chance.
const SHORTEST: usize = 12;

/// The factor of the rolling hash, an odd number of many bits, and its power for the first byte of a window.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
const FIRST: u64 = FACTOR.wrapping_pow(11);

/// The size of the filter that rejects hashes of no secret.
const BITS: u32 = 22;

/// Bounds memory; more than the suite ever uses.
const SECRETS_MAX: usize = 400_000;

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// Secrets, keyed by the hash of one window of each.
#[derive(Default)]
pub struct Known {
    texts: HashSet<Arc<str>>,
    forms: HashMap<u64, Vec<Form>>,
    bits: Vec<u64>,
    /// Texts that were sent as names, which rows may contain.
    names: HashSet<String>,
}

/// An encoding of a secret.
struct Form {
    kind: Arc<str>,
    text: Arc<str>,
    bytes: Vec<u8>,
    window: usize,
}

/// A secret that was found.
#[derive(Debug)]
pub struct Found {
    /// Its kind: a password, a cookie. Never the secret itself.
    pub kind: Arc<str>,
    /// Its position.
    pub range: std::ops::Range<usize>,
}

impl Known {
    /// Adds a secret, unless it may occur by chance.
    pub fn add(&mut self, kind: impl std::fmt::Display, text: &str) {
        // A hash in place of a password is stored in the rows legitimately.
        let is_hash = text.matches('$').count() > 1;
        if is_hash || by_chance(text.as_bytes()) || self.texts.contains(text) || self.texts.len() >= SECRETS_MAX {
            return;
        }
        let (kind, text) = (Arc::<str>::from(kind.to_string()), Arc::<str>::from(text));
        self.texts.insert(Arc::clone(&text));
        for bytes in forms_of(&text).into_iter().filter(|bytes| !by_chance(bytes)) {
            let last = bytes.len() - SHORTEST;
            // Tokens have common beginnings and endings: the most distinctive window is used.
            let windows = [last / 2, 0, last, last / 3].map(|at| (at, hash(&bytes[at..at + SHORTEST])));
            let alike = |hash: &u64| self.forms.get(hash).map_or(0, Vec::len);
            let (window, hash) = windows.into_iter().min_by_key(|(_, hash)| alike(hash)).unwrap();
            if self.bits.is_empty() {
                self.bits = vec![0; 1 << (BITS - 6)];
            }
            let (word, bit) = place(hash);
            self.bits[word] |= bit;
            let form = Form { kind: Arc::clone(&kind), text: Arc::clone(&text), bytes, window };
            self.forms.entry(hash).or_default().push(form);
        }
    }

    /// Adds a text that is no secret in rows, since it is a name.
    pub fn add_name(&mut self, name: &str) {
        if name.len() >= SHORTEST {
            self.names.insert(name.to_lowercase());
        }
    }

    fn is_in_a_name(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.names.iter().any(|name| name.contains(&text))
    }

    /// The first secret in these bytes that satisfies the condition.
    fn find(&self, bytes: &[u8], counts: impl Fn(&Form) -> bool) -> Option<Found> {
        if self.bits.is_empty() || bytes.len() < SHORTEST {
            return None;
        }
        let mut rolling = hash(&bytes[..SHORTEST]);
        for at in 0..=bytes.len() - SHORTEST {
            if at > 0 {
                let gone = u64::from(bytes[at - 1]).wrapping_add(1).wrapping_mul(FIRST);
                rolling = rolling.wrapping_sub(gone).wrapping_mul(FACTOR);
                rolling = rolling.wrapping_add(u64::from(bytes[at + SHORTEST - 1]).wrapping_add(1));
            }
            let (word, bit) = place(rolling);
            if self.bits[word] & bit == 0 {
                continue;
            }
            for form in self.forms.get(&rolling).into_iter().flatten() {
                let range = at.wrapping_sub(form.window)..at.wrapping_sub(form.window).wrapping_add(form.bytes.len());
                if bytes.get(range.clone()) == Some(form.bytes.as_slice()) && counts(form) {
                    return Some(Found { kind: Arc::clone(&form.kind), range });
                }
            }
        }
        None
    }

    /// The first secret in a text that should contain none.
    pub fn find_in_text(&self, text: &[u8]) -> Option<Found> {
        self.find(text, |_| true)
    }

    /// The first secret in rows, which may contain names.
    pub fn find_in_rows(&self, rows: &[u8]) -> Option<Found> {
        self.find(rows, |form| !self.is_in_a_name(&form.text))
    }
}

/// Whether it is so short or uniform that it may occur by chance.
fn by_chance(bytes: &[u8]) -> bool {
    bytes.len() < SHORTEST || bytes.iter().collect::<HashSet<_>>().len() < 6
}

fn hash(window: &[u8]) -> u64 {
    window.iter().fold(0, |hash, byte| hash.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte) + 1))
}

/// The filter's word and bit for a hash.
fn place(hash: u64) -> (usize, u64) {
    let number = hash.wrapping_mul(FACTOR) >> (64 - BITS);
    (usize::try_from(number >> 6).unwrap(), 1 << (number & 63))
}

/// The encodings that are usable by themselves: a JWT's payload, its signature as text and as bytes; a UUID in both its
/// texts and as bytes.
fn forms_of(text: &str) -> Vec<Vec<u8>> {
    let parts: Vec<&str> = text.split('.').collect();
    if text.starts_with("eyJ") && parts.len() == 3 {
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap_or_default();
        return vec![parts[1].into(), parts[2].into(), signature];
    }
    match uuid::Uuid::try_parse(text) {
        Ok(id) => vec![text.into(), id.simple().to_string().into(), id.as_bytes().to_vec()],
        Err(_other) => vec![text.into()],
    }
}

fn change(change: impl FnOnce(&mut Known)) {
    if !super::is_soak() {
        change(&mut KNOWN.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Adds a secret that reached a service by another way than HTTP.
pub fn used(kind: &str, text: &str) {
    change(|known| known.add(kind, text));
}

/// Fails if these lines contain a secret.
pub fn assert_none_in_text(place: &str, text: &[u8]) {
    let found = KNOWN.read().unwrap_or_else(PoisonError::into_inner).find_in_text(text);
    assert!(found.is_none(), "{place} holds a secret: {}", describe(found.as_ref(), text));
}

/// Fails if these rows contain a secret.
pub fn assert_none_in_rows(place: &str, rows: &[u8]) {
    let found = KNOWN.read().unwrap_or_else(PoisonError::into_inner).find_in_rows(rows);
    assert!(found.is_none(), "{place} holds a secret: {}", describe(found.as_ref(), rows));
}

/// Rows as PostgreSQL prints them, with the bytes that are hexadecimal there appended in binary.
pub fn with_bytes(rows: &str) -> Vec<u8> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_hexdigit).collect::<Vec<u8>>();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes = |text: &str| digits(text).chunks_exact(2).map(byte).chain([b'\n']).collect::<Vec<u8>>();
    rows.bytes().chain([b'\n']).chain(rows.split(r"\\x").skip(1).flat_map(bytes)).collect()
}

/// The kind of the secret and its surroundings, without the secret.
fn describe(found: Option<&Found>, all: &[u8]) -> String {
    let Some(Found { kind, range }) = found else { return String::new() };
    let line = |byte: &u8| *byte == b'\n';
    let before = &all[..range.start];
    let before = &before[before.iter().rposition(line).map_or(0, |at| at + 1)..];
    let before = &before[before.len().saturating_sub(200)..];
    let after = all[range.end..].split(line).next().unwrap_or_default();
    let after = &after[..after.len().min(40)];
    format!(
        "{kind} in {}<here>{}",
        String::from_utf8_lossy(before).escape_debug(),
        String::from_utf8_lossy(after).escape_debug()
    )
}
