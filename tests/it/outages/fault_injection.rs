//! Ways to spoil a database, each undone by its own last method.

use std::process::Command;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};

use crate::support::postgres::psql;

const TABLES: &str = "accounts, sessions, opaque_tokens, revocations, throttles, audit_events";

/// The lock that writers need, held by another process; on PostgreSQL readers as well.
pub enum Lock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Lock {
    /// `database` is the path of a SQLite file, or a PostgreSQL URL.
    pub fn take(database: &str) -> Self {
        if database.starts_with("postgres:") {
            let mut db = PgConnection::establish(database).unwrap();
            db.batch_execute(&format!("BEGIN; LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")).unwrap();
            return Self::Postgres(db);
        }
        let mut db = SqliteConnection::establish(database).unwrap();
        db.batch_execute("PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE").unwrap();
        Self::Sqlite(db)
    }

    pub fn release(self) {
        match self {
            Self::Sqlite(mut db) => db.batch_execute("ROLLBACK").unwrap(),
            Self::Postgres(mut db) => db.batch_execute("ROLLBACK").unwrap(),
        }
    }
}

fn name_of(url: &str) -> &str {
    url.split('/').nth(3).and_then(|rest| rest.split('?').next()).unwrap()
}

fn allow_connections(name: &str, allow: bool) {
    psql("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}"));
}

/// A server that cuts every connection and takes no new one.
pub struct Gone(String);

impl Gone {
    pub fn take(url: &str) -> Self {
        let name = name_of(url).to_owned();
        allow_connections(&name, false);
        psql("postgres", &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
        Self(name)
    }

    pub fn give_back(self) {
        allow_connections(&self.0, true);
    }
}

/// A server whose processes stand still: nothing is cut, nothing is answered.
pub struct Hung {
    name: String,
    processes: Vec<String>,
}

impl Hung {
    pub fn stop(url: &str, new_connections: bool) -> Self {
        let name = name_of(url).to_owned();
        allow_connections(&name, new_connections);
        let query = format!("SELECT pid FROM pg_stat_activity WHERE datname = '{name}'");
        let processes: Vec<String> = psql("postgres", &query).lines().map(ToOwned::to_owned).collect();
        assert!(!processes.is_empty());
        let hung = Self { name, processes };
        hung.signal("STOP");
        hung
    }

    fn signal(&self, signal: &str) {
        // Processes of this test's database only; the test is root or the server's own user.
        let mut kill = Command::new("sh");
        let _ = kill.args(["-c", "kill -s \"$0\" \"$@\"", signal]).args(&self.processes).status();
    }

    pub fn go_on(self) {
        allow_connections(&self.name, true);
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

/// A server that takes its time over every session it writes.
pub struct Slow(String);

impl Slow {
    pub fn make(url: &str, by: Duration) -> Self {
        let function = format!(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep({}); RETURN NEW; END $$",
            by.as_secs_f32()
        );
        let on = "CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION dawdle()";
        psql(url, &format!("{function}; {on}"));
        Self(url.to_owned())
    }

    pub fn mend(self) {
        // It waits for the lock of whoever is still dawdling.
        psql(&self.0, "DROP TRIGGER dawdle ON sessions");
    }
}
