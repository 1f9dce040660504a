//! Key errors: what can be wrong with the keys file, the configured keys, or an operator's change of them. Each message says
//! what to do.

use std::io;
use std::path::PathBuf;

use aws_lc_rs::error::{KeyRejected, Unspecified};

use crate::secret::NoRandomness;

/// Why keys could not be loaded or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read, locked or replaced.
    #[error("KEYS_FILE: cannot use {}: {source}; set KEYS_FILE to a file that this user can read and write", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The mode of the file lets every user read it.
    #[error("KEYS_FILE: every user of this machine can read {path}; run: chmod 600 {path}", path = .0.display())]
    WorldReadable(PathBuf),
    /// A required entry is missing or cannot be parsed.
    #[error(
        "KEYS_FILE: {} has no usable {kind} line; restore it from a backup (a new file would make every password invalid)",
        .path.display()
    )]
    UnusableEntry {
        /// The file.
        path: PathBuf,
        /// The kind of entry.
        kind: String,
        /// Why its key is not usable, if that is the reason.
        #[source]
        source: Option<Box<KeysError>>,
    },
    /// Two entries have the same id.
    #[error("KEYS_FILE: {} has two lines for {id}; give each key its own id", .path.display())]
    DuplicateId {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// The bytes are not a key pair of this algorithm.
    #[error("not a valid {algorithm} key pair in PKCS#8: {source}")]
    InvalidKeyPair {
        /// The algorithm, as the keys file names it.
        algorithm: &'static str,
        /// The cause.
        source: KeyRejected,
    },
    /// The cryptographic library could not generate a key pair.
    #[error("cannot generate a key pair: {0}")]
    Generation(#[from] Unspecified),
    /// The operating system returned no randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Neither the settings nor the file provide a key for this purpose.
    #[error("there is no {0}")]
    NoKey(&'static str),
    /// A configured signing key cannot be rotated.
    #[error("the signing key comes from JWT_SECRET; change that, or remove it to use the keys file")]
    ConfiguredSigningKey,
    /// A configured pepper cannot be rotated.
    #[error("the pepper comes from PEPPER; only a pepper in the keys file can be rotated")]
    ConfiguredPepper,
    /// No key has this id.
    #[error("there is no key {0}; list the keys with: doorward keys list")]
    UnknownKey(String),
    /// Retiring this key would leave no signing key.
    #[error("{0} is the only signing key; create another one first: doorward keys rotate")]
    OnlySigningKey(String),
    /// The pepper hashes new secrets, or is about to.
    #[error("{0} is the pepper of new hashes; create another one first: doorward keys rotate-pepper")]
    ActivePepper(String),
    /// Secrets are still hashed with this pepper.
    #[error(
        "{accounts} accounts have a secret under {id}, which would become unusable; each moves to the new pepper at its next \
         sign-in, or set a new secret: doorward account set-password"
    )]
    PepperInUse {
        /// The pepper.
        id: String,
        /// The number of accounts.
        accounts: i64,
    },
}
