//! Reproducible random numbers: a randomised test prints its seed, and `DOORWARD_SEED` repeats it. How far the same
//! numbers lead to the same run depends on other sources of randomness: threads, the moment of a kill.
#![expect(clippy::print_stdout, reason = "the seed")]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A random number generator (SplitMix64): small, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Seeded anew each time, or with the given seed; printed in either case.
    pub fn seeded(for_what: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test suite's own setting")]
        let given = std::env::var("DOORWARD_SEED").ok();
        let seed = given.map_or_else(
            || RandomState::new().build_hasher().finish(),
            |text| text.parse().unwrap_or_else(|why| panic!("DOORWARD_SEED={text}: {why}")),
        );
        println!("{for_what}: DOORWARD_SEED={seed}");
        Self(seed)
    }

    /// Seeded with this number: the same numbers in every run.
    pub fn fixed(seed: u64) -> Self {
        Self(seed)
    }

    /// A separate generator for a part of the test, so that the order of threads does not matter.
    pub fn part(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// A random time of at most this many milliseconds.
    pub fn moment(&mut self, longest: usize) -> Duration {
        Duration::from_micros(u64::try_from(self.below(longest * 1000)).unwrap())
    }
}
