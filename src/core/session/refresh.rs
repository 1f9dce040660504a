//! Rotation of refresh tokens: the verdict on a presented one (a pure function), and the act that follows it.
//!
//! A refresh token of a generation is a pure function of key, session row and generation. So a lost answer, two tabs or
//! fifty retries all get the same successor, and nobody is signed out by a race; a token that comes back after its
//! successor has been used was stolen from somebody, and ends the session (RFC 9700 section 4.14.2).

pub mod decide;
pub mod fast_path;

use decide::{RotationRules, Verdict, decide, first_confirmation};
use fast_path::FastRotation;
use std::time::Duration;

use super::opaque_refresh_token::RefreshTokenRef;
use super::{Issued, TokenPolicy};
use crate::clock::Timestamp;
use crate::core::audit::{Event, Kind};
use crate::core::caller::Client;
use crate::core::error::{Error, InternalError, Refusal};
use crate::core::session::end_reason::EndReason;
use crate::core::{Core, session};
use crate::secret::RefreshToken;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, Rotation, SessionRow};

/// How often a lost compare-and-set is decided anew; each loss means that somebody else's rotation won.
pub(in crate::core) const ROUNDS: usize = 8;

impl Core {
    /// Spends a refresh token: new tokens, or the same ones again, or a no. Whichever node is asked, the session's row
    /// decides, by compare-and-set.
    pub fn rotate_refresh_token(
        &self,
        token: &RefreshToken,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Issued, Error> {
        let named = self.resolve_refresh_token(token, true).map_err(Error::of_refresh)?;
        let at_once = match self.rotation_attempt(named, policy) {
            Some(rotation_attempt) => self.rotate_fast(&rotation_attempt)?,
            None => FastRotation::Fallback,
        };
        self.finish_refresh(&named, at_once, policy, client)
    }

    /// Goes on after the attempt without a look at the row: makes the tokens of what it rotated, and decides otherwise.
    pub fn finish_refresh(
        &self,
        named: &RefreshTokenRef,
        at_once: FastRotation,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Issued, Error> {
        let gave_up = match at_once {
            FastRotation::RotatedSession(rotated) => return self.issue_fast_rotation(&rotated, policy),
            FastRotation::Fallback => None,
            FastRotation::TimedOut(fault) => Some(fault),
        };
        self.spend(named, gave_up, policy, client).map_err(Error::of_refresh)
    }

    fn spend(
        &self,
        named: &RefreshTokenRef,
        mut gave_up: Option<InternalError>,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Issued, Error> {
        for _ in 0..ROUNDS {
            let found = self.store.read(|db| sessions::find(db, named.session))?;
            let (row, account) =
                found.filter(|(row, _)| row.account_id == named.account).ok_or(Refusal::SessionEnded)?;
            if let Some(issued) = self.act_on_refresh(named, &row, &account, (policy, &mut gave_up), client)? {
                return Ok(issued);
            }
        }
        Err(Refusal::Busy(Duration::from_secs(1)).into())
    }

    /// One round; `None` when the row moved between reading and writing.
    fn act_on_refresh(
        &self,
        named: &RefreshTokenRef,
        row: &SessionRow,
        account: &AccountState,
        (policy, gave_up): (&TokenPolicy, &mut Option<InternalError>),
        client: &Client,
    ) -> Result<Option<Issued>, Error> {
        let now = self.now();
        let confirmed = first_confirmation(row, self.confirmations.seen(row.id, row.generation));
        let rules = RotationRules { rotates: policy.rotates, grace: self.rules.refresh_grace };
        let verdict = decide(now, named.generation, row, account, confirmed, &rules);
        let issued = match &verdict {
            Verdict::Rotate => match gave_up.take() {
                Some(fault) => Err(fault.into()),
                None => self.rotate(row, account, policy, now),
            },
            Verdict::Replay if self.repeats(row, policy, now) => self.replay(row, account, policy),
            Verdict::Replay | Verdict::Keep => self.reissue(row, account, policy, now),
            Verdict::Reuse => {
                self.end_reused(named, row, confirmed, now, client)?;
                Err(Refusal::RefreshTokenReused.into())
            }
            Verdict::Refuse(refusal) => Err(refusal.clone().into()),
        };
        if !matches!(issued, Ok(None) | Err(Error::InternalError(_))) {
            self.metrics.refreshes.with_label_values(&[verdict.as_str()]).inc();
        }
        issued
    }

    /// Whether a repeated answer has the same access token too: a moment after the rotation, while that token lives.
    fn repeats(&self, row: &SessionRow, policy: &TokenPolicy, now: Timestamp) -> bool {
        let lives = session::access_end(row.rotated_at, policy, row.expires_at) > now;
        lives && now <= row.rotated_at.plus(self.rules.refresh_grace)
    }

    fn rotate(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
        now: Timestamp,
    ) -> Result<Option<Issued>, Error> {
        let to = self.rotation(policy, now);
        let revokes = policy.revokes_on_rotation;
        let won = self.store.write(|db| {
            let Some(rotated) = sessions::rotate(db, row.id, row.generation, &to)? else { return Ok(None) };
            self.note_opaque(db, &rotated, policy)?;
            let dead = revokes.then(|| {
                crate::core::revocation::write::revoke_session(
                    db,
                    row.id,
                    Some(rotated.generation),
                    now,
                    rotated.access_expires_at,
                )
            });
            let dead = dead.transpose()?;
            Ok(Some((rotated, dead)))
        })?;
        let Some((rotated, dead)) = won else { return Ok(None) };
        dead.iter().for_each(|dead| self.view.apply(dead));
        self.issue_of_rotation(&rotated, account, policy).map(Some)
    }

    /// What a rotation at `now` writes into the row.
    pub(in crate::core) fn rotation(&self, policy: &TokenPolicy, now: Timestamp) -> Rotation {
        Rotation {
            at: now,
            key_id: self.gate().active_key_id().to_owned(),
            idle_expires_at: session::whole_seconds(now.plus(policy.refresh_ttl)),
            access_expires_at: session::whole_seconds(now.plus(policy.access_ttl)),
        }
    }

    /// The tokens of the row's current generation as its rotation made them, octet for octet.
    pub(in crate::core) fn issue_of_rotation(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
    ) -> Result<Issued, Error> {
        let key_id = self.trusted_key_id(row);
        let id = self.gate().rotation_token_id(row.id, row.generation, &key_id)?;
        self.issue(row, account, policy, row.rotated_at, id)
    }

    /// Answers the same tokens again, unless their longer life must be noted first.
    fn replay(&self, row: &SessionRow, account: &AccountState, policy: &TokenPolicy) -> Result<Option<Issued>, Error> {
        let access = session::access_end(row.rotated_at, policy, row.expires_at);
        let noted = access <= row.access_expires_at && !policy.opaque_refresh;
        if !noted && !self.note_access(row, policy, access)? {
            return Ok(None);
        }
        self.issue_of_rotation(row, account, policy).map(Some)
    }

    /// The current refresh token with a new access token.
    fn reissue(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
        now: Timestamp,
    ) -> Result<Option<Issued>, Error> {
        let access = session::access_end(now, policy, row.expires_at);
        if !self.note_access(row, policy, access)? {
            return Ok(None);
        }
        self.issue(row, account, policy, now, crate::secret::random_token_id()?).map(Some)
    }

    /// Notes how long an access token made without a rotation will live; whether the row is still the one decided on.
    fn note_access(&self, row: &SessionRow, policy: &TokenPolicy, access: Timestamp) -> Result<bool, Error> {
        let now = self.now();
        Ok(self.store.write(|db| {
            self.note_opaque(db, row, policy)?;
            sessions::touch(db, row.id, row.generation, now, access)
        })?)
    }

    fn end_reused(
        &self,
        named: &RefreshTokenRef,
        row: &SessionRow,
        confirmed: Option<Timestamp>,
        now: Timestamp,
        client: &Client,
    ) -> Result<(), Error> {
        let event = Event::new(Kind::RefreshReuse, client)
            .account(row.account_id)
            .session(row.id)
            .detail(reuse_detail(named, row, confirmed, now, client));
        self.end_one(row.id, row.account_id, EndReason::RefreshReuse, &event)?;
        Ok(())
    }
}

/// What tells theft from a race: how far behind, how long after, and whether it came from where the session lives.
fn reuse_detail(
    named: &RefreshTokenRef,
    row: &SessionRow,
    confirmed: Option<Timestamp>,
    now: Timestamp,
    client: &Client,
) -> String {
    let address = client.address.map(|address| address.to_string());
    format!(
        "presented={} current={} ms_since_rotation={} ms_since_receipt={} same_address={} same_agent={}",
        named.generation,
        row.generation,
        now.since(row.rotated_at).as_millis(),
        confirmed.map_or_else(|| "none".to_owned(), |at| now.since(at).as_millis().to_string()),
        address == row.address,
        crate::core::caller::cut_agent(client.user_agent.as_deref()) == row.user_agent,
    )
}

#[cfg(test)]
mod tests;
