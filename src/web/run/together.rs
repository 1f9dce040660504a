//! Work that is cheaper done together: one thread takes all that waits, does it at once and answers each. What the work is, is
//! for who starts it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::{IntCounter, IntGauge};
use tokio::sync::oneshot;

use super::{COME_BACK, Room};
use crate::core::error::{Error, Fault, Refusal};
use crate::metrics::Metrics;

/// The most that is done at once: each waits for the last of them.
const MOST: usize = 64;

/// The thread, behind a queue of fixed length.
#[derive(Debug)]
pub struct Together<Q, A> {
    shared: Arc<Shared<Q, A>>,
}

struct Shared<Q, A> {
    queue: Mutex<Queue<Q, A>>,
    wake: Condvar,
    room: Room,
    waiting: IntGauge,
    turned_away: IntCounter,
}

struct Queue<Q, A> {
    asked: Vec<Asked<Q, A>>,
    closed: bool,
}

struct Asked<Q, A> {
    question: Q,
    answer: oneshot::Sender<Result<A, Error>>,
    at: Instant,
}

impl<Q, A> std::fmt::Debug for Shared<Q, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("room", &self.room).finish_non_exhaustive()
    }
}

impl<Q: Send + 'static, A: Send + 'static> Together<Q, A> {
    /// Starts the thread. `work` answers each question, in their order.
    pub fn start(
        name: &str,
        room: Room,
        metrics: &Metrics,
        work: impl Fn(&[Q]) -> Vec<A> + Send + 'static,
    ) -> Result<Self, Fault> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { asked: Vec::new(), closed: false }),
            wake: Condvar::new(),
            room,
            waiting: metrics.queue_length.with_label_values(&[name]),
            turned_away: metrics.turned_away.with_label_values(&[name]),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || theirs.work(&work));
        thread.map_err(|cause| Fault::Broken(format!("no thread for {name}: {cause}")))?;
        Ok(Self { shared })
    }

    /// The answer to a question, together with whatever others ask meanwhile.
    pub async fn ask(&self, question: Q) -> Result<A, Error> {
        let (answer, waiting) = oneshot::channel();
        if !self.shared.push(Asked { question, answer, at: Instant::now() }) {
            return Err(Refusal::Busy(COME_BACK).into());
        }
        waiting.await.unwrap_or_else(|_gone| Err(Fault::Broken("work done together broke off".into()).into()))
    }
}

impl<Q, A> Drop for Together<Q, A> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl<Q, A> Shared<Q, A> {
    fn lock(&self) -> MutexGuard<'_, Queue<Q, A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room.
    fn push(&self, asked: Asked<Q, A>) -> bool {
        let mut queue = self.lock();
        if queue.closed || queue.asked.len() >= self.room.places {
            self.turned_away.inc();
            return false;
        }
        queue.asked.push(asked);
        self.waiting.inc();
        let first = queue.asked.len() == 1;
        drop(queue);
        // Whoever comes later is seen by the one that the first has woken.
        if first {
            self.wake.notify_one();
        }
        true
    }

    /// All that waits, up to the most; `None` at the end.
    fn take(&self) -> Option<Vec<Asked<Q, A>>> {
        let idle = |queue: &mut Queue<Q, A>| queue.asked.is_empty() && !queue.closed;
        let mut queue = self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let most = queue.asked.len().min(MOST);
        (most > 0).then(|| queue.asked.drain(..most).collect())
    }

    fn work(&self, work: &impl Fn(&[Q]) -> Vec<A>) {
        while let Some(taken) = self.take() {
            self.waiting.sub(i64::try_from(taken.len()).unwrap_or(i64::MAX));
            let (mut questions, mut answers) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
            for Asked { question, answer, at } in taken {
                if answer.is_closed() {
                    continue;
                }
                if at.elapsed() > self.room.longest_wait {
                    self.turned_away.inc();
                    let _ = answer.send(Err(Refusal::Busy(COME_BACK).into()));
                    continue;
                }
                questions.push(question);
                answers.push(answer);
            }
            if questions.is_empty() {
                continue;
            }
            // A panic drops the senders, which those who wait hear of; the thread lives on.
            let done = catch_unwind(AssertUnwindSafe(|| work(&questions))).unwrap_or_default();
            answers.into_iter().zip(done).for_each(|(answer, value)| drop(answer.send(Ok(value))));
        }
    }
}

#[cfg(test)]
mod tests;
