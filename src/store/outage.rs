//! Whether the database answers: every call is counted, and the log gets one line when it begins to fail and one when it
//! is back, not thousands in between. Who is told 503 meanwhile is decided above.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Error;
use crate::metrics::Metrics;

/// The state of one door: reads may go on while nothing can be written (a lock held elsewhere, a full disk).
#[derive(Debug)]
pub struct Door {
    name: &'static str,
    failing: AtomicBool,
    since: Mutex<Instant>,
}

impl Door {
    fn new(name: &'static str) -> Self {
        Self { name, failing: AtomicBool::new(false), since: Mutex::new(Instant::now()) }
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn failed(&self, cause: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            log::error!(door = self.name, cause; "the database does not answer; what needs it is refused with 503");
        }
    }

    fn answered(&self) {
        if self.is_failing() && self.failing.swap(false, Ordering::Relaxed) {
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let seconds = since.elapsed().as_secs_f32();
            log::info!(door = self.name, seconds:% = format_args!("{seconds:.1}"); "the database answers again");
        }
    }
}

/// Both doors.
#[derive(Debug)]
pub struct Outage {
    reads: Door,
    writes: Door,
    metrics: Metrics,
}

impl Outage {
    /// Nothing has failed yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { reads: Door::new("read"), writes: Door::new("write"), metrics }
    }

    /// Whether the last call at either door found nobody.
    pub fn is_on(&self) -> bool {
        self.reads.is_failing() || self.writes.is_failing()
    }

    /// Notes how a read went.
    pub fn note_read<T>(&self, began: Instant, outcome: &Result<T, Error>) {
        self.note(&self.reads, began, outcome);
    }

    /// Notes how a write went.
    pub fn note_write<T>(&self, began: Instant, outcome: &Result<T, Error>) {
        self.note(&self.writes, began, outcome);
    }

    /// Notes that a caller gave up waiting; the call itself has not come back.
    pub fn note_silence(&self) {
        self.metrics.database_failures.with_label_values(&["timeout"]).inc();
        self.reads.failed("no answer in time");
        self.show();
    }

    fn note<T>(&self, door: &Door, began: Instant, outcome: &Result<T, Error>) {
        self.metrics.database_seconds.observe(began.elapsed().as_secs_f64());
        match outcome {
            Err(Error::Unavailable(cause)) => {
                self.metrics.database_failures.with_label_values(&["unavailable"]).inc();
                door.failed(cause);
            }
            Err(Error::Broken(_)) => self.metrics.database_failures.with_label_values(&["broken"]).inc(),
            Ok(_) | Err(Error::Taken | Error::Abandoned) => door.answered(),
        }
        self.show();
    }

    fn show(&self) {
        self.metrics.database_available.set(i64::from(!self.is_on()));
    }
}
