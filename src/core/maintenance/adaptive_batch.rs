//! Adaptive batch size (AIMD: additive increase, multiplicative decrease, here by factors) of purges: the number of rows that
//! one transaction removes, adjusted by the duration of the last ones. Writers wait for that transaction, on SQLite all of
//! them; so it is as large as the disk removes within `TARGET`. Which rows are purged is decided by housekeeping.rs.

use std::time::Duration;

/// The duration of a batch, commit included, that is aimed at: together with a writer's own commit and a stall of the disk
/// it stays well below 50 ms.
const TARGET: Duration = Duration::from_millis(8);

/// The initial and the smallest size. A smaller batch is mostly its commit, which gets no shorter; and rows that expire in a
/// day must be removed in a day.
const ROWS_MIN: i64 = 50;

/// The largest size: beyond it the commit is a negligible part already.
const ROWS_MAX: i64 = 500;

/// The size of the next batch, in rows of each table.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveBatch(i64);

impl Default for AdaptiveBatch {
    fn default() -> Self {
        Self(ROWS_MIN)
    }
}

impl AdaptiveBatch {
    /// The number of rows of each table in the next batch.
    pub fn rows(self) -> i64 {
        self.0
    }

    /// Records the duration of a batch: halves the size after a long one, raises it by a quarter after a short one. Between half
    /// the target and the target it stays: neither step leaps over that range, so the size does not oscillate.
    pub fn record(&mut self, duration: Duration) {
        let next = if duration > TARGET {
            self.0 / 2
        } else if duration < TARGET / 2 {
            self.0 + self.0 / 4
        } else {
            self.0
        };
        self.0 = next.clamp(ROWS_MIN, ROWS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size that results on a disk with this duration of a commit and of each row.
    fn converged(commit: Duration, row: Duration) -> i64 {
        let mut batch = AdaptiveBatch::default();
        for _ in 0..100 {
            batch.record(commit + row * u32::try_from(batch.rows()).unwrap());
        }
        batch.rows()
    }

    #[test]
    fn adaptive_batch_is_largest_on_a_fast_disk_and_smallest_on_a_slow_one() {
        let micros = Duration::from_micros;
        assert_eq!(converged(micros(300), micros(2)), ROWS_MAX);
        assert_eq!(converged(micros(20_000), micros(200)), ROWS_MIN);
    }

    #[test]
    fn adaptive_batch_takes_about_its_target_in_between() {
        for row in [20, 50, 100] {
            let row = Duration::from_micros(row);
            let duration = row * u32::try_from(converged(Duration::ZERO, row)).unwrap();
            assert!((TARGET / 3..=TARGET).contains(&duration), "{duration:?}");
        }
    }

    #[test]
    fn adaptive_batch_recovers_from_one_stall() {
        let mut batch = AdaptiveBatch(400);
        batch.record(Duration::from_secs(1));
        assert_eq!(batch.rows(), 200);
        (0..8).for_each(|_| batch.record(Duration::from_millis(1)));
        assert!(batch.rows() > 400, "{}", batch.rows());
    }
}
