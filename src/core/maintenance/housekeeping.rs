//! What a node does in the background: write receipts and what was counted, follow the keys file, remove what is over, ask
//! whether a database that was away is back. Each step is a function that a test calls itself; the thread only calls them
//! in time.
//! Revocations are heard of in feed.rs; how much is removed at once is portion.rs's to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::core::Core;
use crate::core::error::{Error, InternalError};
use crate::core::maintenance::adaptive_batch::AdaptiveBatch;
use crate::core::maintenance::worker::{Notify, Signal, Worker};
use crate::core::revocation::write::RETENTION_MARGIN;
use crate::store;
use crate::store::tables::{audit_events, pending_sign_ups, revocations, sessions, throttles};

/// How much of a round the removal of what is over may take.
const PURGE_SHARE: Duration = Duration::from_millis(250);

/// How often it looks around.
const ROUND: Duration = Duration::from_millis(500);

/// How often the tables are looked through for what is over.
const PURGE_EVERY: Duration = Duration::from_mins(1);

/// How long a stop waits for the last receipts: longer than a database is waited for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

impl Core {
    /// All that follows from what others wrote and from what this node saw, at once: revocations in, receipts out, keys
    /// as the file has them.
    pub fn sync(&self) -> Result<(), Error> {
        self.resync_revocations()?;
        self.prune_revocation_cache()?;
        self.follow_keys();
        self.flush()
    }

    /// Forgets what is over, or reads it again when the clock was set back behind what was forgotten.
    pub(in crate::core) fn prune_revocation_cache(&self) -> Result<(), store::Error> {
        let now = self.now();
        if self.revocation_cache.is_pruned_beyond(now) {
            self.resync_revocations()?;
            self.revocation_cache.reset_pruned();
        }
        self.revocation_cache.prune(now);
        Ok(())
    }

    /// Reads every revocation.
    pub(in crate::core) fn resync_revocations(&self) -> Result<(), store::Error> {
        self.revocation_cache.resync(|after, limit| self.store.read(|db| revocations::list_after(db, after, limit)))?;
        Ok(())
    }

    /// All that this node's requests have left to write.
    fn flush(&self) -> Result<(), Error> {
        self.flush_confirmations()?;
        self.write_duplicate_cookies()
    }

    /// Writes down which generations have arrived; at most one write a generation.
    pub fn flush_confirmations(&self) -> Result<(), Error> {
        let marks = self.confirmations.pending();
        for batch in marks.chunks(256) {
            self.store.write(|db| {
                batch.iter().try_for_each(|(id, generation, at)| sessions::confirm(db, *id, *generation, *at))
            })?;
            self.confirmations.flushed(batch);
            self.metrics.confirmations_flushed.inc_by(batch.len() as u64);
        }
        Ok(())
    }

    /// Removes what nobody can need any more: sessions and revocations a day past their end, audit events past their
    /// retention, sign-ups that nobody confirmed in time. How many rows went.
    pub fn purge(&self) -> Result<usize, Error> {
        let mut portion = AdaptiveBatch::default();
        self.purge_while(&mut portion, || true).map(|(gone, _)| gone)
    }

    /// Portion after portion, as long as anything is over and there is time; how many rows went, and whether that is all.
    fn purge_while(&self, portion: &mut AdaptiveBatch, has_time: impl Fn() -> bool) -> Result<(usize, bool), Error> {
        let mut gone = 0;
        while has_time() {
            match self.purge_some(portion)? {
                0 => return Ok((gone, true)),
                some => gone += some,
            }
        }
        Ok((gone, false))
    }

    /// One portion, in one transaction.
    fn purge_some(&self, portion: &mut AdaptiveBatch) -> Result<usize, Error> {
        let before = self.now().minus(RETENTION_MARGIN);
        let (rows, mut began) = (portion.rows(), Instant::now());
        let gone = self.store.write(|db| {
            // The wait before it held nobody up.
            began = Instant::now();
            let revocations = revocations::purge(db, before, rows)?;
            let audit = audit_events::purge(db, self.now().minus(self.rules.audit_retention), rows)?;
            let sign_ups = pending_sign_ups::purge(db, self.now(), rows)?;
            let throttles = throttles::purge(db, before, rows)?;
            Ok(audit + revocations + sign_ups + throttles + sessions::purge(db, before, rows)?)
        })?;
        portion.took(began.elapsed());
        self.prune_revocation_cache()?;
        self.metrics.purged_rows.inc_by(gone as u64);
        Ok(gone)
    }

    fn follow_keys(&self) {
        match self.reload_keys_if_changed() {
            Ok(changed) => {
                self.keys_unusable.store(false, Ordering::Relaxed);
                if let Some(key) = changed {
                    log::info!(key; "signing key changed");
                }
            }
            Err(error) if !self.keys_unusable.swap(true, Ordering::Relaxed) => {
                log::error!(error:%; "the keys file cannot be used; the keys in memory go on");
            }
            Err(_said_before) => {}
        }
    }
}

/// Starts the background thread of a node.
pub fn start(core: Core) -> Result<Worker, InternalError> {
    Worker::start("housekeeping", &Notify::default(), SHUTDOWN_GRACE, move |signal| run(&core, signal))
}

fn run(core: &Core, signal: &Signal) {
    let troubled = AtomicBool::new(false);
    let (mut purged, mut portion) = (Instant::now(), AdaptiveBatch::default());
    loop {
        core.follow_keys();
        if core.store.is_unavailable() {
            let _ = core.store.probe();
        }
        tell_once(&troubled, core.flush());
        if purged.elapsed() >= PURGE_EVERY {
            core.rate_limiter.remove_idle();
            // A little a round, however much is over: receipts must not wait for a long clean-up.
            let began = Instant::now();
            let gone = core.purge_while(&mut portion, || began.elapsed() < PURGE_SHARE);
            if !matches!(gone, Ok((_, false))) {
                purged = Instant::now();
            }
            tell_once(&troubled, gone.map(|_| ()));
        }
        if signal.wait(ROUND) {
            break;
        }
    }
    // Of the last moments: without its receipt a client whose answer was lost would merely be believed longer.
    let _ = core.flush();
}

/// One line when trouble begins and one when it is over, not two a second while a database is away.
fn tell_once(troubled: &AtomicBool, outcome: Result<(), Error>) {
    let was = troubled.swap(outcome.is_err(), Ordering::Relaxed);
    match outcome {
        Err(error) if !was => {
            log::error!(error:%; "housekeeping cannot write; it goes on when the database answers");
        }
        Ok(()) if was => log::info!("housekeeping goes on"),
        _ => {}
    }
}
