//! How long whoever comes now would wait, where one piece of work takes about as long as another. Whoever would wait longer
//! than anybody may is better told so at once than when it would be their turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the work of so many threads takes of late.
#[derive(Debug)]
pub struct Foresight {
    threads: u32,
    longest_wait: Duration,
    /// Microseconds; nothing is known while it is 0.
    usual: AtomicU64,
}

impl Foresight {
    /// Of a pool of so many threads, nobody in which may wait longer.
    pub fn new(threads: usize, longest_wait: Duration) -> Self {
        Self { threads: u32::try_from(threads).unwrap_or(u32::MAX).max(1), longest_wait, usual: AtomicU64::new(0) }
    }

    /// Notes how long one took. An eighth of it counts: one that took long is none of the usual. Threads that note at the same
    /// time lose one of the two.
    pub fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let usual = match self.usual.load(Ordering::Relaxed) {
            0 => took,
            usual => usual - usual / 8 + took / 8,
        };
        self.usual.store(usual, Ordering::Relaxed);
    }

    /// Whether whoever has so many before them would wait too long. Those that are being served are half done, and the tenth
    /// that is kept is for what takes longer than usual.
    pub fn is_too_long(&self, before: usize) -> bool {
        let usual = Duration::from_micros(self.usual.load(Ordering::Relaxed));
        let halves = u32::try_from(before).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(1);
        usual.saturating_mul(halves) / (2 * self.threads) > self.longest_wait / 10 * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_would_wait_too_long_is_known_by_how_many_are_before_them() {
        let foresight = Foresight::new(2, Duration::from_secs(10));
        assert!(!foresight.is_too_long(1_000_000), "nothing is known yet");
        foresight.note(Duration::from_secs(1));
        let most = (0..100).take_while(|before| !foresight.is_too_long(*before)).count();
        assert_eq!(most, 18, "the next would wait over nine seconds");
        assert!(foresight.is_too_long(usize::MAX));
    }

    #[test]
    fn what_it_takes_of_late_counts_and_one_that_took_long_does_not() {
        let foresight = Foresight::new(1, Duration::from_secs(10));
        foresight.note(Duration::from_millis(100));
        foresight.note(Duration::from_secs(1));
        assert!(!foresight.is_too_long(30));
        (0..40).for_each(|_| foresight.note(Duration::from_secs(1)));
        assert!(foresight.is_too_long(9) && !foresight.is_too_long(7));
        (0..40).for_each(|_| foresight.note(Duration::from_millis(1)));
        assert!(!foresight.is_too_long(500));
    }
}
