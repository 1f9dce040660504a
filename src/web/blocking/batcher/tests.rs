//! Tests of the batcher: refreshes that wait together are written together, and each gets its own outcome.

use std::sync::mpsc::{Sender, channel};

use futures_util::poll;

use super::*;

const LONG: Duration = Duration::from_secs(600);

/// The generation at which the writer panics.
const PANICS: i64 = 99;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn rotation(generation: i64) -> RotationAttempt {
    RotationAttempt::of_generation(generation)
}

/// The outcome that the writer below gives a rotation: its generation and how many were in its batch.
fn outcome(generation: i64, batch: usize) -> String {
    format!("generation {generation}, a batch of {batch}")
}

fn text(outcome: Result<FastRotation, Error>) -> String {
    match outcome {
        Ok(FastRotation::TimedOut(InternalError::Broken(text))) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A batcher whose writer reports each batch, and waits for its release before it writes it.
struct HeldBatcher {
    batcher: Batcher,
    started: Receiver<()>,
    release: Sender<()>,
}

impl HeldBatcher {
    fn new(capacity: usize, max_wait: Duration) -> Self {
        let ((start, started), (release, released)) = (channel(), channel());
        let write = move |all: &[RotationAttempt]| {
            start.send(()).unwrap();
            released.recv().unwrap();
            let generations = all.iter().map(|rotation| rotation.token.generation);
            assert!(generations.clone().all(|generation| generation != PANICS), "on purpose");
            generations.map(|one| FastRotation::TimedOut(InternalError::broken(outcome(one, all.len())))).collect()
        };
        let batcher = Batcher::start(QueueLimits { capacity, max_wait }, &Metrics::new().unwrap(), write).unwrap();
        Self { batcher, started, release }
    }

    fn release(&self, batches: usize) {
        (0..batches).for_each(|_| self.release.send(()).unwrap());
    }
}

#[test]
fn refreshes_that_arrive_during_a_batch_form_the_next() {
    let held = HeldBatcher::new(100, LONG);
    block_on(async {
        let mut first = Box::pin(held.batcher.submit(rotation(1)));
        assert!(poll!(&mut first).is_pending());
        held.started.recv().unwrap();
        let mut later: Vec<_> = (2..=70).map(|number| Box::pin(held.batcher.submit(rotation(number)))).collect();
        for submitted in &mut later {
            assert!(poll!(submitted).is_pending());
        }
        assert_eq!(held.batcher.queue_length.get(), 69);
        held.release(3);
        assert_eq!(text(first.await), outcome(1, 1));
        for (number, submitted) in (2..).zip(later) {
            let batch = if number < 66 { MAX_BATCH } else { 5 };
            assert_eq!(text(submitted.await), outcome(number, batch));
        }
        assert_eq!(held.batcher.queue_length.get(), 0);
    });
}

#[test]
fn a_full_queue_rejects_immediately_and_a_panic_fails_its_batch_only() {
    let held = HeldBatcher::new(2, LONG);
    block_on(async {
        let mut first = Box::pin(held.batcher.submit(rotation(1)));
        assert!(poll!(&mut first).is_pending());
        held.started.recv().unwrap();
        let mut others = [98, PANICS].map(|number| Box::pin(held.batcher.submit(rotation(number))));
        for submitted in &mut others {
            assert!(poll!(submitted).is_pending());
        }
        let rejected = held.batcher.submit(rotation(97)).await;
        assert!(matches!(rejected, Err(Error::Refusal(Refusal::Busy(RETRY_AFTER)))));
        assert_eq!((held.batcher.queue_length.get(), held.batcher.rejected.get()), (2, 1));
        held.release(3);
        assert_eq!(text(first.await), outcome(1, 1));
        for submitted in others {
            assert!(matches!(submitted.await, Err(Error::InternalError(InternalError::Broken(_)))));
        }
        assert_eq!(text(held.batcher.submit(rotation(2)).await), outcome(2, 1), "the thread keeps running");
    });
}

#[test]
fn a_request_that_is_cancelled_or_waited_too_long_is_not_written() {
    let max_wait = Duration::from_millis(300);
    let held = HeldBatcher::new(8, max_wait);
    block_on(async {
        let mut first = Box::pin(held.batcher.submit(rotation(1)));
        assert!(poll!(&mut first).is_pending());
        held.started.recv().unwrap();
        let mut cancelled = Box::pin(held.batcher.submit(rotation(2)));
        assert!(poll!(&mut cancelled).is_pending());
        drop(cancelled);
        let mut late = Box::pin(held.batcher.submit(rotation(3)));
        assert!(poll!(&mut late).is_pending());
        std::thread::sleep(max_wait * 2);
        let mut in_time = Box::pin(held.batcher.submit(rotation(4)));
        assert!(poll!(&mut in_time).is_pending());
        held.release(2);
        assert_eq!(text(first.await), outcome(1, 1));
        assert!(matches!(late.await, Err(Error::Refusal(Refusal::Busy(RETRY_AFTER)))));
        assert_eq!(text(in_time.await), outcome(4, 1));
    });
}
