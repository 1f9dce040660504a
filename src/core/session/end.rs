//! Session end (sign-out, logout everywhere): ends one session or all of an account. An end and its revocation are one
//! transaction, and this node's revocation cache has it before the request is answered. Sessions that a sign-in replaces or a
//! change of the secret ends are chosen in credential/; they use `revoke_ended` too.

use super::end_reason::EndReason;
use super::opaque_refresh_token::{ExpiryCheck, RefreshTokenRef};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::error::{Error, Refusal};
use crate::core::revocation::write::{revoke_account, revoke_session};
use crate::core::session::caller::{Caller, Client};
use crate::core::token::claims::AccessClaims;
use crate::secret::{AccessToken, RefreshToken};
use crate::store;
use crate::store::tables::accounts;
use crate::store::tables::revocations;
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{EndScope, EndedSession};
use crate::store::{AccountId, Db, SessionId};

/// The tokens that a sign-out presents. Either one is enough to end the session.
#[derive(Debug, Clone, Default)]
pub struct PresentedTokens {
    /// The access token.
    pub access: Option<AccessToken>,
    /// The refresh token.
    pub refresh: Option<RefreshToken>,
}

impl Core {
    /// Ends one of the account's sessions, the caller's own included.
    pub fn end_session(&self, caller: &Caller, session: SessionId, client: &Client) -> Result<(), Error> {
        let reason = if session == caller.session { EndReason::SignOut } else { EndReason::EndedByOwner };
        self.end_owned(caller.account, session, reason, client)
    }

    /// Ends any session, for an operator.
    pub fn end_session_as_operator(&self, session: SessionId) -> Result<(), Error> {
        let found = self.store.read(|db| sessions::find(db, session))?;
        let (row, _) = found.ok_or(Refusal::SessionNotFound)?;
        self.end_owned(row.account_id, session, EndReason::Operator, &Client::operator())
    }

    fn end_owned(&self, owner: AccountId, id: SessionId, reason: EndReason, client: &Client) -> Result<(), Error> {
        let event = AuditEvent::new(reason.event_kind(), client).account(owner).session(id).detail(reason.as_str());
        if self.end_one(id, owner, reason, &event)? { Ok(()) } else { Err(Refusal::SessionNotFound.into()) }
    }

    /// Ends the sessions of the presented tokens. Idempotent: a session that has ended already is no error.
    pub fn sign_out(&self, presented: &PresentedTokens, client: &Client) -> Result<(), Error> {
        for RefreshTokenRef { account, session, .. } in self.resolve_sessions(presented)? {
            let event = AuditEvent::new(EventKind::SignOut, client).account(account).session(session);
            self.end_one(session, account, EndReason::SignOut, &event)?;
        }
        Ok(())
    }

    /// The sessions of a browser's cookies, as far as the tokens themselves name them; without the database.
    pub fn sessions_of_tokens(&self, presented: &PresentedTokens) -> Vec<SessionId> {
        let (authority, now) = (self.tokens(), self.now());
        let access = presented.access.as_ref().and_then(|token| authority.verify_access(token.expose(), now).ok());
        let refresh = presented
            .refresh
            .as_ref()
            .and_then(|token| authority.verify_refresh_ignoring_expiry(token.expose(), now).ok());
        let mut sessions: Vec<SessionId> = access.map(|claims| claims.session).into_iter().collect();
        sessions.extend(refresh.map(|claims| claims.session));
        sessions.dedup();
        sessions
    }

    /// The sessions of the presented tokens: an unexpired access token's first, a genuine refresh token's second. They differ if
    /// the client has tokens of two sessions. An expired access token counts for nothing: it must not end a session.
    fn resolve_sessions(&self, presented: &PresentedTokens) -> Result<Vec<RefreshTokenRef>, Error> {
        let access = presented.access.as_ref().map(|token| self.tokens().verify_access(token.expose(), self.now()));
        let refresh = presented.refresh.as_ref().map(|token| self.resolve_refresh_token(token, ExpiryCheck::Ignore));
        let mut found = Vec::new();
        let mut refused = Error::from(Refusal::TokenMissing);
        match refresh {
            Some(Ok(token)) => found.push(token),
            Some(Err(error @ Error::InternalError(_))) => return Err(error),
            Some(Err(refusal)) => refused = refusal,
            None => {}
        }
        match access {
            Some(Ok(claims)) => {
                let AccessClaims { account, session, generation, .. } = **claims;
                found.insert(0, RefreshTokenRef { session, account, generation });
            }
            Some(Err(refusal)) => refused = refusal.into(),
            None => {}
        }
        found.dedup_by_key(|token| token.session);
        if found.is_empty() { Err(refused) } else { Ok(found) }
    }

    /// Ends every session of the account that the tokens belong to. A repetition with the same tokens succeeds.
    pub fn sign_out_everywhere(&self, presented: &PresentedTokens, client: &Client) -> Result<(), Error> {
        let resolved = self.resolve_sessions(presented)?;
        let RefreshTokenRef { account, session, generation } = *resolved.first().ok_or(Refusal::TokenMissing)?;
        let found = self.store.read(|db| sessions::find(db, session))?;
        let (row, state) = found.filter(|(row, _)| row.account_id == account).ok_or(Refusal::SessionEnded)?;
        if row.end_reason == Some(EndReason::SignOutEverywhere) {
            return self.apply_stored_revocations(session, account);
        }
        // Tokens that a change of the secret replaced may not act for the account any more.
        if generation < row.min_generation
            || row.ended_at.is_some()
            || row.epoch < state.epoch
            || row.expires_at <= self.now()
        {
            return Err(Refusal::SessionEnded.into());
        }
        let event = AuditEvent::new(EventKind::SignOutEverywhere, client).account(account).session(session);
        self.end_all_sessions(account, EndReason::SignOutEverywhere, &event, |_| Ok(()))
    }

    /// Ends every session of an account, for an operator.
    pub fn end_all_sessions_as_operator(&self, account: AccountId) -> Result<(), Error> {
        let event = AuditEvent::new(EventKind::SignOutEverywhere, &Client::operator()).account(account);
        self.end_all_sessions(account, EndReason::Operator, &event, |_| Ok(()))
    }

    /// Raises the account's epoch, which invalidates all its tokens, in one transaction with the change that `also` makes.
    pub(in crate::core) fn end_all_sessions(
        &self,
        account: AccountId,
        reason: EndReason,
        event: &AuditEvent,
        also: impl Fn(&mut Db) -> Result<(), store::StoreError>,
    ) -> Result<(), Error> {
        let now = self.now();
        let revoked = self.store.write(|db| {
            let Some(epoch) = accounts::raise_epoch(db, account)? else { return Ok(None) };
            also(db)?;
            let ended = sessions::end_many(db, account, EndScope::All, now, reason)?;
            let until = ended.iter().map(|session| session.access_expires_at).fold(now, Timestamp::max);
            event.write(db, now)?;
            revoke_account(db, account, epoch, now, until).map(Some)
        })?;
        let revoked = revoked.ok_or(Refusal::AccountNotFound)?;
        self.revocation_cache.apply(&revoked);
        self.log_event(event);
        Ok(())
    }

    /// Applies the stored revocations of a session and its account to this node's cache.
    fn apply_stored_revocations(&self, session: SessionId, account: AccountId) -> Result<(), Error> {
        let rows = self.store.read(|db| revocations::list_concerning(db, session, account))?;
        rows.iter().for_each(|row| self.revocation_cache.apply(row));
        Ok(())
    }

    /// Ends one session with its revocation, which this node's cache has before this returns. Returns whether it was live.
    pub(in crate::core) fn end_one(
        &self,
        session: SessionId,
        owner: AccountId,
        reason: EndReason,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let now = self.now();
        let revoked = self.store.write(|db| {
            let Some(ended) = sessions::end(db, session, owner, now, reason)? else { return Ok(None) };
            event.write(db, now)?;
            revoke_ended(db, &[ended], now).map(Some)
        })?;
        let Some(revoked) = revoked else {
            // It had ended, perhaps on another node or in a commit whose response was lost. That revocation must be in this
            // node's cache before this request is answered too.
            self.apply_stored_revocations(session, owner)?;
            return Ok(false);
        };
        revoked.iter().for_each(|row| self.revocation_cache.apply(row));
        self.log_event(event);
        Ok(true)
    }
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
