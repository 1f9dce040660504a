//! Database errors, by what a caller can do about them.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// What went wrong with the rows, in the three ways a caller can tell apart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unique column already holds the value.
    #[error("a unique value is taken")]
    Taken,
    /// The change gave itself up; nothing of it was written.
    #[error("the change was given up")]
    Abandoned,
    /// The database cannot be asked now; the same call may work later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A defect: a query that does not fit its table, a row that does not fit its type, a failed migration.
    #[error("the database refused: {0}")]
    Broken(String),
}

impl Error {
    /// libpq's message goes over several lines.
    pub(super) fn no_connection(cause: &diesel::ConnectionError) -> Self {
        Self::Unavailable(cause.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    pub(super) fn migration(source: &(dyn std::error::Error + Send + Sync)) -> Self {
        Self::Broken(format!("a migration failed: {source}"))
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Taken,
            DieselError::DatabaseError(
                DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation,
                about,
            ) => Self::Broken(about.message().to_owned()),
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
                Self::Unavailable(LOST_A_RACE.to_owned())
            }
            DieselError::DatabaseError(_, about) => Self::Unavailable(about.message().to_owned()),
            // SQLite may have rolled back by itself, and then has nothing to roll back.
            DieselError::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// Stands for 40001, which diesel has a kind for.
pub(super) const LOST_A_RACE: &str = "could not serialize access";
