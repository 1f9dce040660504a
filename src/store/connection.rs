//! Database connections: one type over SQLite and PostgreSQL, the session settings that each connection gets, and r2d2's
//! connection manager. Pools, transactions and retries are store.rs's.

use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::r2d2::R2D2Connection;
use diesel::sql_types::Text;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection};

use super::database_file::DatabaseFile;
use super::database_url::DatabaseUrl;
use super::error::StoreError;
use super::sqlite_writer::wal_pressure::AUTOCHECKPOINT_PAGES;

/// Runs a query on the backend's own connection type: `on_backend!(db, |db| query.execute(db))`. On `Db` itself diesel
/// builds the SQL text three times; the queries of nearly every request avoid that.
macro_rules! on_backend {
    ($either:expr, |$db:ident| $run:expr) => {
        match $either {
            $crate::store::connection::Db::Sqlite($db) => $run,
            $crate::store::connection::Db::Postgres($db) => $run,
        }
    };
}
pub(in crate::store) use on_backend;

pub use multi::Db;

/// How long a starting node waits for a lock: for another node's migration.
const STARTUP_LOCK_WAIT: Duration = Duration::from_secs(60);

/// A pooled connection that was idle for longer is pinged before it is used.
const PING_AFTER_IDLE: Duration = Duration::from_secs(1);

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

/// Opens one connection for a starting node, which waits for another node's migration to end.
pub fn open_for_startup(url: &DatabaseUrl) -> Result<Db, diesel::ConnectionError> {
    open(url, STARTUP_LOCK_WAIT)
}

/// Opens one connection, none of whose statements waits longer than `lock_wait` for another writer's lock.
pub fn open(url: &DatabaseUrl, lock_wait: Duration) -> Result<Db, diesel::ConnectionError> {
    let configured =
        |result: diesel::QueryResult<()>| result.map_err(diesel::ConnectionError::CouldntSetupConfiguration);
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut db = SqliteConnection::establish(&sqlite_uri(path))?;
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

/// SQLite's URI of a file that must exist: a connection that is opened after the file was deleted must not create an empty one.
fn sqlite_uri(path: &Path) -> String {
    let root = if path.is_absolute() { "file://" } else { "file:" };
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let escaped: String = path.as_os_str().as_bytes().iter().map(escape).collect();
    format!("{root}{escaped}?mode=rw")
}

/// Makes a missing SQLite file readable by its owner only: it holds hashes. SQLite gives its side files the same mode.
pub fn create_private(url: &DatabaseUrl) -> std::io::Result<()> {
    let Some(path) = url.file() else { return Ok(()) };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// WAL so that readers never wait for the writer; FULL so that every change that was answered with 2xx survives a power cut.
fn sqlite_pragmas(lock_wait: Duration) -> String {
    format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
         PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES};",
        lock_wait.as_millis()
    )
}

/// Bounds every statement and every open transaction: the revocation poll relies on no transaction being longer.
///
/// The isolation level is set because the statements are written for `read committed`, where a conditional update waits for
/// a concurrent one and then sees its row. Under a stricter default of the role or the database it would fail instead.
/// Messages are set to English where the role may: error.rs recognises some errors by them.
fn postgres_settings(lock_wait: Duration) -> String {
    let wait = lock_wait.as_millis();
    format!(
        "SET application_name = 'doorward'; SET lock_timeout = {wait}; SET statement_timeout = {wait}; \
         SET idle_in_transaction_session_timeout = 5000; SET default_transaction_isolation = 'read committed'; \
         SELECT set_config('lc_messages', 'C', false) FROM pg_roles WHERE rolname = current_user AND rolsuper;"
    )
}

/// The encoding of the database's texts: `UTF8` on PostgreSQL, `UTF-8` on SQLite, or another.
pub fn encoding(db: &mut Db) -> Result<String, StoreError> {
    let sql = match db {
        Db::Sqlite(_) => "SELECT encoding AS value FROM pragma_encoding",
        Db::Postgres(_) => "SELECT current_setting('server_encoding') AS value",
    };
    let row: Setting = on_backend!(db, |db| diesel::sql_query(sql).get_result(db))?;
    Ok(row.value)
}

/// Logs a warning if PostgreSQL's messages are not in English, so that timeouts, full disks and deadlocks are not recognised.
pub fn warn_about_message_language(db: &mut Db) {
    let Db::Postgres(db) = db else { return };
    let setting = diesel::sql_query("SELECT current_setting('lc_messages') AS value").get_result::<Setting>(db);
    match setting {
        Ok(Setting { value }) if is_english(&value) => {}
        Ok(Setting { value }) => log::warn!(
            lc_messages = value.as_str();
            "PostgreSQL's messages are not in English, so that an outage may be reported as an internal error; \
             as a superuser run ALTER ROLE (this role) SET lc_messages = 'C'"
        ),
        Err(error) => log::debug!(error:%; "the language of PostgreSQL's messages is not known"),
    }
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

fn is_english(locale: &str) -> bool {
    matches!(locale, "" | "C" | "POSIX")
        || ["C.", "en_", "en-", "English"].iter().any(|start| locale.starts_with(start))
}

/// libpq waits for ever for a host that does not answer, and for hours for one that stopped answering, unless the URL says
/// otherwise.
fn with_timeouts(url: &str) -> String {
    let defaults = [
        "connect_timeout=2",
        "tcp_user_timeout=2000",
        "keepalives_idle=1",
        "keepalives_interval=1",
        "keepalives_count=2",
    ];
    let missing =
        defaults.into_iter().filter(|parameter| !url.contains(parameter.split('=').next().unwrap_or_default()));
    missing.fold(url.to_owned(), |url, parameter| {
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}{parameter}")
    })
}

/// A pooled connection, with the state by which the pool decides whether to use it again.
pub struct Pooled {
    /// The connection itself.
    pub db: Db,
    /// The file that it is open on.
    pub file: DatabaseFile,
    /// Set when a statement failed in a way that may leave the connection unusable: the pool then closes it.
    pub broken: bool,
    /// The total of rows that the connection had changed at its last commit.
    pub rows_changed: i64,
    last_used_at: Instant,
}

/// r2d2's connection manager. Unlike the derived `establish` it reports the true cause.
#[derive(Debug)]
pub struct Manager {
    /// The database.
    pub url: DatabaseUrl,
    /// Its file as the service opened it.
    pub file: DatabaseFile,
    /// How long a statement may wait for another writer's lock.
    pub lock_wait: Duration,
}

impl r2d2::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = StoreError;

    fn connect(&self) -> Result<Pooled, Self::Error> {
        self.file.check()?;
        let db = open(&self.url, self.lock_wait)?;
        Ok(Pooled { db, file: self.file.clone(), broken: false, rows_changed: 0, last_used_at: Instant::now() })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), Self::Error> {
        if pooled.last_used_at.elapsed() > PING_AFTER_IDLE {
            pooled.db.ping()?;
        }
        pooled.last_used_at = Instant::now();
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
    fn message_languages_that_error_rs_can_read_are_english() {
        for english in ["", "C", "C.UTF-8", "POSIX", "en_US.UTF-8", "English_United States.1252"] {
            assert!(is_english(english), "{english}");
        }
        for other in ["de_DE.UTF-8", "es_ES", "Catalan_Spain.1252"] {
            assert!(!is_english(other), "{other}");
        }
    }

    #[test]
    fn paths_of_files_are_escaped_in_their_uri() {
        for (path, uri) in [
            ("doorward.db", "file:doorward.db?mode=rw"),
            ("/var/lib/a b/d#1%.db", "file:///var/lib/a%20b/d%231%25.db?mode=rw"),
            ("//tmp/x?y.db", "file:////tmp/x%3Fy.db?mode=rw"),
            ("ünï:code.db", "file:%C3%BCn%C3%AF%3Acode.db?mode=rw"),
        ] {
            assert_eq!(sqlite_uri(Path::new(path)), uri);
        }
    }

    #[test]
    fn timeouts_in_the_url_take_precedence() {
        assert!(with_timeouts("postgres://h/d").starts_with("postgres://h/d?connect_timeout=2&tcp_user_timeout=2000&"));
        assert!(with_timeouts("postgres://h/d?connect_timeout=9").starts_with("postgres://h/d?connect_timeout=9&tcp_"));
    }
}
