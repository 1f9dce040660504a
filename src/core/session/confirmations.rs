//! Write-behind of delivery confirmations: which generations of a session were presented to this node. A check records a
//! generation in memory only; maintenance/housekeeping.rs flushes the pending ones to the table. What a confirmation means
//! for a refresh is refresh/decide.rs's.

use papaya::HashMap;

use crate::clock::Timestamp;
use crate::store::SessionId;

/// Bounds the memory. A confirmation that does not fit is recorded at the session's next check.
const CAPACITY: usize = 131_072;

#[derive(Debug, Clone, Copy)]
struct DeliveryConfirmation {
    generation: i64,
    first_seen: Timestamp,
    flushed: bool,
}

/// The confirmations of one node. A check takes no lock that the flush can hold.
#[derive(Debug, Default)]
pub struct PendingConfirmations {
    by_session: HashMap<SessionId, DeliveryConfirmation>,
}

impl PendingConfirmations {
    /// Records that an access token of this generation was presented. Generation 0 has no predecessor that a refresh could
    /// replay, so its confirmation is irrelevant.
    pub fn record(&self, session: SessionId, generation: i64, at: Timestamp) {
        if generation == 0 {
            return;
        }
        let all = self.by_session.pin();
        // Most checks end here, with one look-up: a session is checked far more often than it is refreshed.
        if all.get(&session).is_some_and(|known| known.generation >= generation) || all.len() >= CAPACITY {
            return;
        }
        let new = DeliveryConfirmation { generation, first_seen: at, flushed: false };
        all.update_or_insert(session, |old| if old.generation >= generation { *old } else { new }, new);
    }

    /// When this generation was first presented to this node.
    pub fn first_seen(&self, session: SessionId, generation: i64) -> Option<Timestamp> {
        self.by_session.pin().get(&session).filter(|known| known.generation == generation).map(|known| known.first_seen)
    }

    /// The confirmations that the table lacks.
    pub fn pending(&self) -> Vec<(SessionId, i64, Timestamp)> {
        let all = self.by_session.pin();
        let pending = all.iter().filter(|(_, one)| !one.flushed);
        pending.map(|(session, one)| (*session, one.generation, one.first_seen)).collect()
    }

    /// Records that the table has these. They stay, so that a check does not make them pending again, until half the capacity
    /// is used.
    pub fn flushed(&self, written: &[(SessionId, i64, Timestamp)]) {
        let all = self.by_session.pin();
        for (session, generation, _) in written {
            // A rotation may have replaced it since `pending`: then the newer generation still is.
            all.update(*session, |one| DeliveryConfirmation {
                flushed: one.flushed || one.generation == *generation,
                ..*one
            });
        }
        if all.len() > CAPACITY / 2 {
            all.retain(|_, one| !one.flushed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_first_check_of_a_generation_counts_and_is_flushed_once() {
        let confirmations = PendingConfirmations::default();
        let session = SessionId(Uuid::from_u128(7));
        let at = Timestamp::from_seconds;
        confirmations.record(session, 0, at(1));
        confirmations.record(session, 2, at(2));
        confirmations.record(session, 2, at(3));
        confirmations.record(session, 1, at(4));
        assert_eq!((confirmations.first_seen(session, 2), confirmations.first_seen(session, 1)), (Some(at(2)), None));
        let pending = confirmations.pending();
        assert_eq!(pending, [(session, 2, at(2))]);
        confirmations.flushed(&pending);
        assert!(confirmations.pending().is_empty());
        assert_eq!(confirmations.first_seen(session, 2), Some(at(2)));
    }
}
