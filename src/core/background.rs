//! A thread of a node that goes on until its owner is dropped, and what it waits at between two rounds. What a round does
//! is housekeeping.rs's, feed.rs's and sign_up_mails.rs's.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::InternalError;

/// Where a thread waits: for the time to pass, for somebody who has work for it, for the end.
#[derive(Debug, Default)]
pub struct Signal {
    told: Mutex<Told>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    stop: bool,
    work: bool,
}

impl Signal {
    /// There is work: whoever waits goes on, and whoever is about to wait does not.
    pub fn raise(&self) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).work = true;
        self.wake.notify_all();
    }

    /// Waits that long, or until there is work or an end; whether it is the end.
    pub fn wait(&self, for_up_to: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(told, for_up_to, |told| !told.stop && !told.work);
        let mut told = waited.unwrap_or_else(PoisonError::into_inner).0;
        told.work = false;
        told.stop
    }

    fn stop(&self) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.wake.notify_all();
    }
}

/// A running thread. Told to end when this is dropped, and waited for up to its farewell.
#[derive(Debug)]
pub struct Background {
    signal: Arc<Signal>,
    farewell: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts a thread that ends soon after its signal says so. `farewell` is how long the end is waited for: a thread may hang
    /// in a call to a silent server.
    pub fn start(
        name: &str,
        signal: Arc<Signal>,
        farewell: Duration,
        work: impl FnOnce(&Signal) + Send + 'static,
    ) -> Result<Self, InternalError> {
        let theirs = Arc::clone(&signal);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&theirs));
        let thread = thread.map_err(|cause| InternalError::Broken(format!("no thread for {name}: {cause}")))?;
        Ok(Self { signal, farewell, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.signal.stop();
        let Some(thread) = self.thread.take() else { return };
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < self.farewell {
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

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_thread_hears_of_work_and_of_the_end() {
        let (tell, told) = std::sync::mpsc::channel();
        let signal = Arc::new(Signal::default());
        signal.raise();
        let rounds = move |signal: &Signal| while !signal.wait(LONG) && tell.send("round").is_ok() {};
        let thread = Background::start("test", Arc::clone(&signal), LONG, rounds).unwrap();
        assert_eq!(told.recv_timeout(LONG), Ok("round"), "it was raised before anybody waited");
        signal.raise();
        assert_eq!(told.recv_timeout(LONG), Ok("round"));
        drop(thread);
        assert!(told.recv_timeout(LONG).is_err(), "the thread has ended");
    }

    #[test]
    fn a_thread_that_hangs_is_left_behind() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hangs = move |_: &Signal| assert!(held.recv().is_err());
        drop(Background::start("test", Arc::default(), Duration::from_millis(5), hangs).unwrap());
        drop(release);
    }
}
