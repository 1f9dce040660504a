//! Refresh tokens in the shape of a UUID, for a wire whose clients expect one. Each is derived from key, session and
//! generation, as a JWT of ours is, so that repeated refreshes agree; the table holds its digest only.
//! When one may be spent is refresh.rs's to decide, as for a JWT.

use uuid::{Builder, Uuid};

use super::TokenPolicy;
use crate::core::Core;
use crate::core::error::{Error, InternalError, Refusal};
use crate::core::token::TokenAuthority;
use crate::secret::{RefreshToken, sha256};
use crate::store;
use crate::store::tables::sessions::SessionRow;
use crate::store::tables::{opaque_tokens, sessions};
use crate::store::{AccountId, Db, SessionId};

/// What a refresh token of either shape names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshTokenRef {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountId,
    /// The generation that the token opens.
    pub generation: i64,
}

impl Core {
    /// What a genuine refresh token names, whatever its shape. `strictly` refuses one past its end; a sign-out takes it.
    pub(in crate::core) fn resolve_refresh_token(
        &self,
        token: &RefreshToken,
        strictly: bool,
    ) -> Result<RefreshTokenRef, Error> {
        let text = token.expose();
        if !is_opaque(text) {
            let (gate, now) = (self.gate(), self.now());
            let claims = if strictly { gate.check_refresh(text, now)? } else { gate.read_refresh(text, now)? };
            return Ok(RefreshTokenRef {
                session: claims.session,
                account: claims.account,
                generation: claims.generation,
            });
        }
        let digest = sha256(text.to_ascii_lowercase().as_bytes());
        let found = self.store.read(|db| {
            let Some((session, generation)) = opaque_tokens::find(db, &digest)? else { return Ok(None) };
            let row = sessions::find(db, session)?;
            Ok(row.map(|(row, _)| RefreshTokenRef { session, account: row.account_id, generation }))
        })?;
        // The table knows it, but who has a retired key can make it too.
        let found = found.filter(|named| self.is_of_a_believed_key(text, named));
        found.ok_or_else(|| Refusal::TokenInvalid.into())
    }

    /// The row's current refresh token in this shape.
    pub(in crate::core) fn opaque_refresh(&self, row: &SessionRow) -> Result<RefreshToken, InternalError> {
        Ok(RefreshToken::new(opaque_text(&self.gate(), &self.trusted_key_id(row), row.id, row.generation)?))
    }

    fn is_of_a_believed_key(&self, text: &str, named: &RefreshTokenRef) -> bool {
        let gate = self.gate();
        let made_by = |key| opaque_text(&gate, key, named.session, named.generation);
        gate.key_ids().any(|key| made_by(key).is_ok_and(|made| made.eq_ignore_ascii_case(text)))
    }

    /// Notes the current refresh token if its mount speaks this shape, in the transaction that makes it current.
    pub(in crate::core) fn note_opaque(
        &self,
        db: &mut Db,
        row: &SessionRow,
        policy: &TokenPolicy,
    ) -> Result<(), store::Error> {
        if !policy.opaque_refresh {
            return Ok(());
        }
        let token = self.opaque_refresh(row).map_err(store::Error::broken)?;
        opaque_tokens::insert_if_absent(db, &sha256(token.expose().as_bytes()), row.id, row.generation)
    }
}

fn opaque_text(
    gate: &TokenAuthority,
    key_id: &str,
    session: SessionId,
    generation: i64,
) -> Result<String, InternalError> {
    let mac = gate.derive(key_id, &format!("opaque {session} {generation}"))?;
    let bytes = mac.first_chunk::<16>().copied().unwrap_or_default();
    Ok(Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// The hyphenated form and no other; a JWT has dots.
pub(in crate::core) fn is_opaque(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}
