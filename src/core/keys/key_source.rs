//! Key source: where signing keys and peppers are loaded from. A configured value (`JWT_SECRET`, `PEPPER`) wins over the
//! keys file. How the file is read and written is keys_file.rs's; what a signing key consists of is signing_key.rs's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::KeysError;
use super::keys_file::{self, KeysFile};
use super::signing_key::{KeyRing, SigningKey, short_id};
use crate::clock::Timestamp;
use crate::core::credential::password::{Pepper, Peppers};
use crate::secret::{MacKey, Secret};
use crate::settings::TokenAlgorithm;

/// The sources of keys, by the settings.
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
    /// How old a key must be to become active: by then every node has read it, so no node receives a token whose key it lacks.
    pub propagation_delay: Duration,
    /// The longest lifetime of a token on any mount.
    pub max_token_lifetime: Duration,
}

/// The keys of all sources.
#[derive(Debug)]
pub struct LoadedKeys {
    /// The signing keys.
    pub ring: KeyRing,
    /// The peppers.
    pub peppers: Peppers,
    /// Whether the file was created by this call.
    pub created: bool,
    /// Whether a newer key or pepper is not active yet.
    pub pending: bool,
}

/// Identifies the contents of the file: it differs after every change. A command replaces the file, so the inode changes even
/// within the resolution of the modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    inode: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
}

impl KeySource {
    /// Whether the file is needed at all.
    pub fn uses_file(&self) -> bool {
        self.jwt_secret.is_none() || self.pepper.is_none()
    }

    /// Loads the keys, and creates the file first if it is needed and missing.
    pub fn load_or_create(&self, now: Timestamp) -> Result<LoadedKeys, KeysError> {
        let mut created = false;
        if self.uses_file() && !self.file.exists() {
            let algorithm = self.algorithm.unwrap_or(TokenAlgorithm::Hs256);
            created = keys_file::create(&self.file, algorithm, now)?;
        }
        Ok(LoadedKeys { created, ..self.load(now)? })
    }

    /// Loads the keys. With `now` the active ones are chosen.
    pub fn load(&self, now: Timestamp) -> Result<LoadedKeys, KeysError> {
        let file = if self.uses_file() { Some(KeysFile::read(&self.file)?) } else { None };
        let (ring, key_pending) = match (&self.jwt_secret, &file) {
            (Some(secret), _) => (KeyRing::new(configured_key(secret), []), false),
            (None, Some(file)) => file.ring(now, self.propagation_delay)?,
            (None, None) => return Err(KeysError::NoKey("signing key")),
        };
        let (peppers, pepper_pending) = match (&self.pepper, file) {
            (Some(secret), _) => (configured_pepper(secret).into(), false),
            (None, Some(file)) => file.peppers(now, self.propagation_delay)?,
            (None, None) => return Err(KeysError::NoKey("pepper")),
        };
        Ok(LoadedKeys { ring, peppers, created: false, pending: key_pending || pepper_pending })
    }

    /// The current version of the file; `None` if it cannot be read.
    pub fn version(&self) -> Option<FileVersion> {
        let metadata = fs::metadata(&self.file).ok()?;
        Some(FileVersion {
            inode: metadata.ino(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
        })
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
