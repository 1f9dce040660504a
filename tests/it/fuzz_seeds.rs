//! What the fuzz targets ask, asked of their seeds and of some thousand changes to each, so that it holds in every run and
//! without a fuzzer. What a fuzzer found is a seed from then on.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod properties;

/// Changed copies of each seed; a fuzzer makes millions.
const COPIES: u64 = 400;

/// A small generator of numbers (Marsaglia's xorshift): the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }
}

/// Octets that mean something to one of the readers.
const TELLING: &[u8] = b";=, \t\r\n\"\\{}[]:.%\x00\x7f\x80\xff0aA-_";

fn changed(seed: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.next(4) {
        let at = dice.next(bytes.len() + 1);
        match dice.next(5) {
            0 => bytes.insert(at, TELLING[dice.next(TELLING.len())]),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 if at < bytes.len() => bytes[at] = TELLING[dice.next(TELLING.len())],
            3 => bytes.truncate(at),
            _ => {
                let from = dice.next(other.len() + 1);
                bytes.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    bytes
}

fn holds(name: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(seeds.len() >= 5, "{}", folder.display());
    let mut dice = Dice(0x5eed_5eed_5eed_5eed);
    for seed in &seeds {
        property(seed);
        for _ in 0..COPIES {
            let other = &seeds[dice.next(seeds.len())];
            property(&changed(seed, other, &mut dice));
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
    // The seeds that begin with a zero are what the gate makes.
    for kind in ["access", "refresh"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/token").join(format!("whole-{kind}"));
        let seed = std::fs::read(file).unwrap();
        assert!(properties::is_minted(std::str::from_utf8(&seed[1..]).unwrap()), "{kind}");
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
