//! The keys that tokens are signed with, and the peppers: where they come from, which one signs, which ones are believed.
//! What is signed is token.rs's; what an operator does to keys is in rotation.rs, how they are kept in keys_file.rs; the
//! public ones go out through web/jwks.rs.
//!
//! All signing keys are believed; the newest that everybody has had time to read signs.

mod keys_file;
mod rotation;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::password::{Pepper, Peppers};
use crate::clock::Timestamp;
use crate::secret::{MacKey, NoRandomness, Secret, base64url, sha256};
use crate::settings::TokenAlgorithm;
use keys_file::KeysFile;

pub use rotation::{KeyCareError, KeyState, ListedKey, Retirement, Rotated};

/// How long another service may keep the public keys. A new one is out that long before the first token under it.
pub const PUBLIC_KEYS_MAX_AGE: Duration = Duration::from_secs(60);

/// What is wrong with the keys, in a sentence with the way out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

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

    fn of(active: Arc<SigningKey>, keys: Vec<Arc<SigningKey>>) -> Self {
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

/// Where keys come from: what is configured wins over the file.
#[derive(Debug, Clone)]
pub struct KeySource {
    /// The file.
    pub file: PathBuf,
    /// `JWT_SECRET`.
    pub jwt_secret: Option<Secret>,
    /// `PEPPER`.
    pub pepper: Option<Secret>,
    /// `TOKEN_ALGORITHM`.
    pub algorithm: Option<TokenAlgorithm>,
    /// How old a key must be to sign: by then every node has read it, so none meets a token of a key that it lacks.
    pub settle: Duration,
    /// The longest that a token of any mount lives.
    pub longest_life: Duration,
}

/// What the sources hold.
#[derive(Debug)]
pub struct LoadedKeys {
    /// The signing keys.
    pub ring: KeyRing,
    /// The peppers.
    pub peppers: Peppers,
    /// Whether the file was made just now.
    pub created: bool,
    /// Whether a newer key or pepper waits until everybody knows it.
    pub pending: bool,
}

/// What changes whenever the file does.
pub type FileVersion = Option<(u64, i64, i64)>;

impl KeySource {
    /// Whether the file is needed at all.
    pub fn uses_file(&self) -> bool {
        self.jwt_secret.is_none() || self.pepper.is_none()
    }

    /// Reads the keys; makes the file when it is needed and missing.
    pub fn load_or_create(&self, now: Timestamp) -> Result<LoadedKeys, KeysError> {
        let mut created = false;
        if self.uses_file() && !self.file.exists() {
            let algorithm = self.algorithm.unwrap_or(TokenAlgorithm::Hs256);
            created = keys_file::create(&self.file, algorithm, now)?;
        }
        Ok(LoadedKeys { created, ..self.load(now)? })
    }

    /// Reads the keys.
    pub fn load(&self, now: Timestamp) -> Result<LoadedKeys, KeysError> {
        let file = if self.uses_file() { Some(KeysFile::read(&self.file)?) } else { None };
        let (ring, key_waits) = match (&self.jwt_secret, &file) {
            (Some(secret), _) => (KeyRing::new(configured_key(secret), []), false),
            (None, Some(file)) => file.ring(now, self.settle)?,
            (None, None) => return Err(KeysError("there is no signing key".to_owned())),
        };
        let (peppers, pepper_waits) = match (&self.pepper, file) {
            (Some(secret), _) => (configured_pepper(secret).into(), false),
            (None, Some(file)) => file.peppers(now, self.settle)?,
            (None, None) => return Err(KeysError("there is no pepper".to_owned())),
        };
        Ok(LoadedKeys { ring, peppers, created: false, pending: key_waits || pepper_waits })
    }

    /// The file as it is now.
    pub fn version(&self) -> FileVersion {
        let metadata = fs::metadata(&self.file).ok()?;
        Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

fn configured_key(secret: &Secret) -> SigningKey {
    SigningKey::hs256(digest_id(secret), secret.expose().as_bytes())
}

fn configured_pepper(secret: &Secret) -> Pepper {
    Pepper { id: digest_id(secret), key: MacKey::new(secret.expose().as_bytes()) }
}

fn digest_id(secret: &Secret) -> String {
    format!("env-{}", short_id(secret.expose().as_bytes()))
}

/// Names a key without telling anything about it.
fn short_id(key: &[u8]) -> String {
    let digest = sha256(&[b"doorward key id", key].concat());
    base64url(digest.first_chunk::<6>().map_or(&[], |six| six))
}

#[cfg(test)]
mod tests;
