//! Housekeeping of a node: flushes delivery confirmations and duplicate-cookie audits, reloads a changed keys file, purges
//! expired rows, and probes an unavailable database. Each step is a function that tests call themselves; the thread only
//! schedules them. Revocations arrive by core/revocation/feed.rs; the size of a purge's batches is adaptive_batch.rs's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::{Error, InternalError};
use crate::core::maintenance::adaptive_batch::AdaptiveBatch;
use crate::core::maintenance::heartbeat::HEARTBEAT_INTERVAL;
use crate::core::maintenance::worker::{Notify, Signal, Worker};
use crate::core::revocation::cache::RevocationCache;
use crate::core::revocation::write::RETENTION_MARGIN;
use crate::store;
use crate::store::tables::{audit_events, pending_sign_ups, revocations, sessions, throttles};

/// The time that an iteration may spend on purging.
const PURGE_SHARE: Duration = Duration::from_millis(250);

/// The time between two iterations: half of the default delay (`propagation_delay`, 1 s) after which a new signing key is used
/// on every node, each of which must have read it by then.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(500);

/// The time between two purges.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);

/// How long a stop waits for the last flush: longer than the timeout of a database call.
const HOUSEKEEPING_SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// The result of a purge.
struct Purge {
    removed: usize,
    /// Whether nothing is left to remove.
    is_complete: bool,
}

impl Core {
    /// Synchronises the node immediately: reads all revocations, reloads the keys file, and writes all pending confirmations.
    pub fn sync(&self) -> Result<(), Error> {
        self.resync_revocations()?;
        self.prune_revocation_cache()?;
        self.reload_keys();
        self.flush()
    }

    /// Removes expired entries from the revocation cache. If the clock was set back behind an entry that has been removed, or was
    /// never read, reads the whole table first: a token of that entry would be valid again by this clock.
    pub(in crate::core) fn prune_revocation_cache(&self) -> Result<(), store::StoreError> {
        let now = self.now();
        if self.revocation_cache.is_pruned_beyond(now) {
            self.read_revocations(None)?;
        }
        self.revocation_cache.prune(now);
        Ok(())
    }

    /// Rebuilds the revocation cache from the rows whose tokens can be alive.
    pub(in crate::core) fn resync_revocations(&self) -> Result<(), store::StoreError> {
        self.read_revocations(Some(RevocationCache::earliest_expiry(self.now())))
    }

    fn read_revocations(&self, since: Option<Timestamp>) -> Result<(), store::StoreError> {
        let list = |selection, limit| {
            let rows = self.store.read(|db| revocations::list(db, selection, limit))?;
            self.metrics.feed.rows_read.inc_by(rows.len() as u64);
            Ok(rows)
        };
        self.revocation_cache.resync(since, list).map(|_last_id| ())
    }

    /// Writes what requests have left in memory.
    fn flush(&self) -> Result<(), Error> {
        self.flush_confirmations()?;
        self.write_duplicate_cookies()
    }

    /// Writes the pending delivery confirmations, in batches; at most one write per generation.
    pub fn flush_confirmations(&self) -> Result<(), Error> {
        let pending = self.confirmations.pending();
        for batch in pending.chunks(256) {
            self.store.write(|db| {
                batch.iter().try_for_each(|(id, generation, at)| sessions::confirm(db, *id, *generation, *at))
            })?;
            self.confirmations.flushed(batch);
            self.metrics.confirmations_flushed.inc_by(batch.len() as u64);
        }
        Ok(())
    }

    /// Purges expired rows: sessions and revocations a day past their end, audit events past their retention, unconfirmed
    /// registrations, old throttle counters. Returns the number of rows removed.
    pub fn purge(&self) -> Result<usize, Error> {
        let mut batch = AdaptiveBatch::default();
        self.purge_while(&mut batch, || true).map(|purge| purge.removed)
    }

    /// Purges batch after batch until nothing is left or time is up.
    fn purge_while(&self, batch: &mut AdaptiveBatch, has_time: impl Fn() -> bool) -> Result<Purge, Error> {
        let mut removed = 0;
        while has_time() {
            match self.purge_batch(batch)? {
                0 => return Ok(Purge { removed, is_complete: true }),
                rows => removed += rows,
            }
        }
        Ok(Purge { removed, is_complete: false })
    }

    /// Purges one batch, in one transaction.
    fn purge_batch(&self, batch: &mut AdaptiveBatch) -> Result<usize, Error> {
        let before = self.now().minus(RETENTION_MARGIN);
        let (rows, mut began) = (batch.rows(), Instant::now());
        let removed = self.store.write(|db| {
            // Measured from here: while the transaction waits for its turn it delays no writer.
            began = Instant::now();
            let revocations = revocations::purge(db, before, rows)?;
            let audit = audit_events::purge(db, self.now().minus(self.rules.audit_retention), rows)?;
            let sign_ups = pending_sign_ups::purge(db, self.now(), rows)?;
            let throttles = throttles::purge(db, self.now(), rows)?;
            Ok(audit + revocations + sign_ups + throttles + sessions::purge(db, before, rows)?)
        })?;
        batch.record(began.elapsed());
        self.prune_revocation_cache()?;
        self.metrics.purged_rows.inc_by(removed as u64);
        Ok(removed)
    }

    /// Reads the keys file again, if it has changed.
    pub fn reload_keys(&self) {
        match self.reload_keys_if_changed() {
            Ok(changed) => {
                self.keys_unusable.store(false, Ordering::Relaxed);
                if let Some(key) = changed {
                    log::info!(key; "signing key changed");
                }
            }
            Err(error) if !self.keys_unusable.swap(true, Ordering::Relaxed) => {
                log::error!(error:%; "the keys file is unusable; the keys in memory stay active");
            }
            // Logged when it began.
            Err(_) => {}
        }
    }
}

/// Starts the background thread of a node.
pub fn start(core: Core) -> Result<Worker, InternalError> {
    Worker::start("housekeeping", &Notify::default(), HOUSEKEEPING_SHUTDOWN_GRACE, move |signal| run(&core, signal))
}

fn run(core: &Core, signal: &Signal) {
    let failing = AtomicBool::new(false);
    let (mut purged, mut batch) = (Instant::now(), AdaptiveBatch::default());
    let mut heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
    loop {
        core.reload_keys();
        if core.store.is_unavailable() || core.store.is_file_lost() {
            // Any call records whether the database answers; a node that gets no requests makes none.
            let _ = core.store.probe();
        }
        core.store.log_recovery();
        log_transition(&failing, core.flush());
        if core.node_registry.take_keys_changed() || Instant::now() >= heartbeat_due {
            heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
            log_transition(&failing, core.heartbeat());
        }
        if purged.elapsed() >= PURGE_INTERVAL {
            core.rate_limiter.remove_idle();
            // A bounded share of each iteration, since confirmations must not wait for a long purge.
            let began = Instant::now();
            let purge = core.purge_while(&mut batch, || began.elapsed() < PURGE_SHARE);
            if !matches!(purge, Ok(Purge { is_complete: false, .. })) {
                purged = Instant::now();
            }
            log_transition(&failing, purge.map(|_| ()));
        }
        if signal.wait(HOUSEKEEPING_INTERVAL) {
            break;
        }
    }
    // Best effort: an unwritten confirmation only means that the previous refresh token stays replayable for longer.
    let _ = core.flush();
    core.leave();
}

/// Logs when writes start to fail and when they work again, and not twice a second during an outage.
fn log_transition(failing: &AtomicBool, outcome: Result<(), Error>) {
    let was_failing = failing.swap(outcome.is_err(), Ordering::Relaxed);
    match outcome {
        Err(error) if !was_failing => {
            log::error!(error:%; "housekeeping cannot write; it retries until the database is available");
        }
        Ok(()) if was_failing => log::info!("housekeeping works again"),
        _ => {}
    }
}
