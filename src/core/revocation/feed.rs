//! Revocation feed with reconnect backoff: how a node learns of logouts and other revocations on other nodes. A connection of its own subscribes to
//! notifications, a poll covers notifications that were lost, and each reconnection is a full resync.
//! What the cache does with a row is cache.rs's; what a check does with a stale cache is session.rs's.

use std::time::{Duration, Instant};

use super::cache::RevocationCache;
use super::poll_cursor::PollCursor;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::InternalError;
use crate::core::maintenance::worker::{Notify, Signal, Worker};
use crate::store;
use crate::store::listen::{Listener, Notification};
use crate::store::tables::revocations::{RevocationRow, Selection};

/// The wait before the first reconnection; doubles with each failure.
const MIN_BACKOFF: Duration = Duration::from_millis(50);

/// The longest wait before a reconnection.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The longest interval between two polls; a short `REVOCATION_MAX_STALE` makes it shorter.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long a shutdown waits for the thread, which may hang in a call to a server that does not respond.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Starts the feed's thread.
pub fn start(core: Core) -> Result<Worker, InternalError> {
    Worker::start("revocations", &Notify::default(), SHUTDOWN_GRACE, move |signal| run(&core, signal))
}

/// Subscribes, and subscribes again whenever the connection is lost, until shutdown.
fn run(core: &Core, signal: &Signal) {
    let mut backoff = MIN_BACKOFF;
    let mut lost: Option<Instant> = None;
    loop {
        let outcome = Subscription::open(core).and_then(|subscription| {
            core.metrics.feed.connected.set(1);
            core.metrics.feed.connections.inc();
            backoff = MIN_BACKOFF;
            if let Some(lost) = lost.take() {
                let seconds = lost.elapsed().as_secs_f32();
                log::info!(seconds:% = format_args!("{seconds:.1}"); "revocation feed reconnected, cache resynchronised");
            }
            subscription.run(core, signal)
        });
        core.metrics.feed.connected.set(0);
        let Err(cause) = outcome else { return };
        core.metrics.feed.polls_failed.inc();
        // Once for each outage, not for each attempt.
        if lost.is_none() {
            log::warn!(cause:%; "revocation feed disconnected; checks read the table once the cache is stale");
            lost = Some(Instant::now());
        }
        if signal.wait(backoff) {
            return;
        }
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// One connection. Its cursor ends with it: the next connection may lead to another server, with other ids.
struct Subscription {
    listener: Listener,
    cursor: PollCursor,
    /// The earliest expiry of the rows that the resync has read.
    since: Timestamp,
    last_poll: Instant,
}

impl Subscription {
    /// Listens first and resynchronises then, so that no row is committed unseen between the two.
    fn open(core: &Core) -> Result<Self, store::StoreError> {
        let mut listener = core.store.listen()?;
        let mut cursor = PollCursor::new(core.store.is_single_writer());
        let began = Instant::now();
        let since = RevocationCache::earliest_expiry(core.now());
        let last_id =
            core.revocation_cache.resync(Some(since), |rows, limit| list(core, &mut listener, rows, limit))?;
        cursor.record(began, last_id);
        core.metrics.feed.polls_ok.inc();
        Ok(Self { listener, cursor, since, last_poll: began })
    }

    /// Applies notifications and polls, until shutdown or until the connection fails.
    fn run(mut self, core: &Core, signal: &Signal) -> Result<(), store::StoreError> {
        // A quarter: two polls may fail before checks have to read the table.
        let interval = (core.rules.revocation_max_stale / 4).min(MAX_POLL_INTERVAL);
        while !signal.wait(self.listener.notification_check_interval()) {
            let is_due = match self.listener.poll_notifications()? {
                Notification::Nothing => self.last_poll.elapsed() >= interval,
                Notification::Committed => true,
                Notification::Rows(rows) => {
                    rows.iter().for_each(|row| core.revocation_cache.apply(row));
                    core.metrics.feed.notifications.inc_by(rows.len() as u64);
                    self.last_poll.elapsed() >= interval
                }
            };
            if is_due {
                self.poll(core)?;
            }
        }
        Ok(())
    }

    fn poll(&mut self, core: &Core) -> Result<(), store::StoreError> {
        let began = Instant::now();
        let (listener, after) = (&mut self.listener, self.cursor.low_watermark(began));
        let mut list = |rows, limit| list(core, listener, rows, limit);
        // If the clock was set back meanwhile, rows that are written now may expire before those that the resync has read.
        let since = self.since.min(RevocationCache::earliest_expiry(core.now()));
        let last_id = core.revocation_cache.catch_up(after, since, &mut list)?;
        self.cursor.record(began, last_id);
        self.last_poll = began;
        core.metrics.feed.polls_ok.inc();
        Ok(())
    }
}

/// Reads and counts rows.
fn list(
    core: &Core,
    listener: &mut Listener,
    selection: Selection,
    limit: i64,
) -> Result<Vec<RevocationRow>, store::StoreError> {
    let rows = listener.list(selection, limit)?;
    core.metrics.feed.rows_read.inc_by(rows.len() as u64);
    Ok(rows)
}
