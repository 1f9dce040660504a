//! Key source: where signing keys and peppers are loaded from. A configured value (`JWT_SECRET`, `PEPPER`) wins over the
//! keys file. How the file is read and written is keys_file.rs's; what a key can do is signing_key.rs's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::keys_file::{self, KeysFile};
use super::signing_key::{KeyRing, KeysError, SigningKey, short_id};
use crate::clock::Timestamp;
use crate::core::credential::password::{Pepper, Peppers};
use crate::secret::{MacKey, Secret};
use crate::settings::TokenAlgorithm;

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

pub(in crate::core::keys) fn configured_key(secret: &Secret) -> SigningKey {
    SigningKey::hs256(digest_id(secret), secret.expose().as_bytes())
}

pub(in crate::core::keys) fn configured_pepper(secret: &Secret) -> Pepper {
    Pepper { id: digest_id(secret), key: MacKey::new(secret.expose().as_bytes()) }
}

fn digest_id(secret: &Secret) -> String {
    format!("env-{}", short_id(secret.expose().as_bytes()))
}
