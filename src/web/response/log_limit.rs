//! Log rate limit: one line a minute about an event that any client can cause as often as it likes, with the number of such
//! events since the last line. What the line says is its caller's; a total that is always current is a metric's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// Seconds between two lines about the same event.
const INTERVAL: i64 = 60;

/// The limit of one kind of event.
#[derive(Debug)]
pub struct LogLimit {
    /// When the last line was written.
    last: AtomicI64,
    /// Events since then.
    untold: AtomicU64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self { last: AtomicI64::new(i64::MIN), untold: AtomicU64::new(0) }
    }
}

impl LogLimit {
    /// Counts an event. If it may be logged, returns the number of events since the last line, with this one.
    pub fn count(&self, now: Timestamp) -> Option<u64> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let (now, last) = (now.seconds(), self.last.load(Ordering::Relaxed));
        // A clock that was set back must not silence the line until it has caught up.
        let due = now.saturating_sub(last) >= INTERVAL || now < last;
        // Of concurrent requests one writes the line.
        let is_ours = due && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_ours.then(|| self.untold.swap(0, Ordering::Relaxed))
    }
}

/// A limit for each cause, so that a stranger's requests do not hide a fault of another cause.
#[derive(Debug, Default)]
pub struct LogLimits(Mutex<HashMap<&'static str, LogLimit>>);

impl LogLimits {
    /// As `LogLimit::count`, for this cause alone. Causes are constants, so there are few.
    pub fn count(&self, cause: &'static str, now: Timestamp) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(cause).or_default().count(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_262_400 + second)
    }

    #[test]
    fn log_lines_come_once_a_minute_with_the_number_of_events() {
        let limit = LogLimit::default();
        let counts: Vec<Option<u64>> =
            [0, 1, 59, 60, 61, 119, 120, 30, 31, 90].map(|second| limit.count(at(second))).into();
        assert_eq!(counts, [Some(1), None, None, Some(3), None, None, Some(3), Some(1), None, Some(2)]);
    }

    #[test]
    fn log_lines_of_one_cause_hide_none_of_another() {
        let limits = LogLimits::default();
        let counts: Vec<Option<u64>> =
            [("junk", 0), ("junk", 1), ("proxy", 2), ("junk", 60), ("proxy", 61), ("proxy", 62)]
                .map(|(cause, second)| limits.count(cause, at(second)))
                .into();
        assert_eq!(counts, [Some(1), None, Some(1), Some(2), None, Some(2)]);
    }

    #[test]
    fn log_lines_of_concurrent_events_tell_each_of_them_once() {
        let limit = LogLimit::default();
        let counted = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).filter_map(|_| limit.count(at(0))).sum::<u64>())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        assert_eq!(counted + limit.count(at(60)).unwrap(), 4001);
    }
}
