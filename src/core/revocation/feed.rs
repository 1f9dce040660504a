//! How a node hears of revocations that others wrote: a connection of its own that listens, a poll behind it that relies
//! on nothing it heard, and a reconnection that reads everything again. What the view does with a row is revocation.rs's;
//! what a check does with an old view is session.rs's.

use std::time::{Duration, Instant};

use super::poll_cursor::PollCursor;
use crate::core::Core;
use crate::core::error::InternalError;
use crate::core::maintenance::worker::{Notify, Signal, Worker};
use crate::store;
use crate::store::listen::{Listener, Notification};

/// The first and the longest wait before the next attempt to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a stop waits for a thread that may hang in a call to a silent server.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Starts the thread of a node that listens.
pub fn start(core: Core) -> Result<Worker, InternalError> {
    Worker::start("revocations", &Notify::default(), SHUTDOWN_GRACE, move |signal| follow(&core, signal))
}

/// Connects, listens, and does it again when the connection is lost, until it is told to stop.
fn follow(core: &Core, signal: &Signal) {
    let mut backoff = BACKOFF.0;
    let mut lost: Option<Instant> = None;
    loop {
        let listened = Following::begin(core).and_then(|following| {
            core.metrics.feed.connected.set(1);
            core.metrics.feed.connections.inc();
            backoff = BACKOFF.0;
            if let Some(lost) = lost.take() {
                let seconds = lost.elapsed().as_secs_f32();
                log::info!(seconds:% = format_args!("{seconds:.1}"); "the revocation feed is back; all was read again");
            }
            following.until_stopped(core, signal)
        });
        core.metrics.feed.connected.set(0);
        let Err(cause) = listened else { return };
        core.metrics.feed.polls_failed.inc();
        if lost.is_none() {
            log::warn!(cause:%; "the revocation feed is lost; checks ask the table once memory is too old");
            lost = Some(Instant::now());
        }
        if signal.wait(backoff) {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// One connection's life. Its marks die with it: the next one may lead to another server.
struct Following {
    listener: Listener,
    marks: PollCursor,
    polled: Instant,
}

impl Following {
    /// Listens first and reads everything then, so that nothing falls between.
    fn begin(core: &Core) -> Result<Self, store::Error> {
        let mut listener = core.store.listen()?;
        let mut marks = PollCursor::new(core.store.is_single_writer());
        let asked_at = Instant::now();
        let last = core.view.rebuild(|after, limit| listener.list_after(after, limit))?;
        marks.note(asked_at, last);
        core.metrics.feed.polls_ok.inc();
        Ok(Self { listener, marks, polled: asked_at })
    }

    fn until_stopped(mut self, core: &Core, signal: &Signal) -> Result<(), store::Error> {
        let every = (core.rules.revocation_max_stale / 4).min(Duration::from_millis(500));
        while !signal.wait(self.listener.poll_interval()) {
            let due = match self.listener.poll_notifications()? {
                Notification::Nothing => self.polled.elapsed() >= every,
                Notification::Committed => true,
                Notification::Rows(rows) => {
                    rows.iter().for_each(|row| core.view.apply(row));
                    core.metrics.feed.notifications.inc_by(rows.len() as u64);
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
        core.metrics.feed.polls_ok.inc();
        Ok(())
    }
}
