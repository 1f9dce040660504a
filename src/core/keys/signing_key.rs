//! The keys that tokens are signed with, and the peppers: where they come from, which one signs, which ones are believed.
//! What is signed is token.rs's; what an operator does to keys is in rotation.rs, how they are kept in keys_file.rs; the
//! public ones go out through web/jwks.rs.
//!
//! All signing keys are believed; the newest that everybody has had time to read signs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use crate::secret::{MacKey, NoRandomness, base64url, sha256};
use crate::settings::TokenAlgorithm;

/// How long another service may keep the public keys. A new one is out that long before the first token under it.
pub const PUBLIC_KEYS_MAX_AGE: Duration = Duration::from_secs(60);

/// What is wrong with the keys, in a sentence with the way out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(pub(in crate::core::keys) String);

impl From<NoRandomness> for KeysError {
    fn from(error: NoRandomness) -> Self {
        Self(error.to_string())
    }
}

/// What checks a key's tokens and cannot make one; coordinates in base64url, as a JWK has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RFC 8037 section 2.
    Ed25519 {
        /// The key's 32 octets.
        x: String,
    },
    /// RFC 7518 section 6.2.1.
    P256 {
        /// 32 octets.
        x: String,
        /// 32 octets.
        y: String,
    },
}

/// One signing key with all that signing and checking need.
///
/// Refresh tokens are HS256 whatever access tokens are: nobody but doorward checks one, so a public key has no use; an
/// ECDSA signature is random, and a refresh token must be the same octets on every node and at every try. So a key pair
/// has a companion, derived from its private half: it comes, waits and goes with the pair, under the same `kid`.
pub struct SigningKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// The algorithm of its access tokens, fixed by the key; no token chooses it.
    pub algorithm: Algorithm,
    /// For signing access tokens.
    pub encoding: EncodingKey,
    /// For checking access tokens.
    pub decoding: DecodingKey,
    /// For signing refresh tokens, with HS256.
    pub refresh_encoding: EncodingKey,
    /// For checking refresh tokens, and access tokens where they are HS256; and for values that must be the same on every
    /// node and unguessable elsewhere.
    pub derive: MacKey,
    /// What other services check access tokens with; a shared secret has none.
    pub public: Option<PublicKey>,
}

impl SigningKey {
    /// An HS256 key. It is its own companion: `typ` keeps the two tokens apart, and both sides are doorward.
    pub fn hs256(id: impl Into<String>, key: &[u8]) -> Self {
        Self {
            id: id.into(),
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(key),
            decoding: DecodingKey::from_secret(key),
            refresh_encoding: EncodingKey::from_secret(key),
            derive: MacKey::new(key),
            public: None,
        }
    }

    /// An Ed25519 key pair in PKCS#8.
    pub fn eddsa(id: impl Into<String>, pkcs8: &[u8]) -> Result<Self, KeysError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|why| KeysError(format!("no Ed25519 key: {why}")))?;
        let point = pair.public_key().as_ref();
        let public = PublicKey::Ed25519 { x: base64url(point) };
        Ok(Self {
            algorithm: Algorithm::EdDSA,
            encoding: EncodingKey::from_ed_der(pkcs8),
            decoding: DecodingKey::from_ed_der(point),
            public: Some(public),
            ..Self::companion(id, pkcs8)
        })
    }

    /// A P-256 key pair in PKCS#8.
    pub fn es256(id: impl Into<String>, pkcs8: &[u8]) -> Result<Self, KeysError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
        let pair = pair.map_err(|why| KeysError(format!("no P-256 key: {why}")))?;
        let point = pair.public_key().as_ref();
        // Uncompressed: a 4 before the two coordinates (SEC 1 section 2.3.3).
        let (x, y) = point.split_first().map_or((&[][..], &[][..]), |(_, both)| both.split_at(both.len() / 2));
        let public = PublicKey::P256 { x: base64url(x), y: base64url(y) };
        Ok(Self {
            algorithm: Algorithm::ES256,
            encoding: EncodingKey::from_ec_der(pkcs8),
            decoding: DecodingKey::from_ec_der(point),
            public: Some(public),
            ..Self::companion(id, pkcs8)
        })
    }

    /// The symmetric key beside a pair: nobody gets from it to the pair, or from the pair's public half to it.
    fn companion(id: impl Into<String>, pkcs8: &[u8]) -> Self {
        Self::hs256(id, &MacKey::new(pkcs8).sign(b"doorward refresh tokens"))
    }

    /// A key of this algorithm: 32 octets or more of a secret, or PKCS#8.
    pub fn of(algorithm: TokenAlgorithm, id: impl Into<String>, key: &[u8]) -> Result<Self, KeysError> {
        match algorithm {
            TokenAlgorithm::Hs256 => Ok(Self::hs256(id, key)),
            TokenAlgorithm::EdDsa => Self::eddsa(id, key),
            TokenAlgorithm::Es256 => Self::es256(id, key),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys that are believed; one of them signs.
#[derive(Debug, Clone)]
pub struct KeyRing {
    active: Arc<SigningKey>,
    keys: Vec<Arc<SigningKey>>,
    by_id: HashMap<String, Arc<SigningKey>>,
}

impl KeyRing {
    /// A ring of these keys, the first of which signs.
    pub fn new(active: SigningKey, others: impl IntoIterator<Item = SigningKey>) -> Self {
        let active = Arc::new(active);
        let keys = std::iter::once(Arc::clone(&active)).chain(others.into_iter().map(Arc::new)).collect();
        Self::of(active, keys)
    }

    pub(in crate::core::keys) fn of(active: Arc<SigningKey>, keys: Vec<Arc<SigningKey>>) -> Self {
        let by_id = keys.iter().map(|key| (key.id.clone(), Arc::clone(key))).collect();
        Self { active, keys, by_id }
    }

    /// The key that signs now.
    pub fn active(&self) -> &Arc<SigningKey> {
        &self.active
    }

    /// The key of this id, if it is believed.
    pub fn get(&self, id: &str) -> Option<&Arc<SigningKey>> {
        self.by_id.get(id)
    }

    /// All believed keys, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.keys.iter()
    }
}

/// Names a key without telling anything about it.
pub(in crate::core::keys) fn short_id(key: &[u8]) -> String {
    let digest = sha256(&[b"doorward key id", key].concat());
    base64url(digest.first_chunk::<6>().map_or(&[], |six| six))
}

#[cfg(test)]
mod tests;
