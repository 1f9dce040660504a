//! The database URL: which backend and where, from `DATABASE_URL`. Connections are opened by connection.rs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The value of `DATABASE_URL`. Neither its display nor its debug text shows a PostgreSQL password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://PATH`: a file, created when missing.
    Sqlite(PathBuf),
    /// `postgres://…`: handed to libpq as it is.
    Postgres(String),
}

impl DatabaseUrl {
    /// The SQLite file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    /// Refuses every scheme but the two: a mistyped `postgres:name` must not become a SQLite file of that name.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return match path {
                "" => Err(DatabaseUrlError::NoFile),
                path if path.contains(":memory:") => Err(DatabaseUrlError::InMemory),
                path if path.contains('?') => Err(DatabaseUrlError::SqliteParameters),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(DatabaseUrlError::Scheme);
        }
        if cfg!(not(feature = "postgres-tls")) && ["sslmode=require", "sslmode=verify"].iter().any(|m| url.contains(m))
        {
            return Err(DatabaseUrlError::NoTls);
        }
        // libpq's own message would quote the part that it cannot read, which is usually the password.
        let escapes = url
            .match_indices('%')
            .all(|(at, _)| url.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())));
        if escapes { Ok(Self::Postgres(url.to_owned())) } else { Err(DatabaseUrlError::Escape) }
    }
}

/// Why a text is not a database URL. Never quotes it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error("use sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE")]
    Scheme,
    /// SQLite without a path.
    #[error("no file named; use sqlite://doorward.db, or sqlite:///var/lib/doorward/doorward.db")]
    NoFile,
    /// SQLite in memory.
    #[error("an in-memory database cannot be shared by connections; use a file in a temporary folder")]
    InMemory,
    /// SQLite with a query string.
    #[error("a SQLite URL takes no parameters; use sqlite://PATH")]
    SqliteParameters,
    /// PostgreSQL over TLS, in a build without it.
    #[error("this build has no TLS to PostgreSQL; build it with --features postgres-tls, or drop sslmode")]
    NoTls,
    /// A percent sign without two hexadecimal digits.
    #[error("a % in it is no escape; write %25 for a % in the password")]
    Escape,
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "SQLite {}", path.display()),
            Self::Postgres(url) => {
                let rest = url.split("://").nth(1).unwrap_or_default();
                let rest = rest.split('?').next().unwrap_or_default();
                let (server, name) = rest.split_once('/').unwrap_or((rest, ""));
                let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
                // An @ after the slash means that the password has an unescaped one of the two: then no part is shown.
                if name.contains('@') { f.write_str("PostgreSQL") } else { write!(f, "PostgreSQL {server}/{name}") }
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_schemes_are_accepted() {
        for wrong in
            ["postgres:name", "doorward.db", "mysql://x", "sqlite://", "sqlite://:memory:", "", "sqlite://a?b=c"]
        {
            assert!(wrong.parse::<DatabaseUrl>().is_err(), "{wrong}");
        }
        assert_eq!("sqlite:///tmp/a.db".parse(), Ok(DatabaseUrl::Sqlite("/tmp/a.db".into())));
        assert!("postgresql://localhost/x".parse::<DatabaseUrl>().is_ok());
    }

    #[test]
    fn neither_text_shows_the_password() {
        let url: DatabaseUrl = "postgres://me:hunter2@db.example/doorward?a=hunter2".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "PostgreSQL db.example/doorward PostgreSQL db.example/doorward");
    }
}
