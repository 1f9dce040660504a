//! Errors of opening a service: for each the setting, the cause, and the way out. What is checked is startup.rs's; why a database
//! cannot be opened, database_diagnosis.rs's.

use std::path::PathBuf;

use crate::core::account::canonical_forms::Collisions;
use crate::core::error::InternalError;
use crate::core::keys::error::KeysError;
use crate::core::maintenance::node_registry::UnsharedKey;
use crate::store::{self, BoxedError, DatabaseUrl};

/// Why a service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database failed.
    #[error("DATABASE_URL: {diagnosis}")]
    Database {
        /// Cause, place and way out.
        diagnosis: String,
        /// The error.
        source: store::StoreError,
    },
    /// Its tables are those of an older version.
    #[error(
        "DATABASE_URL: the tables are {0} migrations behind this version; run `doorward migrate`, or set AUTO_MIGRATE=true"
    )]
    MigrationsPending(usize),
    /// The database has accounts and there is no keys file: with a new pepper no password could be verified.
    #[error(
        "KEYS_FILE: there is no {} but the database has accounts, whose passwords need its pepper; \
         set KEYS_FILE to where it is, or restore it", .0.display()
    )]
    KeysMissing(PathBuf),
    /// The database has no tables, but there are keys: those of accounts that are somewhere else.
    #[error(
        "DATABASE_URL: {url} {problem}, but {} exists, so there was one with accounts; if it was moved or deleted, restore it or set \
         DATABASE_URL to where it is; to begin with an empty database, run `doorward migrate` first", .keys.display()
    )]
    DatabaseMissing {
        /// The database.
        url: DatabaseUrl,
        /// What is wrong with it.
        problem: &'static str,
        /// The keys file.
        keys: PathBuf,
    },
    /// The rule for comparing identifiers has changed, and their stored forms have not.
    #[error(
        "DATABASE_URL: the accounts' identifiers are stored in the form of an older version; run `doorward migrate`, or set \
         AUTO_MIGRATE=true"
    )]
    OlderCanonicalForm,
    /// Accounts that were two are one by that rule.
    #[error(
        "DATABASE_URL: {0}; keep one of each: `doorward account set-email NUMBER EMAIL` or `doorward account delete NUMBER` for the \
         other, and start again"
    )]
    AccountsCollide(Collisions),
    /// A command found nothing to work on.
    #[error(
        "{setting}: there is no {}; run the command in the folder of the service, or with its settings: doorward --config FILE …; \
         `doorward serve` and `doorward migrate` create what is missing", .file.display()
    )]
    FileMissing {
        /// The setting that names it.
        setting: &'static str,
        /// Its absolute path.
        file: PathBuf,
    },
    /// Texts of some accounts could not be stored.
    #[error(
        "DATABASE_URL: the encoding of {url} is {encoding}, which cannot hold every name; create a database with \
         CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and set DATABASE_URL to it"
    )]
    Encoding {
        /// The database.
        url: DatabaseUrl,
        /// Its encoding.
        encoding: String,
    },
    /// Other nodes of the database have other keys.
    #[error(
        "KEYS_FILE: {who} shares no {kind} with this one, so that each would refuse the other's {refused}; use the same KEYS_FILE, \
         JWT_SECRET and PEPPER on every node. If you replaced them on purpose, stop every node and run `doorward keys adopt`"
    )]
    OtherKeys {
        /// The node.
        who: String,
        /// What they do not share.
        kind: UnsharedKey,
        /// What each refuses of the other.
        refused: &'static str,
    },
    /// The mail settings are unusable.
    #[error("{0}")]
    Mail(#[source] BoxedError),
    /// The keys are unusable.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A defect.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}
