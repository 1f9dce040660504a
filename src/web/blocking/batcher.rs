//! Request coalescing: refreshes that arrive while a batch is being written form the next batch, and share one transaction.
//! This file decides which refreshes form a batch and which are shed; how a batch is written is decided by
//! core/session/refresh/fast_path.rs.
//!
//! SQLite has one writer. The write queue below would let the same refreshes share a commit, but each of them would need a
//! thread, two wake-ups and a savepoint, which cost more than its one statement.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::oneshot;

use crate::core::error::{Error, InternalError, Refusal};
use crate::core::session::refresh::fast_path::{FastRotation, RotationAttempt};
use crate::metrics::Metrics;
use crate::web::blocking::pool::QueueLimits;
use crate::web::blocking::retry_after::RETRY_AFTER;

/// The most refreshes in one batch: each of them waits for the last.
const MAX_BATCH: usize = 64;

/// The label of its queue in the metrics, and the name of its thread.
const NAME: &str = "refreshes";

/// The sending end of the queue before the thread that writes batches. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Batcher {
    queue: SyncSender<Request>,
    queue_length: IntGauge,
    rejected: IntCounter,
}

struct Request {
    rotation: RotationAttempt,
    submitted_at: Instant,
    outcome: oneshot::Sender<Result<FastRotation, Error>>,
}

impl Batcher {
    /// Starts the thread. `write` returns one outcome for each rotation, in their order.
    pub fn start(
        limits: QueueLimits,
        metrics: &Metrics,
        write: impl Fn(&[RotationAttempt]) -> Vec<FastRotation> + Send + 'static,
    ) -> Result<Self, InternalError> {
        let (queue, requests) = sync_channel(limits.capacity);
        let batcher = Self {
            queue,
            queue_length: metrics.pools.queue_length.with_label_values(&[NAME]),
            rejected: metrics.pools.rejected.with_label_values(&[NAME]),
        };
        let worker = BatchWorker {
            requests,
            max_wait: limits.max_wait,
            queue_length: batcher.queue_length.clone(),
            rejected: batcher.rejected.clone(),
        };
        let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || worker.run(&write));
        thread.map_err(|cause| InternalError::broken_by(format!("no thread for {NAME}"), cause))?;
        Ok(batcher)
    }

    /// Rotates in the next batch. A full queue rejects the request immediately.
    pub async fn submit(&self, rotation: RotationAttempt) -> Result<FastRotation, Error> {
        let (sender, outcome) = oneshot::channel();
        // Before `try_send`: afterwards the thread may already have taken the request and decremented the gauge.
        self.queue_length.inc();
        if self.queue.try_send(Request { rotation, submitted_at: Instant::now(), outcome: sender }).is_err() {
            self.queue_length.dec();
            self.rejected.inc();
            return Err(Refusal::Busy(RETRY_AFTER).into());
        }
        outcome.await.unwrap_or_else(|_panicked| Err(InternalError::broken("a batch of refreshes panicked").into()))
    }
}

/// The receiving end, on the thread.
struct BatchWorker {
    requests: Receiver<Request>,
    max_wait: Duration,
    queue_length: IntGauge,
    rejected: IntCounter,
}

impl BatchWorker {
    fn run(&self, write: &impl Fn(&[RotationAttempt]) -> Vec<FastRotation>) {
        while let Ok(first) = self.requests.recv() {
            let taken: Vec<Request> = std::iter::once(first).chain(self.requests.try_iter()).take(MAX_BATCH).collect();
            self.queue_length.sub(i64::try_from(taken.len()).unwrap_or(i64::MAX));
            let admitted = taken.into_iter().filter_map(|request| self.admit(request));
            let (rotations, senders): (Vec<_>, Vec<_>) = admitted.unzip();
            if rotations.is_empty() {
                continue;
            }
            // A panic drops the senders, which their requests notice; the thread lives on.
            let outcomes = catch_unwind(AssertUnwindSafe(|| write(&rotations))).unwrap_or_default();
            senders.into_iter().zip(outcomes).for_each(|(sender, outcome)| drop(sender.send(Ok(outcome))));
        }
    }

    /// Drops a request whose client has gone, and rejects one that waited too long.
    fn admit(&self, request: Request) -> Option<(RotationAttempt, oneshot::Sender<Result<FastRotation, Error>>)> {
        let Request { rotation, submitted_at, outcome } = request;
        if outcome.is_closed() {
            return None;
        }
        if submitted_at.elapsed() > self.max_wait {
            self.rejected.inc();
            let _ = outcome.send(Err(Refusal::Busy(RETRY_AFTER).into()));
            return None;
        }
        Some((rotation, outcome))
    }
}

#[cfg(test)]
mod tests;
