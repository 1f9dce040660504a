//! Signing keys and the key ring: what a key consists of, and which keys are trusted. All keys of the ring are trusted; the
//! active one signs. Which one is active is decided in keys_file.rs, how an operator changes keys in rotation.rs; what is
//! signed is token.rs's; the public keys are published by web/endpoints/jwks.rs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::error::KeysError;
use crate::secret::{MacKey, base64url, sha256};
use crate::settings::TokenAlgorithm;

/// How long another service may cache the public keys. A new key is published for that long before it becomes active.
pub const PUBLIC_KEYS_MAX_AGE: Duration = Duration::from_secs(60);

/// A public key: verifies tokens and cannot sign them. The coordinates are in base64url, as in a JWK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RFC 8037 section 2.
    Ed25519 {
        /// The key, 32 bytes.
        x: String,
    },
    /// RFC 7518 section 6.2.1.
    P256 {
        /// The x coordinate, 32 bytes.
        x: String,
        /// The y coordinate, 32 bytes.
        y: String,
    },
}

/// A signing key with everything that signing and verifying need.
///
/// Refresh tokens are signed with HS256 whatever the algorithm of access tokens: only doorward verifies them, so a public key
/// has no use; and an ECDSA signature is randomised, while a refresh token must be the same bytes on every node and at every
/// replay. So a key pair has a companion, a symmetric key derived from its private key. Both have the same `kid`, become
/// active together and are retired together.
pub struct SigningKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// The algorithm of its access tokens, fixed by the key; no token chooses it.
    pub algorithm: TokenAlgorithm,
    /// For signing access tokens.
    pub encoding: EncodingKey,
    /// For verifying access tokens.
    pub decoding: DecodingKey,
    /// For signing refresh tokens, with HS256.
    pub refresh_encoding: EncodingKey,
    /// For verifying refresh tokens, and access tokens with HS256; and for deriving values that must be the same on every node
    /// and unpredictable without the key.
    pub derive: MacKey,
    /// With which other services verify access tokens; a shared secret has none.
    pub public: Option<PublicKey>,
}

impl SigningKey {
    /// An HS256 key. It is its own companion: `typ` separates the two kinds of token, and doorward verifies both.
    pub fn hs256(id: impl Into<String>, key: &[u8]) -> Self {
        Self {
            id: id.into(),
            algorithm: TokenAlgorithm::Hs256,
            encoding: EncodingKey::from_secret(key),
            decoding: DecodingKey::from_secret(key),
            refresh_encoding: EncodingKey::from_secret(key),
            derive: MacKey::new(key),
            public: None,
        }
    }

    /// An Ed25519 key pair in PKCS#8.
    pub fn eddsa(id: impl Into<String>, pkcs8: &[u8]) -> Result<Self, KeysError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8)
            .map_err(|source| KeysError::InvalidKeyPair { algorithm: TokenAlgorithm::EdDsa.as_str(), source })?;
        let point = pair.public_key().as_ref();
        let public = PublicKey::Ed25519 { x: base64url(point) };
        Ok(Self {
            algorithm: TokenAlgorithm::EdDsa,
            encoding: EncodingKey::from_ed_der(pkcs8),
            decoding: DecodingKey::from_ed_der(point),
            public: Some(public),
            ..Self::companion(id, pkcs8)
        })
    }

    /// A P-256 key pair in PKCS#8.
    pub fn es256(id: impl Into<String>, pkcs8: &[u8]) -> Result<Self, KeysError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
        let pair =
            pair.map_err(|source| KeysError::InvalidKeyPair { algorithm: TokenAlgorithm::Es256.as_str(), source })?;
        let point = pair.public_key().as_ref();
        // Uncompressed: a 4 before the two coordinates (SEC 1 section 2.3.3).
        let (x, y) = point.split_first().map_or((&[][..], &[][..]), |(_, both)| both.split_at(both.len() / 2));
        let public = PublicKey::P256 { x: base64url(x), y: base64url(y) };
        Ok(Self {
            algorithm: TokenAlgorithm::Es256,
            encoding: EncodingKey::from_ec_der(pkcs8),
            decoding: DecodingKey::from_ec_der(point),
            public: Some(public),
            ..Self::companion(id, pkcs8)
        })
    }

    /// The symmetric key beside a key pair. It reveals nothing about the pair, and cannot be derived from the public key.
    fn companion(id: impl Into<String>, pkcs8: &[u8]) -> Self {
        Self::hs256(id, &MacKey::new(pkcs8).sign(b"doorward refresh tokens"))
    }

    /// A key of this algorithm, from a secret of at least 32 bytes or from PKCS#8.
    pub fn of(algorithm: TokenAlgorithm, id: impl Into<String>, key: &[u8]) -> Result<Self, KeysError> {
        match algorithm {
            TokenAlgorithm::Hs256 => Ok(Self::hs256(id, key)),
            TokenAlgorithm::EdDsa => Self::eddsa(id, key),
            TokenAlgorithm::Es256 => Self::es256(id, key),
        }
    }

    /// The algorithm as `jsonwebtoken` names it.
    pub const fn jwt_algorithm(&self) -> Algorithm {
        match self.algorithm {
            TokenAlgorithm::Hs256 => Algorithm::HS256,
            TokenAlgorithm::EdDsa => Algorithm::EdDSA,
            TokenAlgorithm::Es256 => Algorithm::ES256,
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key ring: all trusted keys, and the active one among them.
#[derive(Debug, Clone)]
pub struct KeyRing {
    active: Arc<SigningKey>,
    keys: Vec<Arc<SigningKey>>,
    by_id: HashMap<String, Arc<SigningKey>>,
}

impl KeyRing {
    /// A ring of these keys, the first of which is active.
    pub fn new(active: SigningKey, others: impl IntoIterator<Item = SigningKey>) -> Self {
        let active = Arc::new(active);
        let keys = std::iter::once(Arc::clone(&active)).chain(others.into_iter().map(Arc::new)).collect();
        Self::of(active, keys)
    }

    pub(in crate::core::keys) fn of(active: Arc<SigningKey>, keys: Vec<Arc<SigningKey>>) -> Self {
        let by_id = keys.iter().map(|key| (key.id.clone(), Arc::clone(key))).collect();
        Self { active, keys, by_id }
    }

    /// The active key, which signs new tokens.
    pub fn active(&self) -> &Arc<SigningKey> {
        &self.active
    }

    /// The key of this id, if it is trusted.
    pub fn get(&self, id: &str) -> Option<&Arc<SigningKey>> {
        self.by_id.get(id)
    }

    /// All trusted keys, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.keys.iter()
    }
}

/// An id for a key that reveals nothing about it.
pub(in crate::core::keys) fn short_id(key: &[u8]) -> String {
    let digest = sha256(&[b"doorward key id", key].concat());
    base64url(digest.first_chunk::<6>().map_or(&[], |six| six))
}

#[cfg(test)]
mod tests;
