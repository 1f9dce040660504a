//! Refresh token rotation with reuse detection; idempotent replay takes the place of single flight. Carries out the verdict on a
//! presented refresh token. The verdict itself is a pure function in refresh/decide.rs; the common case without it is
//! refresh/fast_path.rs's; an access token without a rotation, for a check, is access_renewal.rs's.
//!
//! A refresh token is a pure function of key, session row and generation. So a client that lost a response, two tabs, or
//! fifty retries all receive the same successor, on any node. There is no single flight and no lock between nodes: the row's
//! generation is advanced by compare-and-set, one request wins, and the others read the row again. A session follows the policy
//! of the mount that it began at, whichever mount is asked; that one only shapes the response.
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
//! **Reissue.** The current generation again, too young to be rotated: a new access token beside the same refresh token, which
//! is not set as a cookie again. A browser whose responses are reordered therefore never falls back behind a newer cookie.
//!
//! **Replay.** The successor's tokens again, byte for byte while the access token of the rotation is valid; later the access
//! token is a new one, which the row must record first.
//!
//! **ReissueParent, ReplaceUnconfirmed.** The successor has not been presented. For a while its last replay may be on its way,
//! so the presented generation is only given an access token; then the successor is void, its access tokens are revoked, and
//! a new one takes its place. A thief who hides the successor holds a token that ends the session when it is used.
//!
//! **Reuse.** The session ends with a revocation and an audit event, in one transaction, before the request is refused
//! (RFC 9700 section 4.14.2).

pub mod decide;
pub mod fast_path;
pub mod request;

use std::time::Duration;

use decide::{RotationRules, Verdict, decide, decide_generation, first_confirmation};
use fast_path::FastRotation;
use request::RefreshRequest;

use super::opaque_refresh_token::{ExpiryCheck, RefreshTokenRef};
use super::{Issued, TokenPolicy};
use crate::clock::Timestamp;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::error::{Error, InternalError, Refusal};
use crate::core::revocation::write::revoke_session;
use crate::core::session::caller::{Client, sanitize_user_agent};
use crate::core::session::end_reason::EndReason;
use crate::core::{Core, session};
use crate::secret::random_token_id;
use crate::store::tables::sessions;
use crate::store::tables::sessions::rotation::{self, Rotation};
use crate::store::tables::sessions::{AccountState, SessionRow};

/// How often a lost compare-and-set is decided again. Each loss means that a concurrent request made progress.
pub(in crate::core) const MAX_ATTEMPTS: usize = 8;

/// `Retry-After` for a client whose request lost every compare-and-set.
pub(in crate::core) const CONTENTION_RETRY_AFTER: Duration = Duration::from_secs(1);

/// One attempt on the slow path: the session as it was read, and what follows from it.
struct Attempt<'a> {
    request: &'a RefreshRequest,
    token: &'a RefreshTokenRef,
    row: &'a SessionRow,
    account: &'a AccountState,
    policy: TokenPolicy,
    confirmed: Option<Timestamp>,
    now: Timestamp,
}

impl Attempt<'_> {
    /// When the access token of the rotation expires. Until then a replay repeats it.
    fn rotation_access_end(&self) -> Timestamp {
        session::access_end(self.row.rotated_at, &self.policy, self.row.expires_at)
    }

    fn rotation_detail(&self) -> String {
        rotation_detail(self.token, self.row, self.confirmed, self.now, &self.request.client)
    }
}

impl Core {
    /// Refreshes: new tokens, the same tokens again, or a refusal. On every node the session's row decides, by
    /// compare-and-set.
    pub fn rotate_refresh_token(&self, request: &RefreshRequest) -> Result<Issued, Error> {
        let token = self.resolve_refresh_token(&request.token, ExpiryCheck::Enforce).map_err(Error::of_refresh)?;
        let outcome = match self.rotation_attempt(token, request) {
            Some(attempt) => self.try_fast_path(&attempt)?,
            None => FastRotation::Fallback,
        };
        self.finish_refresh(request, &token, outcome)
    }

    /// Continues after the fast path: issues the tokens of a session that it rotated, or takes the slow path.
    pub fn finish_refresh(
        &self,
        request: &RefreshRequest,
        token: &RefreshTokenRef,
        outcome: FastRotation,
    ) -> Result<Issued, Error> {
        let timeout = match outcome {
            FastRotation::Rotated(rotated) => return self.issue_fast_rotation(&rotated, request),
            FastRotation::Fallback => None,
            FastRotation::TimedOut(error) => Some(error),
        };
        self.refresh_slow_path(request, token, timeout).map_err(Error::of_refresh)
    }

    /// `timeout` is why the fast path gave up, if it has used up the time for a write.
    fn refresh_slow_path(
        &self,
        request: &RefreshRequest,
        token: &RefreshTokenRef,
        mut timeout: Option<InternalError>,
    ) -> Result<Issued, Error> {
        for _ in 0..MAX_ATTEMPTS {
            let found = self.store.read(|db| sessions::find(db, token.session))?;
            let (row, account) =
                found.filter(|(_, account)| account.uuid == token.account).ok_or(Refusal::SessionEnded)?;
            let attempt = Attempt {
                policy: request.policy_of(&row),
                confirmed: self.confirmed(&row),
                now: self.now(),
                request,
                token,
                row: &row,
                account: &account,
            };
            if attempt.policy.rotates && !request.asked.returns_refresh_token {
                // A new refresh token would be lost, so the session is renewed as by a check.
                return Ok(self.renew_session(token, &request.policies, &request.client)?.issued);
            }
            if let Some(issued) = self.apply_verdict(&attempt, &mut timeout)? {
                return Ok(issued);
            }
        }
        Err(Refusal::Busy(CONTENTION_RETRY_AFTER).into())
    }

    /// Carries out the verdict; `None` if the row changed between the read and the write.
    fn apply_verdict(
        &self,
        attempt: &Attempt<'_>,
        timeout: &mut Option<InternalError>,
    ) -> Result<Option<Issued>, Error> {
        let Attempt { token, row, account, policy, confirmed, now, .. } = attempt;
        let verdict = decide(*now, token.generation, row, account, *confirmed, &self.rotation_rules(policy.rotates));
        let issued = match &verdict {
            // The client has waited its time for a write already. A replay, which only reads, is still served.
            Verdict::Rotate | Verdict::ReplaceUnconfirmed if timeout.is_some() => {
                Err(timeout.take().map_or_else(|| Refusal::Busy(CONTENTION_RETRY_AFTER).into(), Error::from))
            }
            Verdict::Rotate => self.rotate(attempt),
            Verdict::ReplaceUnconfirmed => self.replace_unconfirmed(attempt),
            Verdict::Replay if attempt.rotation_access_end() > attempt.now => self.replay(attempt),
            Verdict::Replay => self.reissue(attempt, true),
            Verdict::Reissue => self.reissue(attempt, false),
            Verdict::ReissueParent => self.reissue_parent(attempt),
            Verdict::Reuse => {
                self.end_reused_session(attempt)?;
                Err(Refusal::RefreshTokenReused.into())
            }
            Verdict::Refuse(refusal) => Err(refusal.clone().into()),
        };
        if !matches!(issued, Ok(None) | Err(Error::InternalError(_))) {
            self.metrics.refreshes.with_label_values(&[verdict.as_str()]).inc();
        }
        issued
    }

    /// What `decide` says about a presented generation, with the confirmations that this node has seen.
    pub(in crate::core) fn verdict(
        &self,
        presented: i64,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
    ) -> Verdict {
        decide(self.now(), presented, row, account, self.confirmed(row), &self.rotation_rules(policy.rotates))
    }

    /// Whether a refresh would accept a generation of a live session, whatever the account's status.
    pub(in crate::core) fn is_generation_accepted(&self, presented: i64, row: &SessionRow) -> bool {
        // Whether the mount rotates makes no difference to that.
        let rules = self.rotation_rules(true);
        decide_generation(self.now(), presented, row, self.confirmed(row), &rules).is_accepted()
    }

    fn confirmed(&self, row: &SessionRow) -> Option<Timestamp> {
        first_confirmation(row, self.confirmations.first_seen(row.id, row.generation))
    }

    fn rotation_rules(&self, rotates: bool) -> RotationRules {
        RotationRules { rotates, grace: self.rules.refresh_grace, lost_after: self.rules.refresh_lost_after }
    }

    fn rotate(&self, attempt: &Attempt<'_>) -> Result<Option<Issued>, Error> {
        let Attempt { row, policy, now, .. } = attempt;
        let rotation = self.rotation(policy, *now);
        let committed = self.store.write(|db| {
            let Some(rotated) = rotation::rotate(db, row.id, row.generation, &rotation)? else { return Ok(None) };
            self.record_opaque_token(db, &rotated, policy)?;
            let older_generations =
                || revoke_session(db, row.id, Some(rotated.generation), *now, rotated.access_expires_at);
            let revoked = policy.revokes_on_rotation.then(older_generations).transpose()?;
            Ok(Some((rotated, revoked)))
        })?;
        let Some((rotated, revoked)) = committed else { return Ok(None) };
        revoked.iter().for_each(|row| self.revocation_cache.apply(row));
        self.issue_of_rotation(&rotated, attempt.account, policy).map(Some)
    }

    /// Voids the current generation, which has not been presented, and makes the next one. The access tokens of the void one are
    /// revoked with those below it: the client's next refresh replaces them.
    fn replace_unconfirmed(&self, attempt: &Attempt<'_>) -> Result<Option<Issued>, Error> {
        let Attempt { row, policy, now, token, .. } = attempt;
        let rotation = self.rotation(policy, *now);
        let event = AuditEvent::new(EventKind::RefreshAnswerLost, &attempt.request.client)
            .account(row.account_id)
            .session(row.id)
            .detail(attempt.rotation_detail());
        let committed = self.store.write(|db| {
            let replaced = rotation::replace_unconfirmed(db, row.id, row.generation, token.generation, &rotation)?;
            let Some(replaced) = replaced else { return Ok(None) };
            self.record_opaque_token(db, &replaced, policy)?;
            event.write(db, *now)?;
            let revoked = revoke_session(db, row.id, Some(replaced.generation), *now, replaced.access_expires_at)?;
            Ok(Some((replaced, revoked)))
        })?;
        let Some((replaced, revoked)) = committed else { return Ok(None) };
        self.revocation_cache.apply(&revoked);
        self.log_event(&event);
        self.issue_of_rotation(&replaced, attempt.account, policy).map(Some)
    }

    /// The values that a rotation at `now` writes into the row.
    pub(in crate::core) fn rotation(&self, policy: &TokenPolicy, now: Timestamp) -> Rotation {
        let grace = self.rules.refresh_grace;
        Rotation {
            dialect: policy.dialect.clone(),
            made_before: now.minus(grace),
            confirmed_before: now.minus(grace * 2),
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

    /// Issues the same tokens again. Where this request's lifetime is longer than what the row records, the row comes first.
    fn replay(&self, attempt: &Attempt<'_>) -> Result<Option<Issued>, Error> {
        let Attempt { row, policy, .. } = attempt;
        let access = attempt.rotation_access_end();
        let is_recorded = access <= row.access_expires_at && !policy.opaque_refresh;
        if !is_recorded && !self.record_access_expiry(attempt, access, None)? {
            return Ok(None);
        }
        self.issue_of_rotation(row, attempt.account, policy).map(Some)
    }

    /// Issues the current refresh token with a new access token.
    fn reissue(&self, attempt: &Attempt<'_>, refresh_is_new: bool) -> Result<Option<Issued>, Error> {
        let Attempt { row, policy, now, .. } = attempt;
        let access = session::access_end(*now, policy, row.expires_at);
        // To present the current generation is to confirm it; a replay presents its parent. Nothing depends on generation 0's.
        let confirms = !refresh_is_new && row.generation > 0;
        let confirmed = confirms.then(|| attempt.confirmed.unwrap_or(*now));
        let is_recorded = access <= row.access_expires_at && row.confirmed_at.is_some() >= confirmed.is_some();
        if (!is_recorded || policy.opaque_refresh) && !self.record_access_expiry(attempt, access, confirmed)? {
            return Ok(None);
        }
        let issued = self.issue(row, attempt.account, policy, *now, random_token_id()?)?;
        Ok(Some(Issued { refresh_is_new, ..issued }))
    }

    /// Issues an access token of the presented generation alone: one of the current would confirm a delivery that did not
    /// happen.
    fn reissue_parent(&self, attempt: &Attempt<'_>) -> Result<Option<Issued>, Error> {
        let Attempt { row, policy, now, token, .. } = attempt;
        if policy.revokes_on_rotation {
            // The rotation has revoked this generation's access tokens. When the time is over, the client gets new ones.
            let wait = self.rules.refresh_lost_after + self.rules.refresh_grace * 2;
            return Err(Refusal::Busy(row.rotated_at.plus(wait).since(*now)).into());
        }
        let access = session::access_end(*now, policy, row.expires_at);
        if access > row.access_expires_at && !self.record_access_expiry(attempt, access, None)? {
            return Ok(None);
        }
        let presented = SessionRow { generation: token.generation, ..(*row).clone() };
        let issued = self.issue(&presented, attempt.account, policy, *now, random_token_id()?)?;
        Ok(Some(Issued {
            refresh: attempt.request.token.clone(),
            refresh_ttl: token.expires_at.since(*now),
            refresh_is_new: false,
            ..issued
        }))
    }

    /// Records the expiry of an access token that is issued without a rotation, since a revocation must outlast it. Returns
    /// whether the row is still at the generation of the verdict.
    fn record_access_expiry(
        &self,
        attempt: &Attempt<'_>,
        access: Timestamp,
        confirmed: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let Attempt { row, policy, now, .. } = attempt;
        Ok(self.store.write(|db| {
            self.record_opaque_token(db, row, policy)?;
            rotation::touch(db, row.id, row.generation, *now, access, confirmed)
        })?)
    }

    fn end_reused_session(&self, attempt: &Attempt<'_>) -> Result<(), Error> {
        let row = attempt.row;
        let event = AuditEvent::new(EventKind::RefreshReuse, &attempt.request.client)
            .account(row.account_id)
            .session(row.id)
            .detail(attempt.rotation_detail());
        self.end_one(row.id, attempt.token.account, EndReason::RefreshReuse, &event)?;
        Ok(())
    }
}

/// What distinguishes theft from a race or a lost response: how many generations behind, how long after the rotation and its
/// confirmation, and whether the request came from the address and user agent of the sign-in.
fn rotation_detail(
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
