//! Database errors, typed by what the caller can do about them: answer 503 and try later (`Unavailable`), run the
//! transaction again (`Conflict`), decide by them (`Taken`, `Abandoned`), or report a defect (`Broken`). Which SQLSTATE or
//! SQLite result code is which stands in `classify`. Retries are store.rs's, the response is web's.

use diesel::ConnectionError;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

/// The error behind another one.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to the database failed.
///
/// Each text is complete on its own, with the text of the source in it: log lines and the command line print one line.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique column already holds the value.
    #[error("a unique value is taken")]
    Taken,
    /// The change rolled itself back; nothing of it was written.
    #[error("the change was rolled back by itself")]
    Abandoned,
    /// The database cannot be used now; the same call may succeed later.
    #[error("the database is unavailable: {source}")]
    Unavailable {
        /// What the database lacks.
        cause: OutageCause,
        /// The error of the driver, the pool or the operating system.
        source: BoxedError,
    },
    /// The transaction lost a race with another one (a deadlock or a serialization failure) and was rolled back; the database
    /// itself is well. `Store::write` has retried it as often as it does.
    #[error("the transaction conflicted with another: {source}")]
    Conflict {
        /// The error of the driver.
        source: BoxedError,
    },
    /// A defect of this service or of the tables: a query that does not fit its table, a value that the column or the
    /// encoding cannot hold, a failed migration. The database itself is well, and other calls succeed.
    #[error("the database refused the statement: {0}")]
    Broken(#[source] BoxedError),
}

/// What an unavailable database lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageCause {
    /// No connection could be opened, or an open one was lost.
    Connection,
    /// Another process or transaction holds a lock.
    Locked,
    /// The call took too long and was cancelled.
    Timeout,
    /// There is no space for a write.
    DiskFull,
    /// Only reads are allowed: a standby, a read-only file or a read-only default.
    ReadOnly,
    /// The database's files cannot be read or written, or are damaged.
    Storage,
    /// The server or the process is out of memory.
    Memory,
}

impl StoreError {
    /// An outage that the store itself found.
    pub fn unavailable(cause: OutageCause, source: impl Into<BoxedError>) -> Self {
        Self::Unavailable { cause, source: source.into() }
    }

    /// A defect that was found beside the database.
    pub fn broken(source: impl Into<BoxedError>) -> Self {
        Self::Broken(source.into())
    }

    /// Whether another process or transaction holds a lock that the call needs.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Unavailable { cause: OutageCause::Locked, .. })
    }

    /// Whether the connection must not be used again. After `Broken` it may hold a statement that is prepared for columns
    /// which a migration has replaced since.
    pub(super) fn discards_connection(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Broken(_))
    }

    /// The error of the migration harness: the database's own where it met it before a migration ran. The statements of a
    /// migration fail with a type that diesel keeps private, and count as a defect: the start fails either way.
    pub(super) fn migration(source: BoxedError) -> Self {
        match source.downcast::<DieselError>() {
            Ok(error) => Self::from(*error),
            Err(other) => Self::Broken(other),
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        // SQLite may have rolled back by itself, and then has nothing to roll back: the commit's error is the cause.
        let error = match error {
            DieselError::RollbackErrorOnCommit { commit_error, .. } => *commit_error,
            other => other,
        };
        match Class::of(&error) {
            Class::Taken => Self::Taken,
            Class::Conflict => Self::Conflict { source: error.into() },
            Class::Unavailable(cause) => Self::unavailable(cause, error),
            Class::Broken => Self::broken(error),
        }
    }
}

impl From<ConnectionError> for StoreError {
    fn from(error: ConnectionError) -> Self {
        match error {
            // Setting up SQLite's journal mode meets the locks of other processes.
            ConnectionError::CouldntSetupConfiguration(error) => match Self::from(error) {
                Self::Broken(source) => Self::unavailable(OutageCause::Connection, source),
                other => other,
            },
            // libpq's message goes over several lines.
            ConnectionError::BadConnection(text) => {
                Self::unavailable(OutageCause::Connection, text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            other => Self::unavailable(OutageCause::Connection, other),
        }
    }
}

impl From<r2d2::Error> for StoreError {
    /// The pool has one error, a timeout: all connections are in use, or none could be opened.
    fn from(error: r2d2::Error) -> Self {
        Self::unavailable(OutageCause::Connection, error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Taken,
    Conflict,
    Unavailable(OutageCause),
    Broken,
}

impl Class {
    fn of(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, about) => classify(*kind, about.as_ref()),
            _ => Self::Broken,
        }
    }
}

/// Beginnings of messages whose code diesel does not expose, with the class of that code: SQLSTATE of PostgreSQL, result code
/// of SQLite. Each begins with fixed text of the database, before any value or name, so that no input can imitate one. The first
/// that fits counts: a lock timeout is one of the cancellations after it.
const MESSAGES: [(&str, Class); 24] = {
    use Class::{Conflict, Unavailable};
    use OutageCause::{Connection, Locked, Memory, ReadOnly, Storage, Timeout};
    [
        // 40P01
        ("deadlock detected", Conflict),
        // 57014, 55P03
        ("canceling statement due to lock timeout", Unavailable(Locked)),
        ("canceling statement due to", Unavailable(Timeout)),
        ("could not obtain lock on", Unavailable(Locked)),
        // 57P01 to 57P05, 25P03: normally the connection is closed by then, and diesel knows.
        ("terminating connection", Unavailable(Connection)),
        ("the database system is", Unavailable(Connection)),
        // 53200, and SQLITE_NOMEM
        ("out of memory", Unavailable(Memory)),
        ("out of shared memory", Unavailable(Memory)),
        // 58030, XX001
        ("could not access", Unavailable(Storage)),
        ("could not extend file", Unavailable(Storage)),
        ("could not fsync file", Unavailable(Storage)),
        ("could not open file", Unavailable(Storage)),
        ("could not read", Unavailable(Storage)),
        ("could not write", Unavailable(Storage)),
        ("invalid page in block", Unavailable(Storage)),
        // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL
        ("database is locked", Unavailable(Locked)),
        ("database table is locked", Unavailable(Locked)),
        ("database schema is locked", Unavailable(Locked)),
        ("locking protocol", Unavailable(Locked)),
        // SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_CORRUPT, SQLITE_NOTADB
        ("attempt to write a readonly database", Unavailable(ReadOnly)),
        ("disk I/O error", Unavailable(Storage)),
        ("unable to open database file", Unavailable(Storage)),
        ("database disk image is malformed", Unavailable(Storage)),
        ("file is not a database", Unavailable(Storage)),
    ]
};

/// Parts of messages of a full disk: 53100 quotes the operating system after a file's name; SQLITE_FULL.
const DISK_FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", "database or disk is full"];

/// Classifies an error by its code, as far as diesel exposes it.
///
/// diesel reads the code and shows a kind, and for most codes the kind is `Unknown`. What is left then:
///
/// 1. An error with a position in the statement, a table, a column or a constraint is one of the statement or its values
///    (42703, 42P01, 22xxx, 23xxx): a defect, in any language.
/// 2. An outage is recognised by the beginning of its message. SQLite's messages are constants. PostgreSQL's are in the
///    language of `lc_messages`, which connection.rs sets to English where the role may.
/// 3. Everything else is a defect. The other default would let a client stop the service: a value that the database's
///    encoding cannot hold (22P05, 22021) would be an outage, and each node would refuse everybody.
fn classify(kind: DatabaseErrorKind, about: &(dyn DatabaseErrorInformation + Send + Sync)) -> Class {
    match kind {
        DatabaseErrorKind::UniqueViolation => Class::Taken,
        DatabaseErrorKind::SerializationFailure => Class::Conflict,
        DatabaseErrorKind::ReadOnlyTransaction => Class::Unavailable(OutageCause::ReadOnly),
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
            Class::Unavailable(OutageCause::Connection)
        }
        DatabaseErrorKind::ForeignKeyViolation
        | DatabaseErrorKind::NotNullViolation
        | DatabaseErrorKind::CheckViolation
        | DatabaseErrorKind::RestrictViolation
        | DatabaseErrorKind::ExclusionViolation => Class::Broken,
        _ if about.statement_position().is_some()
            || about.table_name().is_some()
            || about.column_name().is_some()
            || about.constraint_name().is_some() =>
        {
            Class::Broken
        }
        _ => classify_message(about.message()),
    }
}

fn classify_message(message: &str) -> Class {
    // First, because PostgreSQL reports a full disk as a failed write to a file: "could not extend file …: No space left …".
    if DISK_FULL.iter().any(|part| message.contains(part)) {
        return Class::Unavailable(OutageCause::DiskFull);
    }
    let known = MESSAGES.iter().find(|(beginning, _)| message.starts_with(beginning));
    known.map_or(Class::Broken, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    fn of_message(message: &str) -> StoreError {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())).into()
    }

    #[test]
    fn outages_are_recognised_by_the_beginning_of_their_message() {
        use OutageCause::{Connection, DiskFull, Locked, Memory, ReadOnly, Storage, Timeout};
        for (message, expected) in [
            ("canceling statement due to statement timeout", Timeout),
            ("canceling statement due to lock timeout", Locked),
            ("could not extend file \"base/5/1\": No space left on device", DiskFull),
            ("could not read block 0 in file \"base/5/1\": Input/output error", Storage),
            ("terminating connection due to administrator command", Connection),
            ("out of shared memory", Memory),
            ("database is locked", Locked),
            ("database table is locked: accounts", Locked),
            ("database or disk is full", DiskFull),
            ("attempt to write a readonly database", ReadOnly),
            ("disk I/O error", Storage),
        ] {
            let error = of_message(message);
            assert!(
                matches!(error, StoreError::Unavailable { cause, .. } if cause == expected),
                "{message}: {error:?}"
            );
        }
        assert!(matches!(of_message("deadlock detected"), StoreError::Conflict { .. }));
    }

    #[test]
    fn every_other_message_is_a_defect() {
        for message in [
            "no such column: sessions.epoch",
            "no such table: accounts",
            "column \"database is locked\" does not exist",
            "character with byte sequence 0xd0 0xbc in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
            "permission denied for table accounts",
            "",
        ] {
            assert!(matches!(of_message(message), StoreError::Broken(_)), "{message}");
        }
    }

    #[test]
    fn kinds_that_diesel_exposes_need_no_message() {
        let of_kind = |kind| StoreError::from(DieselError::DatabaseError(kind, Box::new("…".to_owned())));
        assert!(matches!(of_kind(DatabaseErrorKind::UniqueViolation), StoreError::Taken));
        assert!(matches!(of_kind(DatabaseErrorKind::SerializationFailure), StoreError::Conflict { .. }));
        assert!(matches!(of_kind(DatabaseErrorKind::CheckViolation), StoreError::Broken(_)));
        let cause = |kind| match of_kind(kind) {
            StoreError::Unavailable { cause, .. } => Some(cause),
            _ => None,
        };
        assert_eq!(cause(DatabaseErrorKind::ReadOnlyTransaction), Some(OutageCause::ReadOnly));
        assert_eq!(cause(DatabaseErrorKind::ClosedConnection), Some(OutageCause::Connection));
    }

    #[test]
    fn a_commit_that_cannot_be_rolled_back_has_the_class_of_the_commit() {
        let commit = DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new("database is locked".to_owned()));
        let both = DieselError::RollbackErrorOnCommit {
            rollback_error: Box::new(DieselError::NotInTransaction),
            commit_error: Box::new(commit),
        };
        assert!(StoreError::from(both).is_locked());
    }

    #[test]
    fn a_migration_that_cannot_begin_has_the_class_of_the_database_error() {
        let locked =
            || DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new("database is locked".to_owned()));
        assert!(StoreError::migration(Box::new(locked())).is_locked());
        assert!(matches!(StoreError::migration("no such file".into()), StoreError::Broken(_)));
    }

    #[test]
    fn the_source_is_the_drivers_error() {
        let error = of_message("no such table: accounts");
        assert_eq!(error.to_string(), "the database refused the statement: no such table: accounts");
        assert!(error.source().is_some_and(<dyn std::error::Error>::is::<DieselError>));
    }
}
