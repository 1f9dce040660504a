//! Token authority: issues (mints) and verifies access and refresh tokens (JWT, RFC 7519). Signing and checking the compact
//! form is token/signature.rs's. Whether the token's session is still live is revocation/cache.rs's (access tokens) and
//! session/refresh/decide.rs's (refresh tokens).
//!
//! A token's header must equal, byte for byte, one that this service writes. So `alg`, `typ`, `kid`, `crit`, `jwk`, `jku`,
//! `x5u` and anything else in a header are never interpreted (RFC 8725 sections 3.1, 3.10 and 3.11).

pub mod assertion_key;
pub mod claims;
mod signature;
mod verified_cache;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::error::{InternalError, Refusal};
use super::keys::signing_key::{KeyRing, PublicKey, SigningKey};
use crate::clock::Timestamp;
use crate::secret::{AccessToken, RefreshToken};
use crate::settings::TokenAlgorithm;
use crate::store::{AccountUuid, SessionId};
use assertion_key::AssertionKey;
use claims::{AccessClaims, RefreshClaims, VerifiedClaims};
use signature::{SignatureVerifier, header, header_text, read_claims, sign, verify};
use verified_cache::VerifiedTokenCache;

/// A hundred years in seconds: no token of this service is valid for longer.
const MAX_LIFETIME: i64 = 100 * 366 * 86_400;

/// Refresh tokens have one algorithm, whatever that of access tokens: see `SigningKey`.
const REFRESH_ALGORITHM: Algorithm = Algorithm::HS256;

const ACCESS: &str = "access";
const REFRESH: &str = "refresh";

/// The claims of an access token as its payload has them (RFC 7519 section 4). Each is required and typed: a claim of the wrong
/// type must not count as absent (CVE-2026-25537). Texts are borrowed from the payload unless they contain an escape.
#[derive(Serialize, Deserialize)]
struct AccessPayload<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(borrow)]
    sid: Cow<'a, str>,
    #[serde(rename = "gen")]
    generation: i64,
    epoch: i64,
    #[serde(borrow)]
    role: Cow<'a, str>,
    /// Present only where it is true.
    #[serde(rename = "mcp", default, skip_serializing_if = "std::ops::Not::not")]
    must_change_password: bool,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing, deserialize_with = "number_if_present")]
    nbf: Option<i64>,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    #[serde(borrow, rename = "use")]
    token_use: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct RefreshPayload<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(borrow)]
    sid: Cow<'a, str>,
    #[serde(rename = "gen")]
    generation: i64,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing, deserialize_with = "number_if_present")]
    nbf: Option<i64>,
    #[serde(borrow, rename = "use")]
    token_use: Cow<'a, str>,
}

/// An `nbf` that is present must be a number; serde's `Option` would accept `null` as absent.
fn number_if_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(deserializer).map(Some)
}

/// Issuer and audience of tokens, and the tolerated clock skew.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// `iss`.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Tolerance for `iat` and `nbf`; `exp` has none.
    pub clock_skew: Duration,
}

/// A key with what is derived from it once: its two token headers, and its assertion key.
#[derive(Debug)]
struct PreparedKey {
    key: Arc<SigningKey>,
    access_header: Header,
    refresh_header: Header,
    assertion: AssertionKey,
}

/// Issues and verifies tokens with one set of keys; replaced as a whole when the keys change, its cache of verified tokens
/// included.
#[derive(Debug)]
pub struct TokenAuthority {
    rules: TokenRules,
    ring: KeyRing,
    prepared: HashMap<String, PreparedKey>,
    access_by_header: HashMap<String, SignatureVerifier>,
    refresh_by_header: HashMap<String, SignatureVerifier>,
    verified: VerifiedTokenCache,
}

impl TokenAuthority {
    /// Prepares the headers of every trusted key.
    pub fn new(rules: TokenRules, ring: &KeyRing) -> Result<Self, InternalError> {
        let mut authority = Self {
            rules,
            ring: ring.clone(),
            prepared: HashMap::new(),
            access_by_header: HashMap::new(),
            refresh_by_header: HashMap::new(),
            verified: VerifiedTokenCache::new(ring.active().jwt_algorithm()),
        };
        for key in ring.all() {
            let prepared = PreparedKey {
                access_header: header(key, key.jwt_algorithm(), "at+jwt"),
                refresh_header: header(key, REFRESH_ALGORITHM, "rt+jwt"),
                assertion: AssertionKey::of(key)?,
                key: Arc::clone(key),
            };
            let (access, refresh) = (SignatureVerifier::of_access(key), SignatureVerifier::of_refresh(key));
            authority.access_by_header.insert(header_text(&prepared.access_header, &key.encoding)?, access);
            authority.refresh_by_header.insert(header_text(&prepared.refresh_header, &key.refresh_encoding)?, refresh);
            authority.prepared.insert(key.id.clone(), prepared);
        }
        Ok(authority)
    }

    /// The id of the active key, which signs new tokens.
    pub fn active_key_id(&self) -> &str {
        &self.ring.active().id
    }

    /// The algorithm of the active key.
    pub fn active_algorithm(&self) -> TokenAlgorithm {
        self.ring.active().algorithm
    }

    /// The ids of all trusted keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.ring.all().map(|key| key.id.as_str())
    }

    /// `kid` and public key of every trusted key pair, the newest first.
    pub fn public_keys(&self) -> Vec<(String, PublicKey)> {
        self.ring.all().filter_map(|key| Some((key.id.clone(), key.public.clone()?))).collect()
    }

    /// The key that signs assertions: that of the active key.
    pub fn assertion_key(&self) -> Result<&AssertionKey, InternalError> {
        Ok(&self.prepared(self.active_key_id())?.assertion)
    }

    /// The public keys for checking assertions, the newest first.
    pub fn assertion_keys(&self) -> Result<Vec<(String, PublicKey)>, InternalError> {
        self.ring.all().map(|key| Ok(self.prepared(&key.id)?.assertion.public())).collect()
    }

    /// Whether tokens under this key are still accepted.
    pub fn trusts_key(&self, key_id: &str) -> bool {
        self.prepared.contains_key(key_id)
    }

    /// Signs an access token with this key. With ES256 the same claims get another signature every time.
    pub fn mint_access(&self, claims: &AccessClaims, key_id: &str) -> Result<AccessToken, InternalError> {
        let payload = AccessPayload {
            iss: (&self.rules.issuer).into(),
            aud: (&self.rules.audience).into(),
            sub: claims.account.to_string().into(),
            sid: claims.session.to_string().into(),
            generation: claims.generation,
            epoch: claims.epoch,
            role: (&claims.role).into(),
            must_change_password: claims.must_change_password,
            iat: claims.issued_at.seconds(),
            exp: claims.expires_at.seconds(),
            nbf: None,
            jti: (&claims.id).into(),
            token_use: ACCESS.into(),
        };
        let prepared = self.prepared(key_id)?;
        sign(&prepared.access_header, &payload, &prepared.key.encoding).map(AccessToken::new)
    }

    /// Signs the refresh token of a generation with the key that the session's row names.
    pub fn mint_refresh(&self, claims: &RefreshClaims, key_id: &str) -> Result<RefreshToken, InternalError> {
        let payload = RefreshPayload {
            iss: (&self.rules.issuer).into(),
            sub: claims.account.to_string().into(),
            sid: claims.session.to_string().into(),
            generation: claims.generation,
            iat: claims.issued_at.seconds(),
            exp: claims.expires_at.seconds(),
            nbf: None,
            token_use: REFRESH.into(),
        };
        let prepared = self.prepared(key_id)?;
        sign(&prepared.refresh_header, &payload, &prepared.key.refresh_encoding).map(RefreshToken::new)
    }

    /// The `jti` of the access token that a rotation issues: the same on every node and at every replay.
    pub fn rotation_token_id(
        &self,
        session: SessionId,
        generation: i64,
        key_id: &str,
    ) -> Result<String, InternalError> {
        let mac = self.derive(key_id, &format!("jti {session} {generation}"))?;
        Ok(crate::secret::base64url(mac.first_chunk::<16>().map_or(&[], |first| first)))
    }

    /// A MAC of the label: the same on every node, and unpredictable without the key.
    pub fn derive(&self, key_id: &str, label: &str) -> Result<Vec<u8>, InternalError> {
        Ok(self.prepared(key_id)?.key.derive.sign(label.as_bytes()))
    }

    /// Verifies an access token. `TokenExpired` is returned for genuine tokens only. The signature is checked once, and then
    /// cached; the times are checked every time.
    pub fn verify_access(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedClaims>, Refusal> {
        if let Some(genuine) = self.verified.get(token) {
            return self.check_times(genuine, now);
        }
        let genuine = self.check_times(Arc::new(self.verify_access_signature(token)?), now)?;
        self.verified.insert(token, &genuine);
        Ok(genuine)
    }

    /// As `verify_access`, except that it returns `None` for a token that is not cached if checking its signature is expensive
    /// (a public-key algorithm): the caller then calls `verify_access`, and a forged token must not cost two such checks.
    pub fn verify_access_cached(&self, token: &str, now: Timestamp) -> Option<Result<Arc<VerifiedClaims>, Refusal>> {
        if let Some(genuine) = self.verified.get(token) {
            return Some(self.check_times(genuine, now));
        }
        self.verified.verification_is_cheap().then(|| self.verify_access(token, now))
    }

    /// As `verify_access` without the cache: the cost of a token that is verified for the first time.
    pub fn verify_access_uncached(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedClaims>, Refusal> {
        self.check_times(Arc::new(self.verify_access_signature(token)?), now)
    }

    fn check_times(&self, genuine: Arc<VerifiedClaims>, now: Timestamp) -> Result<Arc<VerifiedClaims>, Refusal> {
        let (iat, exp) = (genuine.issued_at.seconds(), genuine.expires_at.seconds());
        if !self.has_valid_times(iat, exp, genuine.not_before, now) {
            return Err(Refusal::TokenInvalid);
        }
        if genuine.expires_at <= now { Err(Refusal::TokenExpired) } else { Ok(genuine) }
    }

    /// The claims, if the signature and everything that does not depend on the time are valid. The result can be cached for as
    /// long as this authority exists.
    fn verify_access_signature(&self, token: &str) -> Result<VerifiedClaims, Refusal> {
        let payload = verify(token, &self.access_by_header)?;
        let payload: AccessPayload<'_> = read_claims(&payload)?;
        let genuine = payload.iss == self.rules.issuer
            && payload.aud == self.rules.audience
            && payload.token_use == ACCESS
            && payload.generation >= 0
            && payload.epoch >= 0;
        let (account, session) = subject(&payload.sub, &payload.sid)?;
        if !genuine {
            return Err(Refusal::TokenInvalid);
        }
        let claims = AccessClaims {
            account,
            session,
            generation: payload.generation,
            epoch: payload.epoch,
            role: payload.role.into_owned(),
            must_change_password: payload.must_change_password,
            issued_at: Timestamp::from_seconds(payload.iat),
            expires_at: Timestamp::from_seconds(payload.exp),
            id: payload.jti.into_owned(),
        };
        Ok(VerifiedClaims { claims, not_before: payload.nbf })
    }

    /// Whether a trusted key has signed this as an access or refresh token. Nothing else is checked.
    pub fn has_signed(&self, token: &str) -> bool {
        self.verified.get(token).is_some()
            || verify(token, &self.access_by_header).is_ok()
            || verify(token, &self.refresh_by_header).is_ok()
    }

    /// Verifies a refresh token.
    pub fn verify_refresh(&self, token: &str, now: Timestamp) -> Result<RefreshClaims, Refusal> {
        let claims = self.verify_refresh_ignoring_expiry(token, now)?;
        if claims.expires_at <= now { Err(Refusal::TokenExpired) } else { Ok(claims) }
    }

    /// As `verify_refresh`, but accepts an expired token.
    pub fn verify_refresh_ignoring_expiry(&self, token: &str, now: Timestamp) -> Result<RefreshClaims, Refusal> {
        let payload = verify(token, &self.refresh_by_header)?;
        let payload: RefreshPayload<'_> = read_claims(&payload)?;
        let genuine = payload.iss == self.rules.issuer
            && payload.token_use == REFRESH
            && payload.generation >= 0
            && self.has_valid_times(payload.iat, payload.exp, payload.nbf, now);
        let (account, session) = subject(&payload.sub, &payload.sid)?;
        if !genuine {
            return Err(Refusal::TokenInvalid);
        }
        Ok(RefreshClaims {
            account,
            session,
            generation: payload.generation,
            issued_at: Timestamp::from_seconds(payload.iat),
            expires_at: Timestamp::from_seconds(payload.exp),
        })
    }

    fn prepared(&self, key_id: &str) -> Result<&PreparedKey, InternalError> {
        self.prepared.get(key_id).ok_or_else(|| InternalError::broken(format!("there is no signing key {key_id}")))
    }

    /// `iat` and `nbf` may be ahead by the clock skew; `exp` must be after `iat`.
    fn has_valid_times(&self, iat: i64, exp: i64, nbf: Option<i64>, now: Timestamp) -> bool {
        let latest = now.plus(self.rules.clock_skew);
        let is_plausible = iat >= 0 && nbf.is_none_or(|nbf| nbf >= 0) && exp.saturating_sub(iat) <= MAX_LIFETIME;
        is_plausible
            && exp > iat
            && Timestamp::from_seconds(iat) <= latest
            && nbf.is_none_or(|nbf| Timestamp::from_seconds(nbf) <= latest)
    }
}

/// Parses both ids.
fn subject(sub: &str, sid: &str) -> Result<(AccountUuid, SessionId), Refusal> {
    let account = Uuid::try_parse(sub).map_err(|_not_ours| Refusal::TokenInvalid)?;
    let session = Uuid::try_parse(sid).map_err(|_not_ours| Refusal::TokenInvalid)?;
    Ok((AccountUuid(account), SessionId(session)))
}

#[cfg(test)]
mod tests;
