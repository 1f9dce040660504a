//! Background worker: a thread of a node that runs until its owner is dropped, woken by a timeout or a notification.
//! What an iteration does is decided by housekeeping.rs, revocation/feed.rs and registration/confirmation_mail.rs.

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
    /// starts with a full iteration.
    pub fn notify(&self) {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        // A full channel is a pending notification; one is enough.
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
        // Before the thread runs, so that no notification is lost between its first iteration and its first wait.
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
        // Polled, because a JoinHandle cannot be joined with a timeout.
        while !thread.is_finished() && began.elapsed() < self.shutdown_grace {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Otherwise it is detached: a call that hangs must not keep the process from ending.
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const TEST_TIMEOUT: Duration = Duration::from_secs(60);

    #[test]
    fn worker_is_woken_by_notifications_and_stopped_by_drop() {
        let (iterations, observed) = channel();
        let (begin, tokens) = channel::<()>();
        let notify = Notify::default();
        let work = move |signal: &Signal| {
            tokens.recv().unwrap();
            while !signal.wait(TEST_TIMEOUT) && iterations.send("iteration").is_ok() {}
        };
        let worker = Worker::start("test", &notify, TEST_TIMEOUT, work).unwrap();
        notify.notify();
        begin.send(()).unwrap();
        assert_eq!(observed.recv_timeout(TEST_TIMEOUT), Ok("iteration"), "notified before it waited");
        notify.notify();
        assert_eq!(observed.recv_timeout(TEST_TIMEOUT), Ok("iteration"));
        drop(worker);
        assert_eq!(observed.recv_timeout(TEST_TIMEOUT), Err(RecvTimeoutError::Disconnected), "the thread has ended");
        notify.notify();
    }

    #[test]
    fn worker_notifications_coalesce() {
        let (pending, observed) = channel();
        let (begin, tokens) = channel::<()>();
        let notify = Notify::default();
        let work = move |signal: &Signal| {
            tokens.recv().unwrap();
            pending.send(signal.0.try_iter().count()).unwrap();
        };
        let _worker = Worker::start("test", &notify, TEST_TIMEOUT, work).unwrap();
        (0..1000).for_each(|_| notify.notify());
        begin.send(()).unwrap();
        assert_eq!(observed.recv_timeout(TEST_TIMEOUT), Ok(1));
    }

    #[test]
    fn worker_that_hangs_is_detached() {
        let (release, blocked) = channel::<()>();
        let hangs = move |_: &Signal| assert!(blocked.recv().is_err());
        drop(Worker::start("test", &Notify::default(), Duration::from_millis(5), hangs).unwrap());
        drop(release);
    }

    #[test]
    fn worker_that_panics_is_joined() {
        drop(Worker::start("test", &Notify::default(), TEST_TIMEOUT, |_| panic!("on purpose")).unwrap());
    }
}
