//! Integrity of the rows after a kill, seen from outside the service: the file is intact, and no row is the trace of
//! half an act. What a client must find again is verify.rs's.

use std::path::PathBuf;

use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, RunQueryDsl, SqliteConnection, dsl::sql, select};

use crate::support::process::{PATIENCE, WorkDir, until};
use crate::support::{Backend, postgres};

/// Queries that count rows which only half an act leaves behind.
const HALVES: [(&str, &str); 6] = [
    ("accounts without a hash", "SELECT count(*) FROM accounts WHERE password IS NULL"),
    (
        "accounts whose sign-up is not in the audit",
        "SELECT count(*) FROM accounts WHERE id NOT IN \
         (SELECT account_id FROM audit_events WHERE kind = 'sign_up' AND account_id IS NOT NULL)",
    ),
    (
        "accounts that signed up and never had a session",
        "SELECT count(*) FROM accounts a WHERE NOT EXISTS (SELECT 1 FROM sessions s WHERE s.account_id = a.id)",
    ),
    (
        "sessions that ended without a revocation",
        "SELECT count(*) FROM sessions s WHERE s.ended_at IS NOT NULL \
         AND s.id NOT IN (SELECT session_id FROM revocations WHERE session_id IS NOT NULL AND generation IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM revocations r JOIN accounts a ON a.uuid = r.account_uuid \
         WHERE a.id = s.account_id AND r.epoch > s.epoch)",
    ),
    (
        "epochs that are over without a revocation",
        "SELECT count(*) FROM accounts a WHERE a.epoch > 0 \
         AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.account_uuid = a.uuid AND r.epoch = a.epoch)",
    ),
    (
        "generations without a parent that no change of the password made",
        "SELECT count(*) FROM sessions WHERE generation > 0 AND parent IS NULL AND min_generation < generation",
    ),
];

/// The database of a node.
pub enum Rows {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Rows {
    pub fn of(workdir: &WorkDir, backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::Sqlite(workdir.file("doorward.db")),
            Backend::Postgres => Self::Postgres(workdir.get("DATABASE_URL").unwrap().to_owned()),
        }
    }

    /// Fails unless every page, every reference and every act is intact. For a running service only: the first
    /// connection after a crash must be the service's own, or this one would recover the file.
    pub fn assert_whole(&self) {
        if let Self::Sqlite(file) = self {
            let mut db = open(file);
            let output = select(sql::<Text>("(SELECT group_concat(integrity_check) FROM pragma_integrity_check)"));
            assert_eq!(output.get_result::<String>(&mut db).unwrap(), "ok", "integrity_check");
            let dangling = select(sql::<BigInt>("(SELECT count(*) FROM pragma_foreign_key_check)"));
            assert_eq!(dangling.get_result::<i64>(&mut db).unwrap(), 0, "foreign_key_check");
        }
        for (what, query) in HALVES {
            assert_eq!(self.number(query), 0, "{what}");
        }
    }

    /// The current time by the database server's clock.
    pub fn moment(&self) -> i64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(_) => self.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"),
        }
    }

    /// How many connections from before the kill are left. PostgreSQL still commits for a dead client if the commit
    /// arrived in time, and on a busy machine that may be after the next start: until then an act in flight is
    /// undecided. SQLite ends with its process.
    pub fn connections_from_before(&self, moment: i64) -> i64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(_) => self.number(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND (extract(epoch FROM backend_start) * 1000000)::bigint < {moment}"
            )),
        }
    }

    /// Waits until none is left. Returns whether there was one.
    pub fn settle(&self, moment: i64) -> bool {
        let waits = self.connections_from_before(moment) > 0;
        let over = || (self.connections_from_before(moment) == 0).then_some(());
        until(PATIENCE, "the end of a dead process's connections", over);
        waits
    }

    pub fn number(&self, query: &str) -> i64 {
        match self {
            Self::Sqlite(file) => select(sql::<BigInt>(&format!("({query})"))).get_result(&mut open(file)).unwrap(),
            Self::Postgres(url) => postgres::psql(url, query).parse().unwrap(),
        }
    }
}

fn open(file: &std::path::Path) -> SqliteConnection {
    let mut db = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    diesel::sql_query("PRAGMA busy_timeout = 20000").execute(&mut db).unwrap();
    db
}
