//! The bounded worker pool: a fixed number of threads behind a queue of limited length. It decides which requests wait and
//! which are shed (load shedding, 503): when the queue is full, when the expected wait is too long, and when the actual wait
//! was too long. What the work is, and how long its caller waits for the result, is decided in operations.rs.
//!
//! The threads are those of a tokio runtime of the pool's own; a semaphore with one permit a thread is the queue before
//! them. A request's future waits for a permit, and only then hands its work to a thread. So a request whose client hung up
//! leaves the queue when its future is dropped, and its work never starts; and the queue is fair, since tokio's semaphore
//! gives permits in the order in which they were asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::JoinError;
use tokio::time::timeout;

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
    /// A request that waited longer is rejected: its client has mostly given up, and serving it would delay those behind.
    pub max_wait: Duration,
}

/// Threads for blocking work, with a queue before them.
#[derive(Debug)]
pub struct WorkerPool {
    /// `None` only while the pool is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    /// One permit for each thread that is idle.
    idle_threads: Arc<Semaphore>,
    /// One permit for each place in the queue that is free.
    free_places: Semaphore,
    limits: QueueLimits,
    estimator: Option<Arc<WaitEstimator>>,
    queue_length: IntGauge,
    rejected: IntCounter,
}

/// A place in the queue, given back when the request leaves it in whatever way.
struct QueuePlace<'a> {
    _permit: SemaphorePermit<'a>,
    queue_length: &'a IntGauge,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.queue_length.dec();
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
            idle_threads: Arc::new(Semaphore::new(threads)),
            free_places: Semaphore::new(limits.capacity),
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
        let thread = self.acquire_thread().await?;
        let estimator = self.estimator.clone();
        let job = self.handle.spawn_blocking(move || {
            // Given back when the work has ended, also by a panic.
            let _thread = thread;
            let started = Instant::now();
            let outcome = work();
            if let Some(estimator) = estimator {
                estimator.record(started.elapsed());
            }
            outcome
        });
        job.await.unwrap_or_else(|cause| Err(job_failed(&cause).into()))
    }

    /// Waits for an idle thread, in the queue if there is none.
    async fn acquire_thread(&self) -> Result<OwnedSemaphorePermit, Error> {
        // This overtakes no request: while the queue is not empty, an idle thread's permit goes to its head.
        if let Ok(thread) = Arc::clone(&self.idle_threads).try_acquire_owned() {
            return Ok(thread);
        }
        let _place = self.enqueue().ok_or_else(|| self.reject())?;
        let queued_at = Instant::now();
        let acquired = timeout(self.limits.max_wait, Arc::clone(&self.idle_threads).acquire_owned()).await;
        match acquired {
            // A permit may come after the deadline, if the actix worker was busy when the timer fired.
            Ok(Ok(thread)) if queued_at.elapsed() <= self.limits.max_wait => Ok(thread),
            _ => Err(self.reject()),
        }
    }

    /// A place in the queue, unless it is full or the wait would be too long.
    fn enqueue(&self) -> Option<QueuePlace<'_>> {
        let queued = self.limits.capacity.saturating_sub(self.free_places.available_permits());
        // The head of the queue is always admitted: without a job that runs, the mean would never come down again.
        let too_long = |estimator: &Arc<WaitEstimator>| queued > 0 && estimator.would_exceed_deadline(queued);
        if self.estimator.as_ref().is_some_and(too_long) {
            return None;
        }
        let permit = self.free_places.try_acquire().ok()?;
        self.queue_length.inc();
        Some(QueuePlace { _permit: permit, queue_length: &self.queue_length })
    }

    fn reject(&self) -> Error {
        self.rejected.inc();
        Refusal::Busy(RETRY_AFTER).into()
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
