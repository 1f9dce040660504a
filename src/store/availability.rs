//! The availability tracker: whether the database answers reads and writes. Any call can find an outage, only a probe ends one.
//! Every failure is counted; the log gets one line when an outage begins and one when it ends, not thousands in between. Which
//! requests are refused with 503 meanwhile is decided by core and web.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Metrics;
use crate::store::error::StoreError;

/// An outage that begins so soon after another is the same one for the log: a lock that is held for a while fails some calls and
/// not others, and that would be a line each time.
const QUIET_BEFORE_END: Duration = Duration::from_secs(3);

/// One of the two paths to the database, in one of two states. *Available*: the last call did not find an outage; a call that
/// finds one changes the state to *failing*. *Failing*: the database is taken for unavailable, until a probe succeeds.
/// Reads and writes fail separately: a lock held elsewhere or a full disk stops writes only.
#[derive(Debug)]
pub struct Path {
    name: &'static str,
    failing: AtomicBool,
    /// The outage that the log tells of. It ends later than the state changes.
    logged: Mutex<Option<LoggedOutage>>,
}

#[derive(Debug, Clone, Copy)]
struct LoggedOutage {
    began: Instant,
    last_failure: Instant,
}

impl Path {
    fn new(name: &'static str) -> Self {
        Self { name, failing: AtomicBool::new(false), logged: Mutex::new(None) }
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The lock makes exactly one of the calls that fail at the same time log the outage.
    fn record_failure(&self, cause: &dyn Display) {
        self.failing.store(true, Ordering::Relaxed);
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outage) = &mut *logged {
            outage.last_failure = now;
            return;
        }
        *logged = Some(LoggedOutage { began: now, last_failure: now });
        log::error!(path = self.name, cause:%; "the database does not answer; requests that need it are refused with 503");
    }

    /// Loads before it writes: a successful probe, which is nearly every one, writes to no shared cache line.
    fn record_probe<T>(&self, outcome: &Result<T, StoreError>) {
        if !matches!(outcome, Err(StoreError::Unavailable { .. })) && self.is_failing() {
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    fn log_recovery(&self) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(outage) = *logged else { return };
        if self.is_failing() || outage.last_failure.elapsed() < QUIET_BEFORE_END {
            return;
        }
        *logged = None;
        let seconds = (outage.last_failure - outage.began).as_secs_f32();
        log::info!(path = self.name, seconds:% = format_args!("{seconds:.1}"); "the database answers again");
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

    /// Whether a call on either path found the database unavailable, and no probe has succeeded since.
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

    /// Records the outcome of a probe of the read path: a success ends an outage.
    pub fn record_read_probe<T>(&self, outcome: &Result<T, StoreError>) {
        self.reads.record_probe(outcome);
        self.update_gauge();
    }

    /// Records the outcome of a probe of the write path: a success ends an outage.
    pub fn record_write_probe<T>(&self, outcome: &Result<T, StoreError>) {
        self.writes.record_probe(outcome);
        self.update_gauge();
    }

    /// Logs the end of each outage whose last failure is some seconds ago.
    pub fn log_recovery(&self) {
        self.reads.log_recovery();
        self.writes.log_recovery();
    }

    /// Records that a request stopped waiting for a call that has not returned yet. Which path it took is not known here;
    /// the read path stands for both, and the next probe that succeeds ends the outage.
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
                self.update_gauge();
            }
            // A defect of a statement is no outage, or one faulty query would take every node out of the load balancer.
            Err(StoreError::Broken(_)) => self.metrics.database.errors.with_label_values(&["internal"]).inc(),
            Err(StoreError::Conflict { .. }) => {
                self.metrics.database.errors.with_label_values(&["conflict"]).inc();
            }
            Ok(_) | Err(StoreError::Taken | StoreError::Abandoned) => {}
        }
    }

    fn update_gauge(&self) {
        self.metrics.database.available.set(i64::from(!self.is_unavailable()));
    }
}
