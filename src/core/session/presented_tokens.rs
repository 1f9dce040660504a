//! The tokens that a request presents, for a sign-out or a sign-in that replaces a session: which sessions they may end. A token
//! that is spent, void, or was replaced by a change of the secret ends nothing: its holder may have found it in a log or a backup.
//! How a session ends is end.rs's; what a refresh does with a spent token is refresh.rs's.

use std::time::Duration;

use super::opaque_refresh_token::{ExpiryCheck, RefreshTokenRef};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::{Error, Refusal};
use crate::core::revocation::cache::is_revoked_in_table;
use crate::secret::{AccessToken, RefreshToken};
use crate::store::tables::{revocations, sessions};
use crate::store::{AccountUuid, SessionId};

/// The tokens that a request presents. Either one is enough to end the session.
#[derive(Debug, Clone, Default)]
pub struct PresentedTokens {
    /// The access token.
    pub access: Option<AccessToken>,
    /// The refresh token.
    pub refresh: Option<RefreshToken>,
}

/// A session that presented tokens may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedSession {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountUuid,
    /// The account's epoch when the token was issued; 0 for a refresh token, which does not carry it.
    pub(super) epoch: i64,
    /// Whether its session has been revoked already.
    pub(super) is_revoked: bool,
    /// Until when its access tokens must be revoked if it has no row.
    pub(super) expires_at: Timestamp,
}

/// What a presented token has a say about.
enum Standing {
    /// It may end its session, which may have ended already.
    Valid(PresentedSession),
    /// Its session has moved on without it.
    Spent,
}

impl Core {
    /// The sessions of the presented tokens: an unexpired access token's first, a genuine refresh token's second. They differ if
    /// the client has tokens of two sessions. An expired access token counts for nothing: it must not end a session.
    pub(in crate::core) fn resolve_sessions(
        &self,
        presented: &PresentedTokens,
        longest_access_ttl: Duration,
    ) -> Result<Vec<PresentedSession>, Error> {
        let mut found = Vec::new();
        let mut refused = Error::from(Refusal::TokenMissing);
        let access = presented.access.as_ref().map(|token| self.standing_of_access_token(token, longest_access_ttl));
        // Not another wait for a database that has just not answered.
        if let Some(Err(error @ Error::InternalError(_))) = access {
            return Err(error);
        }
        let refresh = presented.refresh.as_ref().map(|token| self.standing_of_refresh_token(token, longest_access_ttl));
        // The access token is named last, so that its refusal is the one to be answered.
        for standing in [refresh, access].into_iter().flatten() {
            match standing {
                Ok(Standing::Valid(session)) => found.insert(0, session),
                Ok(Standing::Spent) => refused = Refusal::TokenInvalid.into(),
                Err(error @ Error::InternalError(_)) => return Err(error),
                Err(refusal) => refused = refusal,
            }
        }
        found.dedup_by_key(|one| one.session);
        if found.is_empty() { Err(refused) } else { Ok(found) }
    }

    /// The sessions that a sign-in from the same browser may replace. Tokens that name none are no error.
    pub(in crate::core) fn sessions_to_replace(&self, presented: &PresentedTokens) -> Result<Vec<SessionId>, Error> {
        match self.resolve_sessions(presented, Duration::ZERO) {
            Ok(found) => Ok(found.into_iter().map(|one| one.session).collect()),
            Err(Error::Refusal(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
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

    fn standing_of_access_token(&self, token: &AccessToken, longest_access_ttl: Duration) -> Result<Standing, Error> {
        let claims = self.tokens().verify_access(token.expose(), self.now())?;
        let session = PresentedSession {
            session: claims.session,
            account: claims.account,
            epoch: claims.epoch,
            is_revoked: self.revocation_cache.is_revoked(&claims) || is_revoked_in_table(&self.store, &claims)?,
            // Later ones of the session may be about, too.
            expires_at: claims.expires_at.max(self.now().plus(longest_access_ttl)),
        };
        if !session.is_revoked {
            return Ok(Standing::Valid(session));
        }
        // Of a session that has ended: a repetition. Of a live one: its tokens were replaced.
        let found = self.store.read(|db| sessions::find(db, claims.session))?;
        let is_live = found.is_some_and(|(row, account)| row.is_live_for(&account));
        Ok(if is_live { Standing::Spent } else { Standing::Valid(session) })
    }

    fn standing_of_refresh_token(&self, token: &RefreshToken, longest_access_ttl: Duration) -> Result<Standing, Error> {
        let RefreshTokenRef { session, account, generation, expires_at } =
            self.resolve_refresh_token(token, ExpiryCheck::Ignore)?;
        let now = self.now();
        let (found, revocations) = self
            .store
            .read(|db| Ok((sessions::find(db, session)?, revocations::list_concerning(db, session, account)?)))?;
        let is_revoked = revocations.iter().any(|row| row.session_id == Some(session) && row.generation.is_none());
        let until = now.plus(longest_access_ttl);
        let valid = Standing::Valid(PresentedSession { session, account, epoch: 0, is_revoked, expires_at: until });
        match found.filter(|(_, state)| state.uuid == account) {
            // A row outlives its refresh tokens, so this one was lost with a restored backup, unless the token has expired.
            None if expires_at <= now => Err(Refusal::TokenExpired.into()),
            Some((row, state)) if row.is_live_for(&state) && !self.is_generation_accepted(generation, &row) => {
                Ok(Standing::Spent)
            }
            _ => Ok(valid),
        }
    }
}
