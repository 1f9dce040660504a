//! Session end (sign-out, logout everywhere): ends one session or all of an account. An end and its revocation are one
//! transaction, and this node's revocation cache has it before the request is answered. Which sessions the tokens of a request
//! may end is presented_tokens.rs's; sessions that a sign-in replaces are chosen in credential/.
//!
//! All sessions of an account end in constant work: the account's epoch is raised, and one revocation covers every lower epoch.
//! Their rows stay as they are; a refresh compares the row's epoch with the account's.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::end_reason::EndReason;
use super::presented_tokens::{PresentedSession, PresentedTokens};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::defence::rate_limit::Writer;
use crate::core::error::{Error, Refusal};
use crate::core::revocation::write::{revoke_account, revoke_session};
use crate::core::session::caller::{Caller, Client};
use crate::store;
use crate::store::tables::accounts;
use crate::store::tables::revocations;
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::EndedSession;
use crate::store::{AccountId, AccountUuid, Db, SessionId};

/// How long a transaction that ends all sessions of an account may take: rotations that run beside it issue access tokens which
/// its revocation must outlast.
const TRANSACTION_MARGIN: Duration = Duration::from_mins(1);

impl Core {
    /// Ends one of the account's sessions, the caller's own included.
    pub fn end_session(&self, caller: &Caller, session: SessionId, client: &Client) -> Result<(), Error> {
        self.check_write_rate(Writer::Session(caller.session))?;
        let reason = if session == caller.session { EndReason::SignOut } else { EndReason::EndedByOwner };
        self.end_owned(caller.account, session, reason, client)
    }

    /// Names the device of one of the account's sessions, for the list of devices; `None` removes the name.
    pub fn name_device(&self, caller: &Caller, session: SessionId, name: Option<&str>) -> Result<(), Error> {
        self.check_write_rate(Writer::Session(caller.session))?;
        let named = self.store.write(|db| {
            let Some(account) = accounts::find_by_uuid(db, caller.account)? else { return Ok(false) };
            sessions::set_device_name(db, session, account.id, account.epoch, name)
        })?;
        if named { Ok(()) } else { Err(Refusal::SessionNotFound.into()) }
    }

    /// Ends any session, for an operator.
    pub fn end_session_as_operator(&self, session: SessionId) -> Result<(), Error> {
        let found = self.store.read(|db| sessions::find(db, session))?;
        let (_, account) = found.ok_or(Refusal::SessionNotFound)?;
        self.end_owned(account.uuid, session, EndReason::Operator, &Client::operator())
    }

    fn end_owned(&self, owner: AccountUuid, id: SessionId, reason: EndReason, client: &Client) -> Result<(), Error> {
        let event = AuditEvent::new(reason.event_kind(), client).session(id).detail(reason.as_str());
        match self.end_one(id, owner, reason, &event)? {
            EndOutcome::Ended => Ok(()),
            EndOutcome::HadEnded | EndOutcome::NoRow => Err(Refusal::SessionNotFound.into()),
        }
    }

    /// Ends the sessions of the presented tokens. Idempotent: a session that has ended already is no error. A genuine token
    /// whose session has no row (the database was restored from a backup) is revoked all the same, for `longest_access_ttl`, which
    /// its session's access tokens cannot outlive.
    pub fn sign_out(
        &self,
        presented: &PresentedTokens,
        longest_access_ttl: Duration,
        client: &Client,
    ) -> Result<(), Error> {
        for PresentedSession { account, session, expires_at, is_revoked, .. } in
            self.resolve_sessions(presented, longest_access_ttl)?
        {
            let event = AuditEvent::new(EventKind::SignOut, client).session(session);
            let outcome = self.end_one(session, account, EndReason::SignOut, &event)?;
            if outcome == EndOutcome::NoRow && !is_revoked {
                let now = self.now();
                let revoked = self.store.write(|db| {
                    event.write(db, now)?;
                    revoke_session(db, session, None, now, expires_at)
                })?;
                self.revocation_cache.apply(&revoked);
                self.log_event(&event);
            }
        }
        Ok(())
    }

    /// Ends every session of the account that the tokens belong to. A repetition with the same tokens succeeds.
    pub fn sign_out_everywhere(
        &self,
        presented: &PresentedTokens,
        longest_access_ttl: Duration,
        client: &Client,
    ) -> Result<(), Error> {
        let resolved = self.resolve_sessions(presented, longest_access_ttl)?;
        let PresentedSession { account: owner, session, epoch, is_revoked, .. } =
            *resolved.first().ok_or(Refusal::TokenMissing)?;
        let (found, account) =
            self.store.read(|db| Ok((sessions::find(db, session)?, accounts::find_by_uuid(db, owner)?)))?;
        let event = AuditEvent::new(EventKind::SignOutEverywhere, client).session(session);
        let Some((row, state)) = found.filter(|(_, state)| state.uuid == owner) else {
            // Once only: a repetition must not end what began since.
            if let Some(account) = account.filter(|_| !is_revoked) {
                // The restored epoch may be lower than the tokens', and other sessions may have lost their rows too.
                self.revoke_all_sessions(account.id, &event, (epoch, longest_access_ttl), |_| Ok(()))?;
            }
            return self.sign_out(presented, longest_access_ttl, client);
        };
        if row.end_reason == Some(EndReason::SignOutEverywhere) {
            return self.apply_stored_revocations(session, owner);
        }
        if row.ended_at.is_some() || row.epoch < state.epoch || row.expires_at <= self.now() {
            return Err(Refusal::SessionEnded.into());
        }
        let (now, reason) = (self.now(), EndReason::SignOutEverywhere);
        // The one row that is marked makes a repetition recognisable.
        self.end_all_sessions(row.account_id, &event, |db| {
            sessions::end(db, session, row.account_id, now, reason).map(|_| ())
        })
    }

    /// Ends every session of an account, for an operator.
    pub fn end_all_sessions_as_operator(&self, account: AccountId) -> Result<(), Error> {
        let event = AuditEvent::new(EventKind::SignOutEverywhere, &Client::operator());
        self.end_all_sessions(account, &event, |_| Ok(()))
    }

    /// Raises the account's epoch, which invalidates all its tokens, in one transaction with the change that `also` makes.
    pub(in crate::core) fn end_all_sessions(
        &self,
        account: AccountId,
        event: &AuditEvent,
        also: impl Fn(&mut Db) -> Result<(), store::StoreError>,
    ) -> Result<(), Error> {
        self.revoke_all_sessions(account, event, (0, Duration::ZERO), also)
    }

    /// Of sessions that have lost their rows: the epoch that their tokens may have, and how long their access tokens may live.
    fn revoke_all_sessions(
        &self,
        account: AccountId,
        event: &AuditEvent,
        (lost_epoch, lost_access_ttl): (i64, Duration),
        also: impl Fn(&mut Db) -> Result<(), store::StoreError>,
    ) -> Result<(), Error> {
        let now = self.now();
        let event = event.clone().account(account);
        let revoked = self.store.write(|db| {
            // First of all, as at a sign-in: the lock on the account's row is what makes a concurrent one visible to the next
            // statement, and one order of locks excludes a deadlock.
            let Some(raised) = accounts::raise_epoch(db, account, lost_epoch, now)? else { return Ok(None) };
            // Before a row is marked as ended: its access tokens are among those that the revocation must outlast.
            let until = self.last_access_expiry(db, account, now)?.max(now.plus(lost_access_ttl));
            also(db)?;
            event.write(db, now)?;
            revoke_account(db, raised, None, now, until).map(Some)
        })?;
        let revoked = revoked.ok_or(Refusal::AccountNotFound)?;
        self.revocation_cache.apply(&revoked);
        self.log_event(&event);
        Ok(())
    }

    /// Makes the revocation of an account outlast access tokens of this lifetime: that of a mount, whose refreshes may issue one
    /// while the account's sessions end.
    pub fn cover_access_ttl(&self, ttl: Duration) {
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.longest_access_ttl.fetch_max(millis, Ordering::AcqRel);
    }

    fn longest_access_ttl(&self) -> Duration {
        Duration::from_millis(self.longest_access_ttl.load(Ordering::Acquire))
    }

    /// The latest time at which an access token of the account's sessions may still be valid, those included that refreshes
    /// issue while the transaction runs: they have read the row before it, and follow their mount's lifetime.
    pub(in crate::core) fn last_access_expiry(
        &self,
        db: &mut Db,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Timestamp, store::StoreError> {
        sessions::last_access_expiry(db, account, now.plus(TRANSACTION_MARGIN), self.longest_access_ttl())
    }

    /// Applies the stored revocations of a session and its account to this node's cache.
    fn apply_stored_revocations(&self, session: SessionId, account: AccountUuid) -> Result<(), Error> {
        let rows = self.store.read(|db| revocations::list_concerning(db, session, account))?;
        rows.iter().for_each(|row| self.revocation_cache.apply(row));
        Ok(())
    }

    /// Ends one session with its revocation, which this node's cache has before this returns.
    pub(in crate::core) fn end_one(
        &self,
        session: SessionId,
        owner: AccountUuid,
        reason: EndReason,
        event: &AuditEvent,
    ) -> Result<EndOutcome, Error> {
        let now = self.now();
        let (outcome, revoked, event) = self.store.write(|db| {
            let Some((row, account)) = sessions::find(db, session)?.filter(|(_, account)| account.uuid == owner) else {
                return Ok((EndOutcome::NoRow, None, None));
            };
            if row.epoch < account.epoch {
                return Ok((EndOutcome::HadEnded, None, None));
            }
            let Some(ended) = sessions::end(db, session, row.account_id, now, reason)? else {
                return Ok((EndOutcome::HadEnded, None, None));
            };
            let event = event.clone().account(row.account_id);
            event.write(db, now)?;
            let revoked = revoke_session(db, ended.id, None, now, ended.access_expires_at)?;
            Ok((EndOutcome::Ended, Some(revoked), Some(event)))
        })?;
        match (revoked, event) {
            (Some(revoked), Some(event)) => {
                self.revocation_cache.apply(&revoked);
                self.log_event(&event);
            }
            // It had ended, perhaps on another node or in a commit whose response was lost. That revocation must be in this
            // node's cache before this request is answered too.
            _ => self.apply_stored_revocations(session, owner)?,
        }
        Ok(outcome)
    }
}

/// What became of a session that was to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum EndOutcome {
    /// It was live, and has ended now.
    Ended,
    /// It had ended before.
    HadEnded,
    /// The account has no such session.
    NoRow,
}

/// Inserts the revocation of each ended session.
pub(in crate::core) fn revoke_ended(
    db: &mut Db,
    ended: &[EndedSession],
    now: Timestamp,
) -> Result<Vec<RevocationRow>, store::StoreError> {
    let revoke = |session: &EndedSession| revoke_session(db, session.id, None, now, session.access_expires_at);
    ended.iter().map(revoke).collect()
}
