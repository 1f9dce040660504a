//! Poll cursor: the low watermark from which a poll of the revocation table must read, with an overlap window that covers
//! the longest transaction. What is done with the rows is cache.rs's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::store::MAX_TRANSACTION_AGE;

/// How far back a poll looks: beyond the longest transaction, with room for its commit.
const OVERLAP: Duration = MAX_TRANSACTION_AGE.saturating_add(Duration::from_secs(4));

/// From where a poll must read on. Ids do not become visible in order on PostgreSQL, so each poll begins where a poll of
/// `OVERLAP` ago ended: whatever had an id by then is visible by now. SQLite has one writer, so there the last poll's
/// end will do.
#[derive(Debug)]
pub struct PollCursor {
    overlap: Duration,
    marks: VecDeque<(Instant, i64)>,
}

impl PollCursor {
    /// None yet.
    pub fn new(is_single_writer: bool) -> Self {
        let overlap = if is_single_writer { Duration::ZERO } else { OVERLAP };
        Self { overlap, marks: VecDeque::new() }
    }

    /// The greatest id that was known long enough ago; 0 while there is none.
    pub fn safe(&mut self, now: Instant) -> i64 {
        let overlap = self.overlap;
        let old = |(at, _): &(Instant, i64)| now.duration_since(*at) >= overlap;
        while self.marks.get(1).is_some_and(old) {
            self.marks.pop_front();
        }
        self.marks.front().filter(|mark| old(mark)).map_or(0, |(_, id)| *id)
    }

    /// A poll that began then ended at this id.
    pub fn note(&mut self, asked_at: Instant, id: i64) {
        self.marks.push_back((asked_at, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_only_after_the_longest_transaction() {
        let start = Instant::now();
        let mut marks = PollCursor::new(false);
        marks.note(start, 10);
        marks.note(start + Duration::from_secs(5), 20);
        assert_eq!(marks.safe(start + MAX_TRANSACTION_AGE), 0);
        assert_eq!(marks.safe(start + OVERLAP), 10);
        assert_eq!(marks.safe(start + OVERLAP + Duration::from_secs(6)), 20);
        let mut in_order = PollCursor::new(true);
        in_order.note(start, 10);
        assert_eq!(in_order.safe(start), 10);
    }
}
