//! The availability tracker: whether the database answers reads and writes, by the outcome of the last call of each. Every
//! failure is counted; the log gets one line when an outage begins and one when it ends, not thousands in between. Which
//! requests are refused with 503 meanwhile is decided by core and web.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::metrics::Metrics;
use crate::store::error::StoreError;

/// One of the two paths to the database, in one of two states. *Available*: the last call did not find an outage; a call that
/// finds one logs its cause and changes the state to *failing*. *Failing*: the database is taken for unavailable; the first
/// call that succeeds logs how long that lasted and changes the state back.
/// Reads and writes fail separately: a lock held elsewhere or a full disk stops writes only.
#[derive(Debug)]
pub struct Path {
    name: &'static str,
    failing: AtomicBool,
    since: Mutex<Instant>,
}

impl Path {
    fn new(name: &'static str) -> Self {
        Self { name, failing: AtomicBool::new(false), since: Mutex::new(Instant::now()) }
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The swap makes exactly one of the calls that fail at the same time log the outage.
    fn record_failure(&self, cause: &dyn std::fmt::Display) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            log::error!(path = self.name, cause:%; "the database does not answer; requests that need it are refused with 503");
        }
    }

    /// Loads before it swaps: a successful call, which is nearly every one, writes to no shared cache line.
    fn record_success(&self) {
        if self.is_failing() && self.failing.swap(false, Ordering::Relaxed) {
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let seconds = since.elapsed().as_secs_f32();
            log::info!(path = self.name, seconds:% = format_args!("{seconds:.1}"); "the database answers again");
        }
    }
}

/// Both paths, and the metrics of database calls.
#[derive(Debug)]
pub struct Availability {
    reads: Path,
    writes: Path,
    metrics: Metrics,
}

impl Availability {
    /// Both paths count as available until a call fails.
    pub fn new(metrics: Metrics) -> Self {
        Self { reads: Path::new("read"), writes: Path::new("write"), metrics }
    }

    /// Whether the last call on either path found the database unavailable.
    pub fn is_unavailable(&self) -> bool {
        self.reads.is_failing() || self.writes.is_failing()
    }

    /// Records the outcome of a read.
    pub fn record_read<T>(&self, began: Instant, outcome: &Result<T, StoreError>) {
        self.record(&self.reads, began, outcome);
    }

    /// Records the outcome of a write.
    pub fn record_write<T>(&self, began: Instant, outcome: &Result<T, StoreError>) {
        self.record(&self.writes, began, outcome);
    }

    /// Records that a request stopped waiting for a call that has not returned yet. Which path it took is not known here;
    /// the read path stands for both, and its next call that succeeds ends the outage.
    pub fn record_timeout(&self) {
        self.metrics.database.errors.with_label_values(&["timeout"]).inc();
        self.reads.record_failure(&"no answer in time");
        self.update_gauge();
    }

    fn record<T>(&self, path: &Path, began: Instant, outcome: &Result<T, StoreError>) {
        self.metrics.database.seconds.observe(began.elapsed().as_secs_f64());
        match outcome {
            Err(StoreError::Unavailable { source, .. }) => {
                self.metrics.database.errors.with_label_values(&["unavailable"]).inc();
                path.record_failure(source);
            }
            // A defect of a statement is no outage, or one faulty query would take every node out of the load balancer.
            // Nor does it end one: some defects are found before the database is asked.
            Err(StoreError::Broken(_)) => self.metrics.database.errors.with_label_values(&["internal"]).inc(),
            Err(StoreError::Conflict { .. }) => {
                self.metrics.database.errors.with_label_values(&["conflict"]).inc();
                path.record_success();
            }
            Ok(_) | Err(StoreError::Taken | StoreError::Abandoned) => path.record_success(),
        }
        self.update_gauge();
    }

    fn update_gauge(&self) {
        self.metrics.database.available.set(i64::from(!self.is_unavailable()));
    }
}
