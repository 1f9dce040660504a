//! Background worker: a thread of a node that runs until its owner is dropped, woken by a timeout or a notification.
//! What a round does is decided by housekeeping.rs, feed.rs and sign_up_mails.rs.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::error::InternalError;

/// Wakes a worker. The handle is weak, so holding it does not keep the worker running.
#[derive(Debug, Default)]
pub struct Notify(Mutex<Weak<SyncSender<()>>>);

impl Notify {
    /// Wakes the worker, or lets its next wait return immediately. Without a running worker it does nothing: a worker
    /// begins with a whole round.
    pub fn notify(&self) {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        // A full channel is a notification that has not been seen yet; one is enough.
        let _ = worker.map(|worker| worker.try_send(()));
    }

    fn connect(&self, worker: &Arc<SyncSender<()>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(worker);
    }
}

/// The worker's side: a message is a notification, a disconnected channel is the request to stop.
#[derive(Debug)]
pub struct Signal(Receiver<()>);

impl Signal {
    /// Waits until a notification, the stop or the timeout; whether it is the stop.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.0.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

/// A running thread. Dropping this stops it, and waits for its end up to the shutdown grace.
#[derive(Debug)]
pub struct Worker {
    /// The only strong handle: without it the channel is disconnected.
    sender: Option<Arc<SyncSender<()>>>,
    thread: Option<JoinHandle<()>>,
    shutdown_grace: Duration,
}

impl Worker {
    /// Starts a thread that must return soon after its signal says stop. `shutdown_grace` bounds the wait for that, since a
    /// thread may hang in a call to a silent server.
    pub fn start(
        name: &str,
        notify: &Notify,
        shutdown_grace: Duration,
        work: impl FnOnce(&Signal) + Send + 'static,
    ) -> Result<Self, InternalError> {
        let (sender, receiver) = sync_channel(1);
        let sender = Arc::new(sender);
        // Before the thread runs, so that no notification falls between its first round and its first wait.
        notify.connect(&sender);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&Signal(receiver)));
        let thread = thread.map_err(|cause| InternalError::broken_by(format!("no thread for {name}"), cause))?;
        Ok(Self { sender: Some(sender), thread: Some(thread), shutdown_grace })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.sender = None;
        let Some(thread) = self.thread.take() else { return };
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < self.shutdown_grace {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_worker_is_woken_by_notifications_and_stopped_by_its_drop() {
        let (rounds, seen) = channel();
        let (begin, gate) = channel::<()>();
        let notify = Notify::default();
        let work = move |signal: &Signal| {
            gate.recv().unwrap();
            while !signal.wait(LONG) && rounds.send("round").is_ok() {}
        };
        let worker = Worker::start("test", &notify, LONG, work).unwrap();
        notify.notify();
        begin.send(()).unwrap();
        assert_eq!(seen.recv_timeout(LONG), Ok("round"), "notified before it waited");
        notify.notify();
        assert_eq!(seen.recv_timeout(LONG), Ok("round"));
        drop(worker);
        assert_eq!(seen.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected), "the thread has ended");
        notify.notify();
    }

    #[test]
    fn notifications_that_were_not_seen_yet_are_one() {
        let (pending, seen) = channel();
        let (begin, gate) = channel::<()>();
        let notify = Notify::default();
        let work = move |signal: &Signal| {
            gate.recv().unwrap();
            pending.send(signal.0.try_iter().count()).unwrap();
        };
        let _worker = Worker::start("test", &notify, LONG, work).unwrap();
        (0..1000).for_each(|_| notify.notify());
        begin.send(()).unwrap();
        assert_eq!(seen.recv_timeout(LONG), Ok(1));
    }

    #[test]
    fn a_worker_that_hangs_is_left_behind() {
        let (release, held) = channel::<()>();
        let hangs = move |_: &Signal| assert!(held.recv().is_err());
        drop(Worker::start("test", &Notify::default(), Duration::from_millis(5), hangs).unwrap());
        drop(release);
    }

    #[test]
    fn a_worker_that_panics_is_joined() {
        drop(Worker::start("test", &Notify::default(), LONG, |_| panic!("on purpose")).unwrap());
    }
}
