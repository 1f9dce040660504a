//! Ending sessions: one, some, all of an account. Every end goes through here, writes its revocation in the same
//! transaction, and is in this node's memory before it is answered.

use super::end_reason::EndReason;
use super::opaque_refresh_token::RefreshTokenRef;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{Event, Kind};
use crate::core::caller::{Caller, Client};
use crate::core::error::{Error, Refusal};
use crate::core::token::claims::AccessClaims;
use crate::secret::{AccessToken, RefreshToken};
use crate::store;
use crate::store::tables::accounts;
use crate::store::tables::revocations;
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{EndScope, EndedSession};
use crate::store::{AccountId, Db, SessionId};

/// What a sign-out was given. A session is ended by either token alone.
#[derive(Debug, Clone, Default)]
pub struct PresentedTokens {
    /// The access token.
    pub access: Option<AccessToken>,
    /// The refresh token.
    pub refresh: Option<RefreshToken>,
}

impl Core {
    /// Ends one of the caller's own sessions, or the caller's.
    pub fn end_session(&self, caller: &Caller, session: SessionId, client: &Client) -> Result<(), Error> {
        let why = if session == caller.session { EndReason::SignOut } else { EndReason::EndedByOwner };
        self.end_owned(caller.account, session, why, client)
    }

    /// Ends any session: an operator's act.
    pub fn end_session_as_operator(&self, session: SessionId) -> Result<(), Error> {
        let found = self.store.read(|db| sessions::find(db, session))?;
        let (row, _) = found.ok_or(Refusal::SessionNotFound)?;
        self.end_owned(row.account_id, session, EndReason::Operator, &Client::operator())
    }

    fn end_owned(&self, owner: AccountId, id: SessionId, why: EndReason, client: &Client) -> Result<(), Error> {
        let event = Event::new(why.kind(), client).account(owner).session(id).detail(why.as_str());
        if self.end_one(id, owner, why, &event)? { Ok(()) } else { Err(Refusal::SessionNotFound.into()) }
    }

    /// Ends the sessions behind whatever tokens came; ending one twice is ending it.
    pub fn sign_out(&self, presented: &PresentedTokens, client: &Client) -> Result<(), Error> {
        for RefreshTokenRef { account, session, .. } in self.sessions_behind(presented)? {
            let event = Event::new(Kind::SignOut, client).account(account).session(session);
            self.end_one(session, account, EndReason::SignOut, &event)?;
        }
        Ok(())
    }

    /// The sessions that a browser's cookies name, as far as they say it themselves; without a look at a row.
    pub fn sessions_of_tokens(&self, presented: &PresentedTokens) -> Vec<SessionId> {
        let (gate, now) = (self.gate(), self.now());
        let access = presented.access.as_ref().and_then(|token| gate.check_access(token.expose(), now).ok());
        let refresh = presented.refresh.as_ref().and_then(|token| gate.read_refresh(token.expose(), now).ok());
        let mut named: Vec<SessionId> = access.map(|claims| claims.session).into_iter().collect();
        named.extend(refresh.map(|claims| claims.session));
        named.dedup();
        named
    }

    /// Which sessions the tokens name: an unexpired access token's first, a genuine refresh token's second; two when a
    /// client holds tokens of two. An expired access token names none, so it cannot stand in for a sign-out.
    fn sessions_behind(&self, presented: &PresentedTokens) -> Result<Vec<RefreshTokenRef>, Error> {
        let access = presented.access.as_ref().map(|token| self.gate().check_access(token.expose(), self.now()));
        let refresh = presented.refresh.as_ref().map(|token| self.resolve_refresh_token(token, false));
        let mut named = Vec::new();
        let mut refused = Error::from(Refusal::TokenMissing);
        match refresh {
            Some(Ok(of_refresh)) => named.push(of_refresh),
            Some(Err(fault @ Error::InternalError(_))) => return Err(fault),
            Some(Err(refusal)) => refused = refusal,
            None => {}
        }
        match access {
            Some(Ok(claims)) => {
                let AccessClaims { account, session, generation, .. } = **claims;
                named.insert(0, RefreshTokenRef { session, account, generation });
            }
            Some(Err(refusal)) => refused = refusal.into(),
            None => {}
        }
        named.dedup_by_key(|named| named.session);
        if named.is_empty() { Err(refused) } else { Ok(named) }
    }

    /// Ends every session of the account behind the tokens. Done twice with the same tokens, the second finds it done.
    pub fn sign_out_everywhere(&self, presented: &PresentedTokens, client: &Client) -> Result<(), Error> {
        let behind = self.sessions_behind(presented)?;
        let RefreshTokenRef { account, session, generation } = *behind.first().ok_or(Refusal::TokenMissing)?;
        let found = self.store.read(|db| sessions::find(db, session))?;
        let (row, state) = found.filter(|(row, _)| row.account_id == account).ok_or(Refusal::SessionEnded)?;
        if row.end_reason.as_deref() == Some(EndReason::SignOutEverywhere.as_str()) {
            return self.catch_up_on(session, account);
        }
        // Tokens that a secret change replaced speak for nobody any more.
        if generation < row.min_generation
            || row.ended_at.is_some()
            || row.epoch < state.epoch
            || row.expires_at <= self.now()
        {
            return Err(Refusal::SessionEnded.into());
        }
        let event = Event::new(Kind::SignOutEverywhere, client).account(account).session(session);
        self.end_all_sessions(account, EndReason::SignOutEverywhere, &event, |_| Ok(()))
    }

    /// Ends every session of an account: an operator's act.
    pub fn end_all_sessions_as_operator(&self, account: AccountId) -> Result<(), Error> {
        let event = Event::new(Kind::SignOutEverywhere, &Client::operator()).account(account);
        self.end_all_sessions(account, EndReason::Operator, &event, |_| Ok(()))
    }

    /// Raises the account's epoch, in one transaction with whatever else `also` changes.
    pub(in crate::core) fn end_all_sessions(
        &self,
        account: AccountId,
        why: EndReason,
        event: &Event,
        also: impl Fn(&mut Db) -> Result<(), store::Error>,
    ) -> Result<(), Error> {
        let now = self.now();
        let revoked = self.store.write(|db| {
            let Some(epoch) = accounts::raise_epoch(db, account)? else { return Ok(None) };
            also(db)?;
            let ended = sessions::end_many(db, account, EndScope::All, now, why.as_str())?;
            let until = ended.iter().map(|session| session.access_expires_at).fold(now, Timestamp::max);
            event.write(db, now)?;
            crate::core::revocation::write::revoke_account(db, account, epoch, now, until).map(Some)
        })?;
        let revoked = revoked.ok_or(Refusal::AccountNotFound)?;
        self.view.apply(&revoked);
        self.tell(event);
        Ok(())
    }

    /// Takes what the table knows about a session and its account into this node's memory.
    fn catch_up_on(&self, session: SessionId, account: AccountId) -> Result<(), Error> {
        let rows = self.store.read(|db| revocations::list_concerning(db, session, account))?;
        rows.iter().for_each(|row| self.view.apply(row));
        Ok(())
    }

    /// Ends one session with its revocation, on this node before it returns; whether it was alive.
    pub(in crate::core) fn end_one(
        &self,
        session: SessionId,
        owner: AccountId,
        why: EndReason,
        event: &Event,
    ) -> Result<bool, Error> {
        let now = self.now();
        let revoked = self.store.write(|db| {
            let Some(ended) = sessions::end(db, session, owner, now, why.as_str())? else { return Ok(None) };
            event.write(db, now)?;
            revoke_ended(db, &[ended], now).map(Some)
        })?;
        let Some(revoked) = revoked else {
            // Ended before, perhaps by another node or in a commit whose answer was lost: what that wrote must be in
            // this node's memory before this is answered too.
            self.catch_up_on(session, owner)?;
            return Ok(false);
        };
        revoked.iter().for_each(|row| self.view.apply(row));
        self.tell(event);
        Ok(true)
    }
}

/// Writes the revocation of each ended session.
pub(in crate::core) fn revoke_ended(
    db: &mut Db,
    ended: &[EndedSession],
    now: Timestamp,
) -> Result<Vec<RevocationRow>, store::Error> {
    let revoke = |session: &EndedSession| {
        crate::core::revocation::write::revoke_session(db, session.id, None, now, session.access_expires_at)
    };
    ended.iter().map(revoke).collect()
}
