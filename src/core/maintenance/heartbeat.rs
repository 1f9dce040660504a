//! Heartbeat of a node: writes its row of the node registry and reports what differs between the running nodes. What counts as a
//! difference is node_registry.rs's; housekeeping.rs schedules it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::node_registry::{Comparison, KeyIds, RETENTION, measure_clock};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::Error;
use crate::store::tables::nodes;
use crate::store::tables::nodes::NodeRow;

/// The time between two heartbeats.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

impl Core {
    /// Writes this node's heartbeat and compares it with the others; logs when a difference begins and when it ends.
    pub fn heartbeat(&self) -> Result<(), Error> {
        let registry = &self.node_registry;
        let keys = registry.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let comparison = self.store.write(|db| {
            let (clock_offset, at) = measure_clock(db, &|| self.now())?;
            let KeyIds { signing_keys, peppers } = keys.clone();
            nodes::save(db, &NodeRow { id: registry.id, signing_keys, peppers, seen_at: at, clock_offset })?;
            nodes::purge(db, at.minus(RETENTION))?;
            Ok(Comparison::new(&keys, clock_offset, &nodes::list_others(db, registry.id)?, at))
        })?;
        self.report(&comparison);
        *registry.latest.lock().unwrap_or_else(PoisonError::into_inner) = comparison;
        Ok(())
    }

    /// Marks this node as stopped, so that its keys count no longer as those of a running one. Without it they count until it
    /// has not been seen for `LIVE_WITHIN`.
    pub fn leave(&self) {
        // A stop does not wait for a database that does not answer.
        if self.store.is_unavailable() {
            return;
        }
        let registry = &self.node_registry;
        let KeyIds { signing_keys, peppers } = registry.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seen_at = Timestamp::from_millis(0);
        let row = NodeRow { id: registry.id, signing_keys, peppers, seen_at, clock_offset: 0 };
        if let Err(error) = self.store.write(|db| nodes::save(db, &row)) {
            log::debug!(error:%; "this node could not be marked as stopped");
        }
    }

    /// What the last heartbeat found that an operator must know.
    pub fn node_warnings(&self) -> Vec<String> {
        let latest = self.node_registry.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.warnings(self.rules.tokens.clock_skew)
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a clock's error")]
    fn report(&self, comparison: &Comparison) {
        let (registry, metrics) = (&self.node_registry, &self.metrics.nodes);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.live.set(count(comparison.live + 1));
        metrics.with_other_keys.set(count(comparison.with_other_keys));
        metrics.clock_difference.set(comparison.clock_difference as f64 / 1000.0);
        let apart = comparison.clocks_apart(self.rules.tokens.clock_skew);
        let began = [
            (&registry.has_other_keys, comparison.other_keys.is_some(), "the keys of all running nodes agree again"),
            (&registry.has_other_clock, apart, "the clocks of all running nodes agree again"),
        ]
        .map(|(flag, differs, agreed)| {
            let before = flag.swap(differs, Ordering::Relaxed);
            if before && !differs {
                log::info!("{agreed}");
            }
            differs && !before
        });
        if began.contains(&true) {
            comparison.warnings(self.rules.tokens.clock_skew).iter().for_each(|warning| log::error!("{warning}"));
        }
    }
}
