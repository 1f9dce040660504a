//! Poll cursor: the low watermark from which a poll of the `revocations` table must read, with an overlap window that covers
//! the longest transaction. What is done with the rows is cache.rs's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::store::MAX_TRANSACTION_AGE;

/// The overlap window of PostgreSQL: the longest transaction, and some time for its commit.
const OVERLAP: Duration = MAX_TRANSACTION_AGE.saturating_add(Duration::from_secs(4));

/// A poll: when it began, and the greatest id that it returned.
#[derive(Debug)]
struct CompletedPoll {
    began: Instant,
    last_id: i64,
}

/// The polls within the overlap window. On PostgreSQL ids do not become visible in their order: a transaction takes an id
/// and commits later. So a poll begins where a poll of `OVERLAP` ago ended; every id that was taken by then is visible
/// by now. SQLite has a single writer, so a poll continues where the last one ended.
#[derive(Debug)]
pub struct PollCursor {
    overlap: Duration,
    polls: VecDeque<CompletedPoll>,
}

impl PollCursor {
    /// A cursor without polls.
    pub fn new(is_single_writer: bool) -> Self {
        let overlap = if is_single_writer { Duration::ZERO } else { OVERLAP };
        Self { overlap, polls: VecDeque::new() }
    }

    /// The greatest id below which no row can become visible any more; `None` if no poll is old enough.
    pub fn low_watermark(&mut self, now: Instant) -> Option<i64> {
        let overlap = self.overlap;
        let is_settled = |poll: &CompletedPoll| now.duration_since(poll.began) >= overlap;
        while self.polls.get(1).is_some_and(is_settled) {
            self.polls.pop_front();
        }
        self.polls.front().filter(|poll| is_settled(poll)).map(|poll| poll.last_id)
    }

    /// Records that a poll which began then returned ids up to this one.
    pub fn record(&mut self, began: Instant, last_id: i64) {
        self.polls.push_back(CompletedPoll { began, last_id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_moves_the_watermark_after_the_longest_transaction() {
        let start = Instant::now();
        let mut cursor = PollCursor::new(false);
        cursor.record(start, 10);
        cursor.record(start + Duration::from_secs(5), 20);
        assert_eq!(cursor.low_watermark(start + MAX_TRANSACTION_AGE), None);
        assert_eq!(cursor.low_watermark(start + OVERLAP), Some(10));
        assert_eq!(cursor.low_watermark(start + OVERLAP + Duration::from_secs(6)), Some(20));
        let mut single_writer = PollCursor::new(true);
        single_writer.record(start, 10);
        assert_eq!(single_writer.low_watermark(start), Some(10));
    }
}
