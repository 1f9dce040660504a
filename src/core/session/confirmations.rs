//! Proof of receipt: which generations have shown up at this node. A check only marks it here, in memory; the mark
//! reaches the table in the background. What a mark means for a refresh is refresh.rs's to decide.

use papaya::HashMap;

use crate::clock::Timestamp;
use crate::store::SessionId;

/// Bounds memory; a mark that is not kept is made again at the session's next check.
const MARKS_MAX: usize = 131_072;

#[derive(Debug, Clone, Copy)]
struct Mark {
    generation: i64,
    at: Timestamp,
    written: bool,
}

/// The marks of one node. A check takes no lock that the writer of marks can hold.
#[derive(Debug, Default)]
pub struct PendingConfirmations {
    marks: HashMap<SessionId, Mark>,
}

impl PendingConfirmations {
    /// Marks that an access token of this generation was presented. A session's first generation succeeds no other, so
    /// its receipt decides nothing.
    pub fn mark(&self, session: SessionId, generation: i64, at: Timestamp) {
        if generation == 0 {
            return;
        }
        let marks = self.marks.pin();
        if marks.get(&session).is_some_and(|mark| mark.generation >= generation) || marks.len() >= MARKS_MAX {
            return;
        }
        let mark = Mark { generation, at, written: false };
        marks.update_or_insert(session, |old| if old.generation >= generation { *old } else { mark }, mark);
    }

    /// When this generation was first seen here, if it was.
    pub fn seen(&self, session: SessionId, generation: i64) -> Option<Timestamp> {
        self.marks.pin().get(&session).filter(|mark| mark.generation == generation).map(|mark| mark.at)
    }

    /// The marks that the table lacks.
    pub fn unwritten(&self) -> Vec<(SessionId, i64, Timestamp)> {
        let marks = self.marks.pin();
        let lacking = marks.iter().filter(|(_, mark)| !mark.written);
        lacking.map(|(id, mark)| (*id, mark.generation, mark.at)).collect()
    }

    /// Notes that the table has these. Where memory grows full, what the table has is forgotten first.
    pub fn note_written(&self, written: &[(SessionId, i64, Timestamp)]) {
        let marks = self.marks.pin();
        for (session, generation, _) in written {
            marks.update(*session, |mark| Mark { written: mark.written || mark.generation == *generation, ..*mark });
        }
        if marks.len() > MARKS_MAX / 2 {
            marks.retain(|_, mark| !mark.written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Id128;
    use uuid::Uuid;

    #[test]
    fn the_first_sight_of_a_generation_counts_and_is_written_once() {
        let confirmations = PendingConfirmations::default();
        let session = Id128(Uuid::from_u128(7));
        let at = Timestamp::from_seconds;
        confirmations.mark(session, 0, at(1));
        confirmations.mark(session, 2, at(2));
        confirmations.mark(session, 2, at(3));
        confirmations.mark(session, 1, at(4));
        assert_eq!((confirmations.seen(session, 2), confirmations.seen(session, 1)), (Some(at(2)), None));
        let marks = confirmations.unwritten();
        assert_eq!(marks, [(session, 2, at(2))]);
        confirmations.note_written(&marks);
        assert!(confirmations.unwritten().is_empty());
        assert_eq!(confirmations.seen(session, 2), Some(at(2)));
    }
}
