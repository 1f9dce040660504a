//! One connection type over SQLite and PostgreSQL, chosen by the URL's scheme, and the settings that every
//! connection of each gets. Pooling, transactions and retries are store.rs's.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::r2d2::R2D2Connection;
use diesel::{Connection, PgConnection, SqliteConnection};

use super::wal_pressure::AUTOCHECKPOINT_PAGES;

/// Runs a query on the connection that `Db` is: `on_one!(db, |db| query.execute(db))`. What diesel runs on a connection that
/// may be either has its text made three times over; this is for what nearly every request asks.
macro_rules! on_one {
    ($either:expr, |$db:ident| $run:expr) => {
        match $either {
            $crate::store::connection::Db::Sqlite($db) => $run,
            $crate::store::connection::Db::Postgres($db) => $run,
        }
    };
}
pub(in crate::store) use on_one;

pub use multi::Db;

/// How long a start waits for a lock.
const MIGRATION_WAIT: Duration = Duration::from_secs(60);

/// A connection that lay unused this long is asked whether it still lives before it is handed out.
const ASK_AFTER_IDLE: Duration = Duration::from_secs(1);

mod multi {
    use diesel::{PgConnection, SqliteConnection};

    /// A connection to either backend.
    #[derive(diesel::MultiConnection)]
    pub enum Db {
        /// An embedded SQLite file.
        Sqlite(SqliteConnection),
        /// A PostgreSQL server.
        Postgres(PgConnection),
    }
}

/// Where the rows are. Neither form of text shows a PostgreSQL password.
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
    type Err = String;

    /// Refuses anything but the two schemes: a mistyped `postgres:name` must not become a SQLite file of that name.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return match path {
                "" => Err("no file named; use sqlite://doorward.db, or sqlite:///var/lib/doorward/doorward.db".into()),
                path if path.contains(":memory:") => {
                    Err("an in-memory database cannot be shared by connections; use a file in a temporary folder"
                        .into())
                }
                path if path.contains('?') => Err("a SQLite URL takes no parameters; use sqlite://PATH".into()),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err("use sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE".into());
        }
        if cfg!(not(feature = "postgres-tls")) && ["sslmode=require", "sslmode=verify"].iter().any(|m| url.contains(m))
        {
            return Err(
                "this build has no TLS to PostgreSQL; build it with --features postgres-tls, or drop sslmode".into()
            );
        }
        // libpq's own message would quote the part that it cannot read, which is mostly the password.
        let escapes = url
            .match_indices('%')
            .all(|(at, _)| url.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())));
        if !escapes {
            return Err("a % in it is no escape; write %25 for a % in the password".into());
        }
        Ok(Self::Postgres(url.to_owned()))
    }
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
                // An @ after the slash means that a password holds one of them unescaped: then nothing is shown.
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

/// Opens one connection for a start, which waits for another node's migration to end.
pub fn open_patiently(url: &DatabaseUrl) -> Result<Db, diesel::ConnectionError> {
    open(url, MIGRATION_WAIT)
}

/// Opens one connection, none of whose statements waits longer than `lock_wait` for another writer's lock.
pub fn open(url: &DatabaseUrl, lock_wait: Duration) -> Result<Db, diesel::ConnectionError> {
    let configured =
        |result: diesel::QueryResult<()>| result.map_err(diesel::ConnectionError::CouldntSetupConfiguration);
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut db = SqliteConnection::establish(&path.to_string_lossy())?;
            configured(db.batch_execute(&sqlite_pragmas(lock_wait)))?;
            Ok(Db::Sqlite(db))
        }
        DatabaseUrl::Postgres(url) => {
            let mut db = PgConnection::establish(&with_timeouts(url))?;
            configured(db.batch_execute(&postgres_settings(lock_wait)))?;
            Ok(Db::Postgres(db))
        }
    }
}

/// Makes a missing SQLite file readable by its owner only: it holds hashes. SQLite gives its side files the same mode.
pub fn create_private(url: &DatabaseUrl) -> std::io::Result<()> {
    let Some(path) = url.file() else { return Ok(()) };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(why) if why.kind() != std::io::ErrorKind::AlreadyExists => Err(why),
        _ => Ok(()),
    }
}

/// WAL so that readers never wait for the writer; FULL so that what was answered with 2xx survives a power cut.
fn sqlite_pragmas(lock_wait: Duration) -> String {
    format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
         PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES};",
        lock_wait.as_millis()
    )
}

/// Bounds every statement and every open transaction: the revocation poll relies on no transaction being longer.
fn postgres_settings(lock_wait: Duration) -> String {
    let wait = lock_wait.as_millis();
    format!(
        "SET application_name = 'doorward'; SET lock_timeout = {wait}; SET statement_timeout = {wait}; \
         SET idle_in_transaction_session_timeout = 5000;"
    )
}

/// libpq waits for ever for a host that does not answer, and for hours for one that fell silent, unless told otherwise.
fn with_timeouts(url: &str) -> String {
    let bounds = [
        "connect_timeout=2",
        "tcp_user_timeout=2000",
        "keepalives_idle=1",
        "keepalives_interval=1",
        "keepalives_count=2",
    ];
    let missing = bounds.into_iter().filter(|parameter| !url.contains(parameter.split('=').next().unwrap_or_default()));
    missing.fold(url.to_owned(), |url, parameter| {
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}{parameter}")
    })
}

/// A pooled connection, with what the pool must know to trust it.
pub struct Pooled {
    /// The connection itself.
    pub db: Db,
    /// Set when a statement failed in a way that may leave the connection unusable: the pool then closes it.
    pub broken: bool,
    /// How many rows it had changed in all at the last commit.
    pub rows_changed: i64,
    used_at: Instant,
}

/// Opens connections for r2d2. Unlike the derived `establish` it reports the true cause.
#[derive(Debug)]
pub struct Manager {
    /// Where to.
    pub url: DatabaseUrl,
    /// How long a statement may wait for another writer's lock.
    pub lock_wait: Duration,
}

impl r2d2::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Pooled, Self::Error> {
        let db = open(&self.url, self.lock_wait).map_err(diesel::r2d2::Error::ConnectionError)?;
        Ok(Pooled { db, broken: false, rows_changed: 0, used_at: Instant::now() })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), Self::Error> {
        if pooled.used_at.elapsed() > ASK_AFTER_IDLE {
            pooled.db.ping().map_err(diesel::r2d2::Error::QueryError)?;
        }
        pooled.used_at = Instant::now();
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.broken || pooled.db.is_broken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_schemes_are_taken() {
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

    #[test]
    fn timeouts_that_the_operator_set_stay() {
        assert!(with_timeouts("postgres://h/d").starts_with("postgres://h/d?connect_timeout=2&tcp_user_timeout=2000&"));
        assert!(with_timeouts("postgres://h/d?connect_timeout=9").starts_with("postgres://h/d?connect_timeout=9&tcp_"));
    }
}
