//! What nearly every refresh is: the current token of a live session, with nothing else to write. One statement rotates
//! that without a look at the row; on SQLite those that wait together share a transaction. What it does not rotate is
//! refresh.rs's to decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decide::Verdict;
use crate::core::Core;
use crate::core::error::{Error, InternalError};
use crate::core::session::opaque_refresh_token::{RefreshTokenRef, is_opaque};
use crate::core::session::{Issued, TokenPolicy};
use crate::secret::RefreshToken;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, Rotation, SessionRow};
use crate::store::{self, Db};

/// A write that fails sooner did not wait for anything, and may be tried again at once.
const WAITED: Duration = Duration::from_millis(100);

/// A genuine refresh token whose rotation is one statement, and what that writes.
#[derive(Debug, Clone)]
pub struct RotationAttempt {
    /// What the token names.
    pub named: RefreshTokenRef,
    to: Rotation,
}

/// A session that was rotated, and whose tokens are to be made.
#[derive(Debug)]
pub struct RotatedSession(Box<(SessionRow, AccountState)>);

/// What became of a rotation without a look at the row.
#[derive(Debug)]
pub enum FastRotation {
    /// It is written.
    RotatedSession(RotatedSession),
    /// A verdict decides.
    Fallback,
    /// A verdict decides, and if it is to rotate, that has been waited for long enough.
    TimedOut(InternalError),
}

impl RotationAttempt {
    fn run(&self, db: &mut Db) -> Result<Option<RotatedSession>, store::Error> {
        let RefreshTokenRef { session, account, generation } = self.named;
        let rotated = sessions::rotate_live(db, session, account, generation, &self.to)?;
        Ok(rotated.map(|rotated| RotatedSession(Box::new(rotated))))
    }
}

impl FastRotation {
    fn failed(error: &Arc<store::Error>, began: Instant) -> Self {
        match **error {
            store::Error::Unavailable { .. } | store::Error::Conflict { .. } if began.elapsed() >= WAITED => {
                Self::TimedOut(InternalError::unavailable(Arc::clone(error)))
            }
            // Sooner: over a connection from before a failover. What became of it stands in the row.
            _ => Self::Fallback,
        }
    }
}

impl From<Option<RotatedSession>> for FastRotation {
    fn from(rotated: Option<RotatedSession>) -> Self {
        rotated.map_or(Self::Fallback, Self::RotatedSession)
    }
}

impl Core {
    /// Whether rotations that wait together share a transaction: PostgreSQL has many writers, and sees to that itself.
    pub fn shares_commits(&self) -> bool {
        self.store.is_single_writer()
    }

    /// A token that may be rotated without a look at the row, by its text alone: asks nobody. `None`: look at the row.
    pub fn rotation_attempt_by_text(
        &self,
        token: &RefreshToken,
        policy: &TokenPolicy,
    ) -> Result<Option<RotationAttempt>, Error> {
        if is_opaque(token.expose()) {
            return Ok(None);
        }
        Ok(self.rotation_attempt(self.resolve_refresh_token(token, true).map_err(Error::of_refresh)?, policy))
    }

    /// A repeated answer needs no write, so while nobody can write, nobody tries this.
    pub(super) fn rotation_attempt(&self, named: RefreshTokenRef, policy: &TokenPolicy) -> Option<RotationAttempt> {
        let more_to_write = !policy.rotates || policy.revokes_on_rotation || policy.opaque_refresh;
        if more_to_write || self.store.is_unavailable() {
            return None;
        }
        Some(RotationAttempt { named, to: self.rotation(policy, self.now()) })
    }

    pub(super) fn rotate_fast(&self, rotation_attempt: &RotationAttempt) -> Result<FastRotation, Error> {
        let began = Instant::now();
        match self.store.write_one_statement(|db| rotation_attempt.run(db)) {
            Ok(rotated) => Ok(rotated.into()),
            Err(error @ (store::Error::Unavailable { .. } | store::Error::Conflict { .. })) => {
                Ok(FastRotation::failed(&Arc::new(error), began))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    /// Rotates these in one transaction, each by a statement that changes one row or none. Where one breaks, none is written
    /// and each is decided by itself.
    pub fn rotate_batch(&self, all: &[RotationAttempt]) -> Vec<FastRotation> {
        let began = Instant::now();
        let rotated = self.store.write(|db| all.iter().map(|one| one.run(db)).collect::<Result<Vec<_>, _>>());
        match rotated {
            Ok(rotated) => rotated.into_iter().map(FastRotation::from).collect(),
            Err(error) => {
                let error = Arc::new(error);
                all.iter().map(|_| FastRotation::failed(&error, began)).collect()
            }
        }
    }

    pub(super) fn issue_fast_rotation(
        &self,
        RotatedSession(rotated): &RotatedSession,
        policy: &TokenPolicy,
    ) -> Result<Issued, Error> {
        let (row, account) = rotated.as_ref();
        let issued = self.issue_of_rotation(row, account, policy)?;
        self.metrics.refreshes.with_label_values(&[Verdict::Rotate.as_str()]).inc();
        Ok(issued)
    }
}

#[cfg(test)]
impl RotationAttempt {
    /// For tests that never write it: one of a session that does not exist.
    pub(crate) fn of_generation(generation: i64) -> Self {
        use crate::clock::Timestamp;
        use crate::store::{AccountId, Id128};
        let at = Timestamp::from_seconds(1);
        let to = Rotation { at, key_id: String::new(), idle_expires_at: at, access_expires_at: at };
        Self { named: RefreshTokenRef { session: Id128(uuid::Uuid::nil()), account: AccountId(1), generation }, to }
    }
}
