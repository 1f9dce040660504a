//! Fuzz targets as tests: the seeds and some thousand mutations of each run in every test run, without a fuzzer. An
//! input that a fuzzer found becomes a seed.

use std::path::Path;

use crate::support::rng::Rng;

#[path = "../../fuzz/src/lib.rs"]
mod properties;

/// Mutations of each seed; a fuzzer makes millions.
const COPIES: usize = 400;

/// Bytes with a meaning in one of the grammars.
const MEANINGFUL: &[u8] = b";=, \t\r\n\"\\{}[]:.%\x00\x7f\x80\xff0aA-_";

/// Changes a text in up to five places: a byte is inserted, removed or replaced, the end is cut off, or a part of another
/// text is inserted.
pub fn mutate(seed: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(5) {
            0 => bytes.insert(at, MEANINGFUL[rng.below(MEANINGFUL.len())]),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 if at < bytes.len() => bytes[at] = MEANINGFUL[rng.below(MEANINGFUL.len())],
            3 => bytes.truncate(at),
            _ => {
                let from = rng.below(other.len() + 1);
                bytes.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    bytes
}

/// The seeds of a fuzz target, in the order of their names.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(seeds.len() >= 5, "{}", folder.display());
    seeds
}

fn holds(target: &str, property: fn(&[u8])) {
    let seeds = seeds(target);
    let mut rng = Rng::fixed(0x5eed_5eed_5eed_5eed);
    for seed in &seeds {
        property(seed);
        for _ in 0..COPIES {
            let other = &seeds[rng.below(seeds.len())];
            property(&mutate(seed, other, &mut rng));
        }
    }
}

#[test]
fn the_cookie_parser_agrees_with_a_reference() {
    holds("cookie", properties::cookie);
}

#[test]
fn the_bearer_parser_agrees_with_a_reference() {
    holds("bearer", properties::bearer);
}

#[test]
fn the_forwarded_address_parser_agrees_with_a_reference() {
    holds("forwarded", properties::forwarded);
}

#[test]
fn only_tokens_of_this_service_are_accepted() {
    holds("token", properties::token);
    // Seeds that begin with a zero are tokens that the service issued.
    for kind in ["access", "refresh"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/token").join(format!("whole-{kind}"));
        let seed = std::fs::read(file).unwrap();
        assert!(properties::is_issued(std::str::from_utf8(&seed[1..]).unwrap()), "{kind}");
    }
}

#[test]
fn identifier_normalization_is_idempotent() {
    holds("identifier", properties::identifier);
}

#[test]
fn every_dialect_reads_bodies_as_the_json_standard_says() {
    holds("body", properties::body);
}

#[test]
fn request_framing_agrees_with_actix() {
    holds("head", properties::head);
}

#[test]
fn a_redirect_target_is_read_as_a_browser_reads_it_or_dropped() {
    holds("redirect", properties::redirect);
}
