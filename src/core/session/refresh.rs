//! Refresh token rotation with reuse detection; idempotent replay takes the place of single flight. Carries out the verdict on a presented refresh token.
//! The verdict itself is a pure function in refresh/decide.rs; the common case without it is refresh/fast_path.rs's; an
//! access token without a rotation is access_renewal.rs's.
//!
//! A refresh token is a pure function of key, session row and generation. So a client that lost a response, two tabs, or
//! fifty retries all receive the same successor, on any node, and no race signs anybody out. There is no single flight and
//! no lock between nodes: the row's generation is advanced by compare-and-set, one request wins, and the others read the
//! row again and replay. A token that is presented after its successor was used has been copied, and the session ends
//! (RFC 9700 section 4.14.2).
//!
//! What happens to a request:
//!
//! **Fast path.** Where a rotation has nothing else to write, one conditional `UPDATE` makes the verdict `Rotate` in SQL
//! (fast_path.rs). It rotates, or it falls back without having changed anything, or it timed out.
//!
//! **Slow path.** The row is read, `decide` gives a verdict, and the verdict is carried out by a conditional write. If the
//! row has changed between the two, the write changes nothing and the row is read again, at most `MAX_ATTEMPTS` times.
//!
//! **Rotate.** The generation rises, with new expiries; the new tokens are derived from the new row after the commit, so a
//! crash between commit and response loses nothing: the client retries and is in **Replay**.
//!
//! **Replay.** The row has been rotated and its new generation is unconfirmed, or within the grace. For `REFRESH_GRACE`
//! after the rotation the response repeats both tokens byte for byte; later the access token is a new one, which the row
//! must record first. No generation is spent.
//!
//! **Keep.** The mount does not rotate: a new access token beside the same refresh token.
//!
//! **Reuse.** The session ends with a revocation and an audit event, in one transaction, before the request is refused.

pub mod decide;
pub mod fast_path;

use decide::{RotationRules, Verdict, decide, first_confirmation};
use fast_path::FastRotation;
use std::time::Duration;

use super::opaque_refresh_token::{ExpiryCheck, RefreshTokenRef};
use super::{Issued, TokenPolicy};
use crate::clock::Timestamp;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::error::{Error, InternalError, Refusal};
use crate::core::revocation::write::revoke_session;
use crate::core::session::caller::{Client, sanitize_user_agent};
use crate::core::session::end_reason::EndReason;
use crate::core::{Core, session};
use crate::secret::{RefreshToken, random_token_id};
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, Rotation, SessionRow};

/// How often a lost compare-and-set is decided again. Each loss means that a concurrent request made progress.
pub(in crate::core) const MAX_ATTEMPTS: usize = 8;

/// What a client that lost every compare-and-set is told to wait.
pub(in crate::core) const CONTENTION_RETRY_AFTER: Duration = Duration::from_secs(1);

/// One request to refresh, on the slow path.
struct SlowRefresh<'a> {
    token: &'a RefreshTokenRef,
    policy: &'a TokenPolicy,
    client: &'a Client,
    /// Why the fast path gave up, if it has used up the time for a write.
    timeout: Option<InternalError>,
}

impl Core {
    /// Refreshes: new tokens, the same tokens again, or a refusal. On every node the session's row decides, by
    /// compare-and-set.
    pub fn rotate_refresh_token(
        &self,
        token: &RefreshToken,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Issued, Error> {
        let token = self.resolve_refresh_token(token, ExpiryCheck::Enforce).map_err(Error::of_refresh)?;
        let outcome = match self.rotation_attempt(token, policy) {
            Some(attempt) => self.try_fast_path(&attempt)?,
            None => FastRotation::Fallback,
        };
        self.finish_refresh(&token, outcome, policy, client)
    }

    /// Continues after the fast path: issues the tokens of a session that it rotated, or takes the slow path.
    pub fn finish_refresh(
        &self,
        token: &RefreshTokenRef,
        outcome: FastRotation,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Issued, Error> {
        let timeout = match outcome {
            FastRotation::Rotated(rotated) => return self.issue_fast_rotation(&rotated, policy),
            FastRotation::Fallback => None,
            FastRotation::TimedOut(error) => Some(error),
        };
        let request = SlowRefresh { token, policy, client, timeout };
        self.refresh_slow_path(request).map_err(Error::of_refresh)
    }

    fn refresh_slow_path(&self, mut request: SlowRefresh<'_>) -> Result<Issued, Error> {
        let (session, owner) = (request.token.session, request.token.account);
        for _ in 0..MAX_ATTEMPTS {
            let found = self.store.read(|db| sessions::find(db, session))?;
            let (row, account) = found.filter(|(row, _)| row.account_id == owner).ok_or(Refusal::SessionEnded)?;
            if let Some(issued) = self.apply_verdict(&mut request, &row, &account)? {
                return Ok(issued);
            }
        }
        Err(Refusal::Busy(CONTENTION_RETRY_AFTER).into())
    }

    /// One attempt; `None` if the row changed between the read and the write.
    fn apply_verdict(
        &self,
        request: &mut SlowRefresh<'_>,
        row: &SessionRow,
        account: &AccountState,
    ) -> Result<Option<Issued>, Error> {
        let (now, policy) = (self.now(), request.policy);
        let confirmed = first_confirmation(row, self.confirmations.first_seen(row.id, row.generation));
        let rules = RotationRules { rotates: policy.rotates, grace: self.rules.refresh_grace };
        let verdict = decide(now, request.token.generation, row, account, confirmed, &rules);
        let issued = match &verdict {
            // The client has waited its time for a write already. A replay, which only reads, is still served.
            Verdict::Rotate => match request.timeout.take() {
                Some(error) => Err(error.into()),
                None => self.rotate(row, account, policy, now),
            },
            Verdict::Replay if self.is_within_replay_window(row, policy, now) => self.replay(row, account, policy),
            Verdict::Replay | Verdict::Keep => self.reissue(row, account, policy, now),
            Verdict::Reuse => {
                self.end_reused_session(request, row, confirmed, now)?;
                Err(Refusal::RefreshTokenReused.into())
            }
            Verdict::Refuse(refusal) => Err(refusal.clone().into()),
        };
        if !matches!(issued, Ok(None) | Err(Error::InternalError(_))) {
            self.metrics.refreshes.with_label_values(&[verdict.as_str()]).inc();
        }
        issued
    }

    /// Whether a replay repeats the access token too: within the grace after the rotation, while that token is valid.
    fn is_within_replay_window(&self, row: &SessionRow, policy: &TokenPolicy, now: Timestamp) -> bool {
        let is_valid = session::access_end(row.rotated_at, policy, row.expires_at) > now;
        is_valid && now <= row.rotated_at.plus(self.rules.refresh_grace)
    }

    fn rotate(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
        now: Timestamp,
    ) -> Result<Option<Issued>, Error> {
        let rotation = self.rotation(policy, now);
        let committed = self.store.write(|db| {
            let Some(rotated) = sessions::rotate(db, row.id, row.generation, &rotation)? else { return Ok(None) };
            self.record_opaque_token(db, &rotated, policy)?;
            let older_generations =
                || revoke_session(db, row.id, Some(rotated.generation), now, rotated.access_expires_at);
            let revoked = policy.revokes_on_rotation.then(older_generations).transpose()?;
            Ok(Some((rotated, revoked)))
        })?;
        let Some((rotated, revoked)) = committed else { return Ok(None) };
        revoked.iter().for_each(|row| self.revocation_cache.apply(row));
        self.issue_of_rotation(&rotated, account, policy).map(Some)
    }

    /// The values that a rotation at `now` writes into the row.
    pub(in crate::core) fn rotation(&self, policy: &TokenPolicy, now: Timestamp) -> Rotation {
        Rotation {
            at: now,
            key_id: self.tokens().active_key_id().to_owned(),
            idle_expires_at: session::whole_seconds(now.plus(policy.refresh_ttl)),
            access_expires_at: session::whole_seconds(now.plus(policy.access_ttl)),
        }
    }

    /// The tokens of the row's current generation as its rotation issued them, byte for byte.
    pub(in crate::core) fn issue_of_rotation(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
    ) -> Result<Issued, Error> {
        let key_id = self.trusted_key_id(row);
        let id = self.tokens().rotation_token_id(row.id, row.generation, &key_id)?;
        self.issue(row, account, policy, row.rotated_at, id)
    }

    /// Issues the same tokens again. Where the mount's lifetime is longer than what the row records, the row comes first.
    fn replay(&self, row: &SessionRow, account: &AccountState, policy: &TokenPolicy) -> Result<Option<Issued>, Error> {
        let access = session::access_end(row.rotated_at, policy, row.expires_at);
        let is_recorded = access <= row.access_expires_at && !policy.opaque_refresh;
        if !is_recorded && !self.record_access_expiry(row, policy, access)? {
            return Ok(None);
        }
        self.issue_of_rotation(row, account, policy).map(Some)
    }

    /// Issues the current refresh token with a new access token.
    fn reissue(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
        now: Timestamp,
    ) -> Result<Option<Issued>, Error> {
        let access = session::access_end(now, policy, row.expires_at);
        if !self.record_access_expiry(row, policy, access)? {
            return Ok(None);
        }
        self.issue(row, account, policy, now, random_token_id()?).map(Some)
    }

    /// Records the expiry of an access token that is issued without a rotation, since a revocation must outlast it. Returns
    /// whether the row is still at the generation of the verdict.
    fn record_access_expiry(&self, row: &SessionRow, policy: &TokenPolicy, access: Timestamp) -> Result<bool, Error> {
        let now = self.now();
        Ok(self.store.write(|db| {
            self.record_opaque_token(db, row, policy)?;
            sessions::touch(db, row.id, row.generation, now, access)
        })?)
    }

    fn end_reused_session(
        &self,
        request: &SlowRefresh<'_>,
        row: &SessionRow,
        confirmed: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let event = AuditEvent::new(EventKind::RefreshReuse, request.client)
            .account(row.account_id)
            .session(row.id)
            .detail(reuse_detail(request.token, row, confirmed, now, request.client));
        self.end_one(row.id, row.account_id, EndReason::RefreshReuse, &event)?;
        Ok(())
    }
}

/// What distinguishes theft from a race: how many generations behind, how long after the rotation and its confirmation, and
/// whether the request came from the address and user agent of the sign-in.
fn reuse_detail(
    token: &RefreshTokenRef,
    row: &SessionRow,
    confirmed: Option<Timestamp>,
    now: Timestamp,
    client: &Client,
) -> String {
    let address = client.address.map(|address| address.to_string());
    format!(
        "presented={} current={} ms_since_rotation={} ms_since_confirmation={} same_address={} same_agent={}",
        token.generation,
        row.generation,
        now.since(row.rotated_at).as_millis(),
        confirmed.map_or_else(|| "none".to_owned(), |at| now.since(at).as_millis().to_string()),
        address == row.address,
        sanitize_user_agent(client.user_agent.as_deref()) == row.user_agent,
    )
}

#[cfg(test)]
mod tests;
