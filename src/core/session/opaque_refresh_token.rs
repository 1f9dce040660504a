//! Opaque refresh tokens: in the form of a UUID, for dialects whose clients expect one; and what a refresh token of either form
//! refers to. An opaque token is derived from key, session and generation, as the JWT is, so that a replay returns the same
//! one; the table holds only its digest. Whether a token may be spent is refresh.rs's to decide.

use uuid::{Builder, Uuid};

use super::TokenPolicy;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::{Error, InternalError, Refusal};
use crate::core::token::TokenAuthority;
use crate::secret::{RefreshToken, sha256};
use crate::store;
use crate::store::tables::sessions::SessionRow;
use crate::store::tables::{opaque_tokens, sessions};
use crate::store::{AccountUuid, Db, SessionId};

/// What a genuine refresh token of either form refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshTokenRef {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountUuid,
    /// The generation of the session that it belongs to.
    pub generation: i64,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Whether an expired refresh token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryCheck {
    /// It is.
    Enforce,
    /// It is accepted: a sign-out with an expired token must still end its session.
    Ignore,
}

impl Core {
    /// Verifies a refresh token of either form. The expiry of an opaque token is that of its row, which `decide` checks.
    pub(in crate::core) fn resolve_refresh_token(
        &self,
        token: &RefreshToken,
        expiry: ExpiryCheck,
    ) -> Result<RefreshTokenRef, Error> {
        let text = token.expose();
        if !is_opaque(text) {
            let (authority, now) = (self.tokens(), self.now());
            let claims = match expiry {
                ExpiryCheck::Enforce => authority.verify_refresh(text, now)?,
                ExpiryCheck::Ignore => authority.verify_refresh_ignoring_expiry(text, now)?,
            };
            return Ok(RefreshTokenRef {
                session: claims.session,
                account: claims.account,
                generation: claims.generation,
                expires_at: claims.expires_at,
            });
        }
        let digest = sha256(text.to_ascii_lowercase().as_bytes());
        let found = self.store.read(|db| {
            let Some((session, generation)) = opaque_tokens::find(db, &digest)? else { return Ok(None) };
            let row = sessions::find(db, session)?;
            Ok(row.map(|(row, account)| RefreshTokenRef {
                session,
                account: account.uuid,
                generation,
                expires_at: row.idle_expires_at,
            }))
        })?;
        // The digest is known, but a holder of a retired key can derive the token too.
        let found = found.filter(|token| self.is_of_trusted_key(text, token));
        found.ok_or_else(|| Refusal::TokenInvalid.into())
    }

    /// The row's current refresh token in opaque form.
    pub(in crate::core) fn opaque_refresh(&self, row: &SessionRow) -> Result<RefreshToken, InternalError> {
        Ok(RefreshToken::new(opaque_text(&self.tokens(), &self.trusted_key_id(row), row.id, row.generation)?))
    }

    fn is_of_trusted_key(&self, text: &str, token: &RefreshTokenRef) -> bool {
        let authority = self.tokens();
        let derived = |key| opaque_text(&authority, key, token.session, token.generation);
        authority.key_ids().any(|key| derived(key).is_ok_and(|derived| derived.eq_ignore_ascii_case(text)))
    }

    /// Records the digest of the current refresh token if the mount issues opaque ones, in the transaction that makes it
    /// current: a spent token can be recognised only by its digest.
    pub(in crate::core) fn record_opaque_token(
        &self,
        db: &mut Db,
        row: &SessionRow,
        policy: &TokenPolicy,
    ) -> Result<(), store::StoreError> {
        if !policy.opaque_refresh {
            return Ok(());
        }
        let token = self.opaque_refresh(row).map_err(store::StoreError::broken)?;
        opaque_tokens::insert_if_absent(db, &sha256(token.expose().as_bytes()), row.id, row.generation)
    }
}

fn opaque_text(
    authority: &TokenAuthority,
    key_id: &str,
    session: SessionId,
    generation: i64,
) -> Result<String, InternalError> {
    let mac = authority.derive(key_id, &format!("opaque {session} {generation}"))?;
    let bytes = mac.first_chunk::<16>().copied().unwrap_or_default();
    Ok(Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// Whether a text has the hyphenated form of a UUID; a JWT has dots.
pub(in crate::core) fn is_opaque(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}
