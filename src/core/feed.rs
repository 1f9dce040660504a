//! How a node hears of revocations that others wrote: a connection of its own that listens, a poll behind it that relies
//! on nothing it heard, and a reconnection that reads everything again. What the view does with a row is revocation.rs's;
//! what a check does with an old view is session.rs's.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Core;
use super::refusal::Fault;
use super::revocation::Marks;
use crate::store;
use crate::store::listen::{Heard, Listener};

/// The first and the longest wait before the next attempt to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a stop waits for a thread that may hang in a call to a silent server.
const FAREWELL: Duration = Duration::from_secs(1);

/// The thread of a node that listens. Ends when it is dropped.
#[derive(Debug)]
pub struct Feed {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    said: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    fn say(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Waits that long or until it is said; whether it was.
    fn wait(&self, for_up_to: Duration) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(said, for_up_to, |said| !*said);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Feed {
    /// Starts the thread.
    pub fn start(core: Core) -> Result<Self, Fault> {
        let stop = Arc::new(Stop::default());
        let theirs = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("revocations".to_owned()).spawn(move || follow(&core, &theirs));
        let thread = thread.map_err(|cause| Fault::Broken(format!("no thread for the revocations: {cause}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.say();
        let Some(thread) = self.thread.take() else { return };
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// Connects, listens, and does it again when the connection is lost, until it is told to stop.
fn follow(core: &Core, stop: &Stop) {
    let mut backoff = BACKOFF.0;
    let mut lost: Option<Instant> = None;
    loop {
        let listened = Following::begin(core).and_then(|following| {
            core.metrics.feed_connected.set(1);
            core.metrics.feed_connections.inc();
            backoff = BACKOFF.0;
            if let Some(lost) = lost.take() {
                let seconds = lost.elapsed().as_secs_f32();
                log::info!(seconds:% = format_args!("{seconds:.1}"); "the revocation feed is back; all was read again");
            }
            following.until_stopped(core, stop)
        });
        core.metrics.feed_connected.set(0);
        let Err(cause) = listened else { return };
        core.metrics.feed_polls_failed.inc();
        if lost.is_none() {
            log::warn!(cause:%; "the revocation feed is lost; checks ask the table once memory is too old");
            lost = Some(Instant::now());
        }
        if stop.wait(backoff) {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// One connection's life. Its marks die with it: the next one may lead to another server.
struct Following {
    listener: Listener,
    marks: Marks,
    polled: Instant,
}

impl Following {
    /// Listens first and reads everything then, so that nothing falls between.
    fn begin(core: &Core) -> Result<Self, store::Error> {
        let mut listener = core.store.listen()?;
        let mut marks = Marks::new(core.store.commits_in_order());
        let asked_at = Instant::now();
        let last = core.view.rebuild(|after, limit| listener.list_after(after, limit))?;
        marks.note(asked_at, last);
        core.metrics.feed_polls_ok.inc();
        Ok(Self { listener, marks, polled: asked_at })
    }

    fn until_stopped(mut self, core: &Core, stop: &Stop) -> Result<(), store::Error> {
        let every = (core.rules.revocation_max_stale / 4).min(Duration::from_millis(500));
        while !stop.wait(self.listener.pause()) {
            let due = match self.listener.hear()? {
                Heard::Nothing => self.polled.elapsed() >= every,
                Heard::Something => true,
                Heard::Rows(rows) => {
                    rows.iter().for_each(|row| core.view.apply(row));
                    core.metrics.feed_notices.inc_by(rows.len() as u64);
                    self.polled.elapsed() >= every
                }
            };
            if due {
                self.poll(core)?;
            }
        }
        Ok(())
    }

    fn poll(&mut self, core: &Core) -> Result<(), store::Error> {
        let asked_at = Instant::now();
        let (listener, after) = (&mut self.listener, self.marks.safe(asked_at));
        let last = core.view.read_on(after, &mut |after, limit| listener.list_after(after, limit))?;
        self.marks.note(asked_at, last);
        self.polled = asked_at;
        core.metrics.feed_polls_ok.inc();
        Ok(())
    }
}
