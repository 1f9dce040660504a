//! Database errors by their class, on the real databases: a defect is answered 500 and is no outage, an outage is answered
//! 503, and transactions that conflict are retried.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection, sql_query};
use doorward::metrics::Metrics;
use doorward::store::{Db, OutageCause, Store, StoreError};
use doorward::testing::TestService;

use crate::support::http::{Browser, Request};
use crate::support::postgres::{database_of, new_database, psql};
use crate::support::{Backend, PASSWORD, code, on_both_backends, on_postgres, on_sqlite, race, register, sign_in};

on_both_backends!(
    a_renamed_column_is_an_internal_error_and_no_outage,
    a_missing_table_is_an_internal_error_and_no_outage,
    a_defect_in_the_readiness_probe_is_no_outage,
    statements_that_do_not_fit_the_tables_are_defects,
);
on_sqlite!(outages_of_sqlite_are_told_apart);
on_postgres!(
    stricter_default_isolation_refuses_no_sign_in,
    outages_of_postgres_are_told_apart,
    values_that_the_encoding_cannot_hold_are_defects,
    a_serialization_failure_is_retried_with_a_bound,
    deadlocked_transactions_are_retried_until_both_succeed,
);

/// Long enough for PostgreSQL to detect a deadlock, which takes it a second.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A service, and the path or URL of its database.
fn start(backend: Backend) -> (TestService, String) {
    let url = (backend == Backend::Postgres).then(new_database);
    let builder = TestService::builder();
    let service = match &url {
        Some(url) => builder.set("DATABASE_URL", url.clone()).start(),
        None => builder.start(),
    };
    let file = service.folder().join("doorward.db").display().to_string();
    (service, url.unwrap_or(file))
}

/// Runs SQL on a connection beside the service's.
fn execute(database: &str, sql: &str) {
    if database.starts_with("postgres:") {
        return PgConnection::establish(database).unwrap().batch_execute(sql).unwrap();
    }
    SqliteConnection::establish(database)
        .unwrap()
        .batch_execute(&format!("PRAGMA busy_timeout = 20000; {sql}"))
        .unwrap();
}

fn login(username: &str) -> Request {
    let body = serde_json::json!({ "username": username, "password": PASSWORD }).to_string();
    Request::new("POST", "/auth/login").json(&body)
}

fn counted(service: &TestService, kind: &str) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let start = format!("doorward_database_errors_total{{kind=\"{kind}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

/// Breaks the tables, and asserts that a sign-in is then an internal error, that the service stays ready, and that it signs
/// in as soon as they are whole again.
fn assert_defect_is_no_outage(backend: Backend, breaks: &str, mends: &str) {
    let (service, database) = start(backend);
    register(&service, "emily");
    execute(&database, breaks);
    for _ in 0..3 {
        let answer = login("emily").send(service.address());
        assert_eq!((answer.status, code(&answer).as_str()), (500, "internal_error"), "{}", answer.text());
        assert_eq!(Request::new("GET", "/readyz").send(service.address()).status, 200);
    }
    assert!(counted(&service, "internal") >= 3);
    assert_eq!(counted(&service, "unavailable"), 0);
    execute(&database, mends);
    assert_eq!(login("emily").send(service.address()).status, 200);
}

fn a_renamed_column_is_an_internal_error_and_no_outage(backend: Backend) {
    let renamed = |from, to| format!("ALTER TABLE sessions RENAME COLUMN {from} TO {to}");
    assert_defect_is_no_outage(backend, &renamed("dialect", "other"), &renamed("other", "dialect"));
}

fn a_missing_table_is_an_internal_error_and_no_outage(backend: Backend) {
    let renamed = |from, to| format!("ALTER TABLE {from} RENAME TO {to}");
    assert_defect_is_no_outage(backend, &renamed("audit_events", "other"), &renamed("other", "audit_events"));
}

/// The probe reads an account.
fn a_defect_in_the_readiness_probe_is_no_outage(backend: Backend) {
    let renamed = |from, to| format!("ALTER TABLE accounts RENAME COLUMN {from} TO {to}");
    assert_defect_is_no_outage(backend, &renamed("phone", "other"), &renamed("other", "phone"));
}

fn stricter_default_isolation_refuses_no_sign_in() {
    for level in ["serializable", "repeatable read"] {
        let url = new_database();
        let role = format!("ALTER ROLE doorward IN DATABASE {} SET default_transaction_isolation", database_of(&url));
        psql("postgres", &format!("{role} = '{level}'"));
        assert_eq!(psql(&url, "SHOW transaction_isolation"), level);
        let service = TestService::builder().set("DATABASE_URL", url).start();
        register(&service, "emily");
        let address = service.address();
        let browsers: Vec<Browser> = (0..8).map(|_| sign_in(&service, "emily")).collect();
        let signed_in = race(8, move |_| login("emily").send(address).status);
        assert_eq!(signed_in, [200; 8], "{level}");
        let cookies: Vec<String> = browsers
            .iter()
            .map(|browser| {
                ["accessToken", "refreshToken"].map(|name| format!("{name}={}", browser.cookie(name).unwrap()))
            })
            .map(|cookies| cookies.join("; "))
            .collect();
        let signed_out = race(8, move |number| {
            Request::new("POST", "/auth/logout").cookie_header(&cookies[number]).send(address).status
        });
        assert_eq!(signed_out, [200; 8], "{level}");
    }
}

/// A migrated database, without a service.
fn store(backend: Backend, timeout: Duration) -> (tempfile::TempDir, Store, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db").display().to_string();
    let (url, database) = match backend {
        Backend::Sqlite => (format!("sqlite://{file}"), file),
        Backend::Postgres => (new_database(), String::new()),
    };
    let store = Store::open(&url.parse().unwrap(), 2, timeout, Metrics::new().unwrap()).unwrap();
    store.migrate().unwrap();
    (folder, store, if database.is_empty() { url } else { database })
}

fn run(store: &Store, sql: &str) -> Result<(), StoreError> {
    store.write(|db| Ok(db.batch_execute(sql)?))
}

#[track_caller]
fn assert_outage(store: &Store, sql: &str, expected: OutageCause) {
    let outcome = run(store, sql);
    assert!(matches!(outcome, Err(StoreError::Unavailable { cause, .. }) if cause == expected), "{sql}: {outcome:?}");
    assert!(store.is_unavailable(), "{sql}");
    run(store, "SELECT 1").unwrap();
    assert!(store.is_unavailable(), "another call may need less than the one that failed: {sql}");
    store.probe().unwrap();
    assert!(!store.is_unavailable(), "{sql}");
}

fn statements_that_do_not_fit_the_tables_are_defects(backend: Backend) {
    let (_folder, store, _) = store(backend, TIMEOUT);
    for sql in [
        "SELECT nothing FROM accounts",
        "SELECT 1 FROM nowhere",
        "SELECT no_such_function(1)",
        "INSERT INTO throttles (key) VALUES ('without the other columns')",
        "SELEKT 1",
    ] {
        for outcome in [run(&store, sql), store.read(|db| Ok(db.batch_execute(sql)?))] {
            assert!(matches!(outcome, Err(StoreError::Broken(_))), "{sql}: {outcome:?}");
            assert!(!store.is_unavailable(), "{sql}");
        }
        run(&store, "SELECT 1").unwrap();
    }
}

fn outages_of_sqlite_are_told_apart() {
    let (_folder, store, file) = store(Backend::Sqlite, Duration::from_millis(200));
    let insert = "INSERT INTO throttles (key, failures, updated_at) VALUES (hex(zeroblob(1000000)), 1, 1)";
    assert_outage(&store, &format!("PRAGMA max_page_count = 1; {insert}"), OutageCause::DiskFull);
    assert_outage(&store, &format!("PRAGMA query_only = ON; {insert}"), OutageCause::ReadOnly);

    let mut other = SqliteConnection::establish(&file).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let outcome = run(&store, "SELECT 1");
    assert!(outcome.as_ref().is_err_and(StoreError::is_locked), "{outcome:?}");
    assert!(store.is_unavailable());
    other.batch_execute("ROLLBACK").unwrap();
    store.probe().unwrap();
    assert!(!store.is_unavailable());
}

fn outages_of_postgres_are_told_apart() {
    let (_folder, store, url) = store(Backend::Postgres, TIMEOUT);
    let mut other = PgConnection::establish(&url).unwrap();
    // No table of the probe.
    other.batch_execute("CREATE TABLE held (n INTEGER)").unwrap();
    other.batch_execute("BEGIN; LOCK TABLE held").unwrap();
    for (sql, cause) in [
        ("SET LOCAL statement_timeout = 50; SELECT pg_sleep(5)", OutageCause::Timeout),
        ("SET LOCAL lock_timeout = 50; LOCK TABLE held", OutageCause::Locked),
        ("LOCK TABLE held NOWAIT", OutageCause::Locked),
        ("SET TRANSACTION READ ONLY; DELETE FROM throttles", OutageCause::ReadOnly),
        ("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)", OutageCause::Timeout),
        ("SELECT pg_terminate_backend(pg_backend_pid())", OutageCause::Connection),
    ] {
        assert_outage(&store, sql, cause);
    }
}

fn values_that_the_encoding_cannot_hold_are_defects() {
    let (_folder, store, _) = store(Backend::Postgres, TIMEOUT);
    let outcome = store.write(|db| {
        let Db::Postgres(db) = db else { return Ok(0) };
        Ok(sql_query("SELECT $1").bind::<Text, _>("a\0b").execute(db)?)
    });
    assert!(matches!(outcome, Err(StoreError::Broken(_))), "{outcome:?}");
    assert!(!store.is_unavailable());
}

fn a_serialization_failure_is_retried_with_a_bound() {
    let (_folder, store, _) = store(Backend::Postgres, TIMEOUT);
    let fails = "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '40001'; END $$";
    let attempts = AtomicUsize::new(0);
    let attempt = |failures: usize| {
        store.write(|db| {
            let number = attempts.fetch_add(1, Ordering::SeqCst);
            Ok(db.batch_execute(if number < failures { fails } else { "SELECT 1" })?)
        })
    };
    assert!(attempt(3).is_ok());
    attempts.store(0, Ordering::SeqCst);
    let outcome = attempt(usize::MAX);
    assert!(matches!(outcome, Err(StoreError::Conflict { .. })), "{outcome:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 4);
    assert!(!store.is_unavailable(), "the database itself is well");
}

fn deadlocked_transactions_are_retried_until_both_succeed() {
    let (_folder, store, url) = store(Backend::Postgres, TIMEOUT);
    psql(&url, "INSERT INTO throttles (key, failures, updated_at) VALUES ('a', 0, 1), ('b', 0, 1)");
    let (both_hold_one, attempts) = (Barrier::new(2), AtomicUsize::new(0));
    let count = |key: &str| format!("UPDATE throttles SET failures = failures + 1 WHERE key = '{key}'");
    let change = |keys: [&str; 2]| {
        let mut first = true;
        store.write(|db| {
            attempts.fetch_add(1, Ordering::SeqCst);
            db.batch_execute(&count(keys[0]))?;
            if std::mem::take(&mut first) {
                both_hold_one.wait();
            }
            Ok(db.batch_execute(&count(keys[1]))?)
        })
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| change(["b", "a"]));
        change(["a", "b"]).unwrap();
        other.join().unwrap().unwrap();
    });
    assert_eq!(psql(&url, "SELECT sum(failures) FROM throttles"), "4");
    assert!(attempts.load(Ordering::SeqCst) >= 3, "one of them was the victim and ran again");
}
