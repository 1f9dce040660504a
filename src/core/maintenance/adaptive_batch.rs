//! How many rows a clean-up removes in one transaction. Whoever writes meanwhile waits for it, so it is as many as the
//! database removes in a moment, whatever disk it is on: found by how long the last ones took. Which rows is housekeeping's.

use std::time::Duration;

/// What a portion should take, commit included: with a writer's own commit and a stall of the disk well below 50 ms.
const MOMENT: Duration = Duration::from_millis(8);

/// The first one, of a database that nothing is known of, and the smallest: fewer rows are mostly their commit, which gets no
/// shorter, and what ends in a day must be gone in a day.
const FEWEST: i64 = 50;

/// More at once brings nothing.
const MOST: i64 = 500;

/// How many rows go at once.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveBatch(i64);

impl Default for AdaptiveBatch {
    fn default() -> Self {
        Self(FEWEST)
    }
}

impl AdaptiveBatch {
    /// The next portion, of each kind of row.
    pub fn rows(self) -> i64 {
        self.0
    }

    /// Notes how long it took: half as many after a long one, a few more after a short one.
    pub fn took(&mut self, time: Duration) {
        let next = if time > MOMENT {
            self.0 / 2
        } else if time < MOMENT / 2 {
            self.0 + self.0 / 4
        } else {
            self.0
        };
        self.0 = next.clamp(FEWEST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where it comes to on a disk whose commit takes so long, and whose rows so long each.
    fn settled(commit: Duration, row: Duration) -> i64 {
        let mut portion = AdaptiveBatch::default();
        for _ in 0..100 {
            portion.took(commit + row * u32::try_from(portion.rows()).unwrap());
        }
        portion.rows()
    }

    #[test]
    fn a_fast_disk_removes_the_most_and_a_slow_one_the_fewest() {
        let micros = Duration::from_micros;
        assert_eq!(settled(micros(300), micros(2)), MOST);
        assert_eq!(settled(micros(20_000), micros(200)), FEWEST);
    }

    #[test]
    fn in_between_a_portion_takes_about_a_moment() {
        for row in [20, 50, 100] {
            let row = Duration::from_micros(row);
            let took = row * u32::try_from(settled(Duration::ZERO, row)).unwrap();
            assert!((MOMENT / 3..=MOMENT).contains(&took), "{took:?}");
        }
    }

    #[test]
    fn one_stall_is_made_up_for() {
        let mut portion = AdaptiveBatch(400);
        portion.took(Duration::from_secs(1));
        assert_eq!(portion.rows(), 200);
        (0..8).for_each(|_| portion.took(Duration::from_millis(1)));
        assert!(portion.rows() > 400, "{}", portion.rows());
    }
}
