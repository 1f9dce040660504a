//! Mint and check: what stands in the two tokens, and when one is believed. Whether its session still lives is
//! revocation.rs's (access) and refresh.rs's (refresh) to say.
//!
//! A token's header must be, octet for octet, one that this service writes: so `alg`, `typ`, `kid`, `crit`, `jwk`, `jku`,
//! `x5u` and whatever else a header can carry are never interpreted (RFC 8725 sections 3.1, 3.10 and 3.11).

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
use crate::store::{AccountId, Id128, SessionId};
use assertion_key::AssertionKey;
use claims::{AccessClaims, RefreshClaims, VerifiedClaims};
use signature::{Check, header, header_text, read_claims, sign, verify};
use verified_cache::VerifiedTokenCache;

/// No token of ours lives for a hundred years, in seconds.
const LIFE_MAX: i64 = 100 * 366 * 86_400;

/// Refresh tokens have one algorithm, whatever access tokens have: see `SigningKey`.
const REFRESH_ALGORITHM: Algorithm = Algorithm::HS256;

const ACCESS: &str = "access";
const REFRESH: &str = "refresh";

/// The claims as the payload holds them (RFC 7519 section 4). Every one is required and typed: a claim of the wrong type
/// must not count as absent (CVE-2026-25537). Texts are borrowed from the payload, unless something in them is escaped.
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
    /// Stands in the tokens it is true of alone.
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

/// A present `nbf` is a number; serde's own `Option` would take `null` for absent.
fn number_if_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(deserializer).map(Some)
}

/// Who tokens are from and for, and how far clocks may differ.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// `iss`.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Slack for `iat` and `nbf`; `exp` has none.
    pub clock_skew: Duration,
}

/// A key with the two headers that it is used under.
#[derive(Debug)]
struct PreparedKey {
    key: Arc<SigningKey>,
    access_header: Header,
    refresh_header: Header,
    assertion: AssertionKey,
}

/// Mints and checks with one set of keys; made anew when the keys change.
#[derive(Debug)]
pub struct TokenAuthority {
    rules: TokenRules,
    ring: KeyRing,
    prepared: HashMap<String, PreparedKey>,
    access_by_header: HashMap<String, Check>,
    refresh_by_header: HashMap<String, Check>,
    verified: VerifiedTokenCache,
}

impl TokenAuthority {
    /// Prepares the headers of every believed key.
    pub fn new(rules: TokenRules, ring: &KeyRing) -> Result<Self, InternalError> {
        let mut gate = Self {
            rules,
            ring: ring.clone(),
            prepared: HashMap::new(),
            access_by_header: HashMap::new(),
            refresh_by_header: HashMap::new(),
            verified: VerifiedTokenCache::new(ring.active().algorithm),
        };
        for key in ring.all() {
            let prepared = PreparedKey {
                access_header: header(key, key.algorithm, "at+jwt"),
                refresh_header: header(key, REFRESH_ALGORITHM, "rt+jwt"),
                assertion: AssertionKey::of(key)?,
                key: Arc::clone(key),
            };
            let (access, refresh) = (Check::of_access(key), Check::of_refresh(key));
            gate.access_by_header.insert(header_text(&prepared.access_header, &key.encoding)?, access);
            gate.refresh_by_header.insert(header_text(&prepared.refresh_header, &key.refresh_encoding)?, refresh);
            gate.prepared.insert(key.id.clone(), prepared);
        }
        Ok(gate)
    }

    /// The id of the key that signs now.
    pub fn active_key_id(&self) -> &str {
        &self.ring.active().id
    }

    /// What it signs with, as the keys file says it.
    pub fn active_algorithm(&self) -> String {
        format!("{:?}", self.ring.active().algorithm).to_lowercase()
    }

    /// The ids of all believed keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.ring.all().map(|key| key.id.as_str())
    }

    /// The public half of every believed key that has one, the newest first.
    pub fn public_keys(&self) -> Vec<(String, PublicKey)> {
        self.ring.all().filter_map(|key| Some((key.id.clone(), key.public.clone()?))).collect()
    }

    /// What signs assertions now.
    pub fn assertion_key(&self) -> Result<&AssertionKey, InternalError> {
        Ok(&self.prepared(self.active_key_id())?.assertion)
    }

    /// What checks them, the newest first.
    pub fn assertion_keys(&self) -> Result<Vec<(String, PublicKey)>, InternalError> {
        self.ring.all().map(|key| Ok(self.prepared(&key.id)?.assertion.public())).collect()
    }

    /// Whether tokens under this key are still believed.
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

    /// The id of the access token that a rotation makes: the same on every node and at every try.
    pub fn rotation_token_id(
        &self,
        session: SessionId,
        generation: i64,
        key_id: &str,
    ) -> Result<String, InternalError> {
        let mac = self.derive(key_id, &format!("jti {session} {generation}"))?;
        Ok(crate::secret::base64url(mac.first_chunk::<16>().map_or(&[], |first| first)))
    }

    /// Octets that every node derives alike from the key and the label, and nobody else can.
    pub fn derive(&self, key_id: &str, label: &str) -> Result<Vec<u8>, InternalError> {
        Ok(self.prepared(key_id)?.key.derive.sign(label.as_bytes()))
    }

    /// Believes an access token, or says why not. `TokenExpired` is said of genuine ones only. Its signature is checked at
    /// first sight, its times every time.
    pub fn check_access(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedClaims>, Refusal> {
        if let Some(genuine) = self.verified.get(token) {
            return self.in_time(genuine, now);
        }
        let genuine = self.in_time(Arc::new(self.genuine_access(token)?), now)?;
        self.verified.insert(token, &genuine);
        Ok(genuine)
    }

    /// As `check_access`, unless the signature is still to be checked and costs more than all the rest: whoever is told `None`
    /// asks again, and a forged token must not be worth two such checks.
    pub fn check_access_cached(&self, token: &str, now: Timestamp) -> Option<Result<Arc<VerifiedClaims>, Refusal>> {
        if let Some(genuine) = self.verified.get(token) {
            return Some(self.in_time(genuine, now));
        }
        self.verified.verification_is_cheap().then(|| self.check_access(token, now))
    }

    /// As `check_access`, at first sight every time: what a token costs that was not seen before.
    pub fn verify_uncached(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedClaims>, Refusal> {
        self.in_time(Arc::new(self.genuine_access(token)?), now)
    }

    fn in_time(&self, genuine: Arc<VerifiedClaims>, now: Timestamp) -> Result<Arc<VerifiedClaims>, Refusal> {
        let (iat, exp) = (genuine.issued_at.seconds(), genuine.expires_at.seconds());
        if !self.times_fit(iat, exp, genuine.not_before, now) {
            return Err(Refusal::TokenInvalid);
        }
        if genuine.expires_at <= now { Err(Refusal::TokenExpired) } else { Ok(genuine) }
    }

    /// What it says, if its signature and all that does not depend on the time are right. The answer holds for as long as
    /// this gate does.
    fn genuine_access(&self, token: &str) -> Result<VerifiedClaims, Refusal> {
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

    /// Believes a refresh token, or says why not.
    pub fn check_refresh(&self, token: &str, now: Timestamp) -> Result<RefreshClaims, Refusal> {
        let claims = self.read_refresh(token, now)?;
        if claims.expires_at <= now { Err(Refusal::TokenExpired) } else { Ok(claims) }
    }

    /// As `check_refresh` for a token whose end may be past.
    pub fn read_refresh(&self, token: &str, now: Timestamp) -> Result<RefreshClaims, Refusal> {
        let payload = verify(token, &self.refresh_by_header)?;
        let payload: RefreshPayload<'_> = read_claims(&payload)?;
        let genuine = payload.iss == self.rules.issuer
            && payload.token_use == REFRESH
            && payload.generation >= 0
            && self.times_fit(payload.iat, payload.exp, payload.nbf, now);
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

    /// `iat` and `nbf` may lie ahead by the skew; `exp` must come after `iat`.
    fn times_fit(&self, iat: i64, exp: i64, nbf: Option<i64>, now: Timestamp) -> bool {
        let latest = now.plus(self.rules.clock_skew);
        let sane = iat >= 0 && nbf.is_none_or(|nbf| nbf >= 0) && exp.saturating_sub(iat) <= LIFE_MAX;
        sane && exp > iat
            && Timestamp::from_seconds(iat) <= latest
            && nbf.is_none_or(|nbf| Timestamp::from_seconds(nbf) <= latest)
    }
}

/// The canonical text of both ids: one account has one `sub`.
fn subject(sub: &str, sid: &str) -> Result<(AccountId, SessionId), Refusal> {
    let account = sub.parse::<i64>().ok().filter(|id| id.to_string() == sub).ok_or(Refusal::TokenInvalid)?;
    let session = Uuid::try_parse(sid).map_err(|_not_ours| Refusal::TokenInvalid)?;
    Ok((AccountId(account), Id128(session)))
}

#[cfg(test)]
mod tests;
