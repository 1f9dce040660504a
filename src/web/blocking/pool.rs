//! The bounded worker pool, with load shedding: a fixed number of threads behind a queue of limited length. It decides which
//! requests wait and which are shed (503): when the queue is full, when the expected wait is too long, and when the actual wait
//! was too long. What the work is, and how long its caller waits for the result, is decided in operations.rs.
//!
//! The threads are those of a tokio runtime of the pool's own, and so is the queue; a semaphore with one permit a place
//! bounds it. Work in the queue lies in a slot that its request's future shares with the thread, and whichever comes first
//! takes it out: the thread, to run it, or the future when it is dropped, because the client hung up. So work whose client
//! has gone never starts and frees its place immediately; an empty slot is all that stays in the queue.
//!
//! A thread goes from one job to the next by itself. Handing each idle thread to the next request's future, which would
//! then submit its work, needs no slot, but leaves the thread idle until that future has run: with 8 threads, 64 clients
//! and jobs that wait 0.3 ms for a disk, it did 0.75 to 0.9 of the jobs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use crate::core::error::{Error, InternalError, Refusal};
use crate::metrics::Metrics;
use crate::web::blocking::retry_after::RETRY_AFTER;
use crate::web::blocking::wait_estimator::WaitEstimator;

/// The nice value of threads that hash passwords (setpriority(2)): checks and refreshes, which take microseconds, must
/// not wait for a time slice behind hashes, which take a quarter of a second.
#[cfg(target_os = "linux")]
const HASHING_NICE: i32 = 10;

/// How many requests may wait for a pool's threads, and how long.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// The most requests in the queue; another one is rejected immediately.
    pub capacity: usize,
    /// A request that waited longer is rejected when its turn comes: its client has mostly given up, and serving it would
    /// delay those behind.
    pub max_wait: Duration,
}

/// Threads for blocking work, with a queue before them.
#[derive(Debug)]
pub struct WorkerPool {
    /// `None` only while the pool is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    /// One permit for each place in the queue that is free.
    free_places: Arc<Semaphore>,
    limits: QueueLimits,
    estimator: Option<Arc<WaitEstimator>>,
    queue_length: IntGauge,
    rejected: IntCounter,
}

/// A place in the queue. Dropping it frees the place.
struct QueuePlace {
    _permit: OwnedSemaphorePermit,
    queue_length: IntGauge,
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.queue_length.dec();
    }
}

/// Work in the queue with its place, until it is taken out.
struct Slot<F>(Mutex<Option<(F, QueuePlace)>>);

impl<F> Slot<F> {
    /// Takes the work out and frees its place.
    fn take(&self) -> Option<F> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map(|(work, _place)| work)
    }
}

/// Held by the future of a request: empties the slot when it is dropped.
struct CancelOnDrop<F>(Arc<Slot<F>>);

impl<F> Drop for CancelOnDrop<F> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

impl WorkerPool {
    /// Starts a pool. `on_thread_start` runs first on each of its threads. With an estimator, requests that would wait too
    /// long are rejected on arrival.
    pub fn start(
        name: &'static str,
        threads: usize,
        limits: QueueLimits,
        metrics: &Metrics,
        on_thread_start: fn(),
        estimator: Option<WaitEstimator>,
    ) -> Result<Self, InternalError> {
        let (threads, started) = (threads.max(1), AtomicUsize::new(0));
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(threads)
            // Otherwise idle threads end, and a request has to wait until one is started again.
            .thread_keep_alive(Duration::MAX)
            .thread_name_fn(move || format!("{name}-{}", started.fetch_add(1, Ordering::Relaxed)))
            .on_thread_start(on_thread_start)
            .build()
            .map_err(|cause| InternalError::broken_by(format!("the {name} pool cannot be started"), cause))?;
        let handle = runtime.handle().clone();
        // tokio starts a thread when there is work and none is idle, and panics if it cannot start the first one: that
        // must happen now and not in a request.
        drop(handle.spawn_blocking(|| ()));
        Ok(Self {
            runtime: Some(runtime),
            handle,
            free_places: Arc::new(Semaphore::new(limits.capacity)),
            limits,
            estimator: estimator.map(Arc::new),
            queue_length: metrics.pools.queue_length.with_label_values(&[name]),
            rejected: metrics.pools.rejected.with_label_values(&[name]),
        })
    }

    /// Runs `work` on a thread of the pool. Work that has started runs to its end, even if this future is dropped.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run_since(Instant::now(), work).await
    }

    /// As `run`, for a request that has waited elsewhere since `queued_at`.
    pub async fn run_since<T: Send + 'static>(
        &self,
        queued_at: Instant,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.enqueue().ok_or_else(|| reject(&self.rejected))?;
        let max_wait = self.limits.max_wait;
        let slot = Arc::new(Slot(Mutex::new(Some((work, place)))));
        let _cancel = CancelOnDrop(Arc::clone(&slot));
        let (estimator, rejected) = (self.estimator.clone(), self.rejected.clone());
        let job = self.handle.spawn_blocking(move || {
            let work = slot.take().ok_or_else(|| InternalError::unavailable("the client has gone"))?;
            if queued_at.elapsed() > max_wait {
                return Err(reject(&rejected));
            }
            let started = Instant::now();
            let outcome = work();
            if let Some(estimator) = estimator {
                estimator.record(started.elapsed());
            }
            outcome
        });
        job.await.unwrap_or_else(|cause| Err(job_failed(&cause).into()))
    }

    /// A place in the queue, unless it is full or the wait would be too long.
    fn enqueue(&self) -> Option<QueuePlace> {
        let queued = self.limits.capacity.saturating_sub(self.free_places.available_permits());
        // The head of the queue is always admitted: without a job that runs, the mean would never come down again.
        let too_long = |estimator: &Arc<WaitEstimator>| queued > 0 && estimator.would_exceed_deadline(queued);
        if self.estimator.as_ref().is_some_and(too_long) {
            return None;
        }
        let permit = Arc::clone(&self.free_places).try_acquire_owned().ok()?;
        self.queue_length.inc();
        Some(QueuePlace { _permit: permit, queue_length: self.queue_length.clone() })
    }
}

impl Drop for WorkerPool {
    /// A service may be dropped in async code, where a runtime must not wait for its threads.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn reject(rejected: &IntCounter) -> Error {
    rejected.inc();
    Refusal::Busy(RETRY_AFTER).into()
}

fn job_failed(cause: &JoinError) -> InternalError {
    if cause.is_panic() {
        InternalError::broken("a job panicked")
    } else {
        InternalError::unavailable("the service is stopping")
    }
}

/// For threads whose jobs take long: gives those of short jobs the processor first.
pub fn lower_thread_priority() {
    // On other systems a priority belongs to the whole process, which should keep its own.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let thread = Some(rustix::thread::gettid());
        let lowered = getpriority_process(thread).and_then(|nice| setpriority_process(thread, nice.max(HASHING_NICE)));
        if let Err(error) = lowered {
            log::warn!(error:%; "the priority of a hashing thread cannot be lowered");
        }
    }
}

#[cfg(test)]
mod tests;
