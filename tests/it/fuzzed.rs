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
    let mut octets = seed.to_vec();
    for _ in 0..=dice.next(4) {
        let at = dice.next(octets.len() + 1);
        match dice.next(5) {
            0 => octets.insert(at, TELLING[dice.next(TELLING.len())]),
            1 if at < octets.len() => drop(octets.remove(at)),
            2 if at < octets.len() => octets[at] = TELLING[dice.next(TELLING.len())],
            3 => octets.truncate(at),
            _ => {
                let from = dice.next(other.len() + 1);
                octets.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    octets
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
fn the_reader_of_cookies_agrees_with_a_slow_one() {
    holds("cookie", properties::cookie);
}

#[test]
fn the_reader_of_bearer_tokens_agrees_with_a_slow_one() {
    holds("bearer", properties::bearer);
}

#[test]
fn the_reader_of_forwarded_addresses_agrees_with_a_slow_one() {
    holds("forwarded", properties::forwarded);
}

#[test]
fn the_gate_believes_no_token_but_its_own() {
    holds("token", properties::token);
    // The seeds that begin with a zero are what the gate makes.
    for kind in ["access", "refresh"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/token").join(format!("whole-{kind}"));
        let seed = std::fs::read(file).unwrap();
        assert!(properties::is_minted(std::str::from_utf8(&seed[1..]).unwrap()), "{kind}");
    }
}

#[test]
fn an_identifier_is_read_alike_however_often() {
    holds("identifier", properties::identifier);
}

#[test]
fn every_dialect_reads_bodies_as_json_says() {
    holds("body", properties::body);
}

#[test]
fn what_a_connection_takes_for_one_request_is_one_to_actix() {
    holds("head", properties::head);
}

#[test]
fn a_way_back_leads_where_a_browser_would_go_or_nowhere() {
    holds("redirect", properties::redirect);
}
