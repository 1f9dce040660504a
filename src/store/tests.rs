//! The promises of `Store::read` and `Store::write` on SQLite.

use super::tables::{sessions, throttles};
use super::*;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

#[derive(QueryableByName)]
struct TextValue {
    #[diesel(sql_type = Text)]
    value: String,
}

fn store() -> (tempfile::TempDir, Store) {
    store_with_timeout(Duration::from_secs(2))
}

fn store_with_timeout(timeout: Duration) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("a.db").display()).parse().unwrap();
    let store = Store::open(&url, 3, timeout, Metrics::new().unwrap()).unwrap();
    store.migrate().unwrap();
    (folder, store)
}

fn number(db: &mut Db, pragma: &str) -> i64 {
    let query = format!("SELECT {pragma} AS value FROM pragma_{pragma}");
    diesel::sql_query(query).get_result::<Number>(db).unwrap().value
}

fn assert_durable_with_timeout(db: &mut Db) -> Result<(), StoreError> {
    assert_eq!(number(db, "synchronous"), 2, "FULL");
    assert_eq!(number(db, "foreign_keys"), 1);
    let wait = diesel::sql_query("SELECT timeout AS value FROM pragma_busy_timeout");
    assert_eq!(wait.get_result::<Number>(db)?.value, 1500);
    let mode = diesel::sql_query("SELECT journal_mode AS value FROM pragma_journal_mode");
    assert_eq!(mode.get_result::<TextValue>(db)?.value, "wal");
    Ok(())
}

#[test]
fn every_sqlite_connection_is_durable_and_has_a_busy_timeout() {
    let (_folder, store) = store();
    store.read(assert_durable_with_timeout).unwrap();
    store.write(assert_durable_with_timeout).unwrap();
}

#[test]
fn the_database_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _store) = store();
    let mode = std::fs::metadata(folder.path().join("a.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn sixty_four_writers_lose_nothing() {
    // A stalled disk must not count as a lost write.
    let (_folder, store) = store_with_timeout(Duration::from_secs(60));
    let at = crate::clock::Timestamp::from_seconds(1);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..100 {
                    store.write(|db| throttles::count_failure(db, "k", at, at)).unwrap();
                }
            });
        }
    });
    let rows = store.read(|db| throttles::find(db, &["k".to_owned()])).unwrap();
    assert_eq!(rows.first().map(|row| row.failures), Some(6400));
}

#[test]
fn a_transaction_that_was_open_too_long_is_not_committed() {
    let (_folder, store) = store();
    let mut db = connect(store.url()).unwrap();
    let at = crate::clock::Timestamp::from_seconds(1);
    transaction::begin(&mut db).unwrap();
    throttles::count_failure(&mut db, "k", at, at).unwrap();
    let long_ago = Instant::now().checked_sub(MAX_TRANSACTION_AGE + Duration::from_secs(1)).unwrap();
    assert!(matches!(transaction::commit(&mut db, long_ago), Err(StoreError::Unavailable { .. })));
    assert_eq!(throttles::find(&mut db, &["k".to_owned()]).unwrap(), []);
}

#[test]
fn a_failed_change_writes_nothing() {
    let (_folder, store) = store();
    let at = crate::clock::Timestamp::from_seconds(1);
    let failed: Result<(), StoreError> = store.write(|db| {
        throttles::count_failure(db, "k", at, at)?;
        Err(StoreError::Abandoned)
    });
    assert!(matches!(failed, Err(StoreError::Abandoned)));
    assert_eq!(store.read(|db| throttles::find(db, &["k".to_owned()])).unwrap(), []);
}

#[test]
fn the_statements_of_a_refresh_are_parsed_once_per_connection() {
    let (_folder, store) = store();
    let parsed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&parsed);
    let id = SessionId(uuid::Uuid::from_u128(1));
    let at = crate::clock::Timestamp::from_seconds(1);
    let to = sessions::rotation::Rotation {
        dialect: "native".to_owned(),
        made_before: at,
        confirmed_before: at,
        at,
        key_id: "k".to_owned(),
        idle_expires_at: at,
        access_expires_at: at,
    };
    store
        .write(move |db| {
            let log = Arc::clone(&log);
            db.set_instrumentation(move |event: diesel::connection::InstrumentationEvent<'_>| {
                if let diesel::connection::InstrumentationEvent::CacheQuery { sql, .. } = event {
                    log.lock().unwrap().push(sql.to_owned());
                }
            });
            for generation in 0..3 {
                assert!(
                    sessions::rotation::rotate_live(
                        db,
                        id,
                        AccountUuid(uuid::Uuid::from_u128(1)),
                        (generation, None),
                        &to
                    )?
                    .is_none()
                );
                assert!(sessions::find(db, id)?.is_none());
            }
            Ok(())
        })
        .unwrap();
    let parsed = parsed.lock().unwrap();
    // The third is the count of changed rows.
    assert_eq!(parsed.len(), 3, "{parsed:?}");
    assert!(
        parsed.iter().all(|sql| !sql.contains("LIMIT")),
        "SQLite parses a statement anew when it binds a limit: {parsed:?}"
    );
}
