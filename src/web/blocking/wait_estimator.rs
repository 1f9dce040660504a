//! Admission control by expected waiting time: an exponentially weighted moving average (EWMA) of the service time predicts how
//! long a new request would wait in a worker pool's queue. It is only suitable for work whose service time varies
//! little. What happens to a request that would wait too long is decided by the pool.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The mean service time of a pool of `threads` threads, in which no request may wait longer than `max_wait`.
#[derive(Debug)]
pub struct WaitEstimator {
    threads: u32,
    max_wait: Duration,
    /// The EWMA in microseconds; 0 until the first measurement.
    mean_micros: AtomicU64,
}

impl WaitEstimator {
    /// Without a measurement yet, so that it admits every request.
    pub fn new(threads: usize, max_wait: Duration) -> Self {
        Self { threads: u32::try_from(threads).unwrap_or(u32::MAX).max(1), max_wait, mean_micros: AtomicU64::new(0) }
    }

    /// Adds one measured service time to the mean.
    pub fn record(&self, service_time: Duration) {
        let micros = u64::try_from(service_time.as_micros()).unwrap_or(u64::MAX).max(1);
        // A weight of 1/8: a single outlier moves the mean by an eighth, and a lasting change is followed within about
        // 20 measurements. Load and store are two steps: of two threads that record at the same time one may be lost,
        // which changes the mean little.
        let mean = match self.mean_micros.load(Ordering::Relaxed) {
            0 => micros,
            mean => mean - mean / 8 + micros / 8,
        };
        self.mean_micros.store(mean, Ordering::Relaxed);
    }

    /// The mean of the recent service times; zero until the first measurement.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.mean_micros.load(Ordering::Relaxed))
    }

    /// Whether a request behind `queued` others would wait longer than allowed. The jobs that are running need half a
    /// service time more on average, hence (2 × queued + 1) halves. A tenth of `max_wait` is kept as a margin for service
    /// times above the mean.
    pub fn would_exceed_deadline(&self, queued: usize) -> bool {
        let halves = u32::try_from(queued).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(1);
        self.mean().saturating_mul(halves) / self.threads.saturating_mul(2) > self.max_wait / 10 * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_queue_within_the_deadline_follows_from_mean_and_threads() {
        let estimator = WaitEstimator::new(2, Duration::from_secs(10));
        assert!(!estimator.would_exceed_deadline(1_000_000), "no measurement yet");
        estimator.record(Duration::from_secs(1));
        let admitted = (0..100).take_while(|queued| !estimator.would_exceed_deadline(*queued)).count();
        assert_eq!(admitted, 18, "the next would wait over nine seconds");
        assert!(estimator.would_exceed_deadline(usize::MAX));
    }

    #[test]
    fn the_mean_follows_recent_service_times_and_not_a_single_outlier() {
        let estimator = WaitEstimator::new(1, Duration::from_secs(10));
        estimator.record(Duration::from_millis(100));
        estimator.record(Duration::from_secs(1));
        assert!(!estimator.would_exceed_deadline(30));
        (0..40).for_each(|_| estimator.record(Duration::from_secs(1)));
        assert!(estimator.would_exceed_deadline(9) && !estimator.would_exceed_deadline(7));
        (0..40).for_each(|_| estimator.record(Duration::from_millis(1)));
        assert!(!estimator.would_exceed_deadline(500));
    }
}
