//! Fast path of a refresh: the current token of a live session, on a mount whose rotation has nothing else to write. One
//! conditional `UPDATE` rotates it without reading the row first; on SQLite concurrent ones share a transaction
//! (web/blocking/batcher.rs). Whatever it does not rotate is left to the slow path in refresh.rs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decide::Verdict;
use super::request::RefreshRequest;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::{Error, InternalError};
use crate::core::session::Issued;
use crate::core::session::opaque_refresh_token::{ExpiryCheck, RefreshTokenRef, is_opaque};
use crate::store::tables::sessions::rotation::{self, Rotation};
use crate::store::tables::sessions::{AccountState, SessionRow};
use crate::store::{self, Db};

/// A write that fails sooner did not wait for the database, so the slow path may write again.
const TIMEOUT_THRESHOLD: Duration = Duration::from_millis(100);

/// A genuine refresh token whose rotation is one statement, with the values that it writes.
#[derive(Debug, Clone)]
pub struct RotationAttempt {
    /// What the token refers to.
    pub token: RefreshTokenRef,
    /// When this node saw the generation first; the flush to the table may be pending.
    confirmed_here: Option<Timestamp>,
    rotation: Rotation,
}

/// A session that was rotated, whose tokens are still to be issued.
#[derive(Debug)]
pub struct RotatedSession(Box<(SessionRow, AccountState)>);

/// The outcome of the fast path.
#[derive(Debug)]
pub enum FastRotation {
    /// The rotation is committed.
    Rotated(RotatedSession),
    /// Nothing was rotated: the slow path decides.
    Fallback,
    /// The database did not take the write in time. The slow path decides, but must not write a rotation: the client has
    /// waited that long already.
    TimedOut(InternalError),
}

impl RotationAttempt {
    fn run(&self, db: &mut Db) -> Result<Option<RotatedSession>, store::StoreError> {
        let RefreshTokenRef { session, account, generation, .. } = self.token;
        let rotated = rotation::rotate_live(db, session, account, (generation, self.confirmed_here), &self.rotation)?;
        Ok(rotated.map(|rotated| RotatedSession(Box::new(rotated))))
    }
}

impl FastRotation {
    fn failed(error: &Arc<store::StoreError>, began: Instant) -> Self {
        match **error {
            store::StoreError::Unavailable { .. } | store::StoreError::Conflict { .. }
                if began.elapsed() >= TIMEOUT_THRESHOLD =>
            {
                Self::TimedOut(InternalError::unavailable(Arc::clone(error)))
            }
            // Sooner: a connection from before a failover was broken. Whether the write was committed is seen in the row.
            _ => Self::Fallback,
        }
    }
}

impl From<Option<RotatedSession>> for FastRotation {
    fn from(rotated: Option<RotatedSession>) -> Self {
        rotated.map_or(Self::Fallback, Self::Rotated)
    }
}

impl Core {
    /// Whether concurrent rotations should share a transaction. PostgreSQL has many writers and groups their commits itself.
    pub fn batches_rotations(&self) -> bool {
        self.store.is_single_writer()
    }

    /// The attempt for a token that can be verified without the database. `None` for an opaque token, and where the fast path
    /// does not apply.
    pub fn rotation_attempt_for(&self, request: &RefreshRequest) -> Result<Option<RotationAttempt>, Error> {
        if is_opaque(request.token.expose()) {
            return Ok(None);
        }
        let token = self.resolve_refresh_token(&request.token, ExpiryCheck::Enforce).map_err(Error::of_refresh)?;
        Ok(self.rotation_attempt(token, request))
    }

    /// `None` where a rotation has more to write, and while the database is unavailable: a replay needs only a read, and must
    /// not wait for a write first.
    pub(super) fn rotation_attempt(&self, token: RefreshTokenRef, request: &RefreshRequest) -> Option<RotationAttempt> {
        let policy = &request.asked;
        let has_more_to_write = !policy.rotates || policy.revokes_on_rotation || policy.opaque_refresh;
        let is_renewal = !policy.returns_refresh_token;
        // How long a lifetime the session may ask for stands in its row.
        let must_read = request.access_ttl.is_some_and(|ttl| ttl > policy.access_ttl);
        if has_more_to_write || is_renewal || must_read || self.store.is_unavailable() {
            return None;
        }
        let confirmed_here = self.confirmations.first_seen(token.session, token.generation);
        Some(RotationAttempt { token, confirmed_here, rotation: self.rotation(&request.fast_policy(), self.now()) })
    }

    pub(super) fn try_fast_path(&self, attempt: &RotationAttempt) -> Result<FastRotation, Error> {
        let began = Instant::now();
        match self.store.write_one_statement(|db| attempt.run(db)) {
            Ok(rotated) => Ok(rotated.into()),
            Err(error @ (store::StoreError::Unavailable { .. } | store::StoreError::Conflict { .. })) => {
                Ok(FastRotation::failed(&Arc::new(error), began))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Runs the attempts in one transaction, each a statement that changes one row or none. If one fails, none is committed and
    /// each takes the slow path.
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
        request: &RefreshRequest,
    ) -> Result<Issued, Error> {
        let (row, account) = rotated.as_ref();
        let issued = self.issue_of_rotation(row, account, &request.fast_policy())?;
        self.metrics.refreshes.with_label_values(&[Verdict::Rotate.as_str()]).inc();
        Ok(issued)
    }
}

#[cfg(test)]
impl RotationAttempt {
    /// For tests that never run it: an attempt for a session that does not exist.
    pub(crate) fn of_generation(generation: i64) -> Self {
        use crate::store::{AccountUuid, SessionId};
        let at = Timestamp::from_seconds(1);
        let rotation = Rotation {
            dialect: String::new(),
            made_before: at,
            confirmed_before: at,
            at,
            key_id: String::new(),
            idle_expires_at: at,
            access_expires_at: at,
        };
        let (session, account) = (SessionId(uuid::Uuid::nil()), AccountUuid(uuid::Uuid::nil()));
        let token = RefreshTokenRef { session, account, generation, expires_at: at };
        Self { token, confirmed_here: None, rotation }
    }
}
