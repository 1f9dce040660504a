//! The promises of the write queue and of group commit, with a queue whose groups stay open as long as a change waits; and
//! the checkpoint thread beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};

use super::*;
use crate::store::connection;
use crate::store::database_file::DatabaseFile;
use crate::store::database_url::DatabaseUrl;
use crate::store::sqlite_writer::wal_checkpoint::{Checkpointer, checkpoint};
use crate::store::sqlite_writer::wal_pressure::AUTOCHECKPOINT_PAGES;

/// How long a test waits for what must happen.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What `write` returned, or the panic that left it.
type Outcome = std::thread::Result<Result<(), StoreError>>;

type Change<'a> = Box<dyn FnMut(&mut Db) -> Result<(), StoreError> + Send + 'a>;

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// A database with two tables, and the queue before it.
struct TestQueue {
    _folder: tempfile::TempDir,
    url: DatabaseUrl,
    queue: Arc<WriteQueue>,
    wal_pressure: Arc<WalPressure>,
}

impl TestQueue {
    fn new(max_wait: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("a.db"));
        connection::create_private(&url).unwrap();
        let file = DatabaseFile::of(&url).unwrap();
        let manager = Manager { url: url.clone(), file, lock_wait: TEST_TIMEOUT };
        let pool = r2d2::Pool::builder().max_size(1).build(manager).unwrap();
        let wal_pressure = Arc::new(WalPressure::default());
        let queue = WriteQueue::new(pool, max_wait, Arc::clone(&wal_pressure));
        let queue = Arc::new(WriteQueue { max_group_age: TEST_TIMEOUT, ..queue });
        let test = Self { _folder: folder, url, queue, wal_pressure };
        let tables = "CREATE TABLE notes (n BIGINT PRIMARY KEY, filling BLOB); \
                      CREATE TABLE replies (n BIGINT REFERENCES notes (n) DEFERRABLE INITIALLY DEFERRED)";
        test.queue.write(&mut |db| execute(db, tables)).unwrap();
        test
    }

    fn reader(&self) -> Db {
        connection::open(&self.url, TEST_TIMEOUT).unwrap()
    }

    fn notes(&self) -> i64 {
        number(&mut self.reader(), "SELECT count(*) AS value FROM notes")
    }

    /// Runs the changes so that all of them wait behind the same writer, in this order; returns each one's outcome.
    fn write_group(&self, changes: Vec<Change<'_>>) -> Vec<Outcome> {
        let (queue, all, first) = (&self.queue, changes.len(), AtomicBool::new(true));
        std::thread::scope(|scope| {
            let hold = |_: &mut Db| {
                // Only the first time: a change that runs again would wait for a queue that is empty by then.
                while first.load(Ordering::SeqCst) && queue.lock().waiting.len() < all {
                    std::thread::sleep(Duration::from_millis(1));
                }
                first.store(false, Ordering::SeqCst);
                Ok(())
            };
            let holder = scope.spawn(move || queue.write(&mut { hold }));
            wait_until(|| queue.lock().busy);
            let mut waiting = vec![];
            for (number, mut change) in changes.into_iter().enumerate() {
                waiting.push(scope.spawn(move || catch_unwind(AssertUnwindSafe(|| queue.write(&mut change)))));
                wait_until(|| !first.load(Ordering::SeqCst) || queue.lock().waiting.len() > number);
            }
            holder.join().unwrap().unwrap();
            waiting.into_iter().map(|writer| writer.join().unwrap()).collect()
        })
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < TEST_TIMEOUT, "timed out");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn execute(db: &mut Db, statement: &str) -> Result<(), StoreError> {
    Ok(db.batch_execute(statement)?)
}

fn number(db: &mut Db, query: &str) -> i64 {
    diesel::sql_query(query).get_result::<Number>(db).unwrap().value
}

fn insert_note(db: &mut Db, n: usize) -> Result<(), StoreError> {
    execute(db, &format!("INSERT INTO notes (n) VALUES ({n})"))
}

fn has_note(db: &mut Db, n: usize) -> bool {
    number(db, &format!("SELECT count(*) AS value FROM notes WHERE n = {n}")) == 1
}

/// Exactly those changes returned `Ok` whose row is there.
fn assert_outcomes_match_rows(test: &TestQueue, outcomes: &[Outcome]) {
    let mut reader = test.reader();
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(matches!(outcome, Ok(Ok(()))), has_note(&mut reader, n), "{n}: {outcome:?}");
    }
}

#[test]
fn group_commit_writes_waiting_changes_in_one_commit_and_in_order() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let order = Mutex::new(vec![]);
    let change = |n: usize| -> Change<'_> {
        let (test, order) = (&test, &order);
        Box::new(move |db| {
            assert_eq!(test.notes(), 0, "nothing is committed before the last member has run");
            order.lock().unwrap().push(n);
            insert_note(db, n)
        })
    };
    let outcomes = test.write_group((0..20).map(change).collect());
    assert_eq!(test.notes(), 20);
    assert_outcomes_match_rows(&test, &outcomes);
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_group_has_at_most_64_members_however_many_changes_wait() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let committed = Mutex::new(vec![]);
    let change = |n: usize| -> Change<'_> {
        let (test, committed) = (&test, &committed);
        Box::new(move |db| {
            committed.lock().unwrap().push(test.notes());
            insert_note(db, n)
        })
    };
    let outcomes = test.write_group((0..100).map(change).collect());
    assert_outcomes_match_rows(&test, &outcomes);
    let committed = committed.into_inner().unwrap();
    assert_eq!((committed.first(), committed.last()), (Some(&0), Some(&63)), "64 with the change that they waited for");
}

#[test]
fn a_member_that_fails_is_undone_alone() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let runs = AtomicUsize::new(0);
    let change = |n: usize| -> Change<'_> {
        let runs = &runs;
        Box::new(move |db| {
            runs.fetch_add(1, Ordering::SeqCst);
            insert_note(db, n)?;
            match n % 4 {
                1 => Err(StoreError::Abandoned),
                2 => execute(db, "INSERT INTO notes (n) VALUES (0)"),
                3 => execute(db, "INSERT INTO nowhere VALUES (0)"),
                _ => Ok(()),
            }
        })
    };
    let outcomes = test.write_group((0..20).map(change).collect());
    assert_outcomes_match_rows(&test, &outcomes);
    assert_eq!(test.notes(), 5);
    assert!(matches!(outcomes[1], Ok(Err(StoreError::Abandoned))));
    assert!(matches!(outcomes[2], Ok(Err(StoreError::Taken))));
    assert_eq!(runs.into_inner(), 20, "no change had to run again");
}

#[test]
fn no_member_returns_ok_when_the_commit_fails() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            insert_note(db, n)?;
            execute(db, "INSERT INTO replies (n) VALUES (4711)")
        })
    };
    let outcomes = test.write_group((0..20).map(change).collect());
    assert_eq!(test.notes(), 0);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Err(_)))), "{outcomes:?}");
    test.queue.write(&mut |db| insert_note(db, 1)).unwrap();
}

#[test]
fn a_change_that_makes_the_commit_fail_fails_alone() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            insert_note(db, n)?;
            if n == 7 { execute(db, "INSERT INTO replies (n) VALUES (4711)") } else { Ok(()) }
        })
    };
    let outcomes = test.write_group((0..20).map(change).collect());
    assert_outcomes_match_rows(&test, &outcomes);
    assert_eq!(test.notes(), 19);
}

#[test]
fn a_panic_in_a_member_leaves_the_queue_usable() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            insert_note(db, n)?;
            if n % 5 == 3 { std::panic::panic_any("on purpose") } else { Ok(()) }
        })
    };
    let outcomes = test.write_group((0..20).map(change).collect());
    assert_outcomes_match_rows(&test, &outcomes);
    assert_eq!(test.notes(), 16);
    assert!(outcomes[3].is_err(), "the panic unwinds through its own caller");
    test.queue.write(&mut |db| insert_note(db, 3)).unwrap();
}

#[test]
fn a_full_disk_fails_only_the_changes_that_are_too_large() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            let pages = number(db, "SELECT page_count AS value FROM pragma_page_count");
            execute(db, &format!("PRAGMA max_page_count = {}", pages + 20))?;
            // Every third one is too large.
            let size = if n % 3 == 2 { 4_000_000 } else { 1 };
            execute(db, &format!("INSERT INTO notes VALUES ({n}, zeroblob({size}))"))
        })
    };
    let outcomes = test.write_group((0..20).map(change).collect());
    assert_outcomes_match_rows(&test, &outcomes);
    assert!(outcomes.iter().enumerate().all(|(n, one)| matches!(one, Ok(Ok(()))) == (n % 3 != 2)), "{outcomes:?}");
}

#[test]
fn readers_see_all_of_a_change_or_nothing() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader = test.reader();
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) || reads == 0 {
                assert_eq!(number(&mut reader, "SELECT count(*) AS value FROM notes") % 2, 0);
                reads += 1;
            }
        });
        let change = |n: usize| -> Change<'_> {
            Box::new(move |db| {
                insert_note(db, 2 * n)?;
                insert_note(db, 2 * n + 1)?;
                if n.is_multiple_of(3) { Err(StoreError::Abandoned) } else { Ok(()) }
            })
        };
        for round in 0..5 {
            test.write_group((0..16).map(|n| change(16 * round + n)).collect());
        }
        done.store(true, Ordering::SeqCst);
        reading.join().unwrap();
    });
    assert_eq!(test.notes(), 2 * (0..80).map(|n| i64::from(n % 3 != 0)).sum::<i64>());
}

#[test]
fn a_single_writer_commits_without_waiting_for_others() {
    let mut test = TestQueue::new(TEST_TIMEOUT);
    // No group is ever too old: a writer that waited for others would never return.
    Arc::get_mut(&mut test.queue).unwrap().max_group_age = Duration::MAX;
    let writer = std::thread::spawn(move || {
        for n in 0..20 {
            test.queue.write(&mut |db| insert_note(db, n)).unwrap();
            assert_eq!(test.notes(), i64::try_from(n).unwrap() + 1, "committed before the next one comes");
            assert!(!test.queue.lock().busy, "its group has ended");
        }
    });
    wait_until(|| writer.is_finished());
    writer.join().unwrap();
}

#[test]
fn a_change_that_is_not_granted_in_time_is_not_written() {
    let test = TestQueue::new(Duration::from_millis(50));
    let timed_out = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let hold = |db: &mut Db| {
                wait_until(|| timed_out.load(Ordering::SeqCst));
                insert_note(db, 0)
            };
            test.queue.write(&mut { hold })
        });
        wait_until(|| test.queue.lock().busy);
        let late = test.queue.write(&mut |db| insert_note(db, 1));
        assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
        timed_out.store(true, Ordering::SeqCst);
        holder.join().unwrap().unwrap();
    });
    test.queue.write(&mut |db| insert_note(db, 2)).unwrap();
    assert_eq!(test.notes(), 2);
    assert!(test.queue.lock().waiting.is_empty());
}

#[test]
fn wal_checkpoint_restarts_a_long_log_while_writers_go_on() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let long = |db: &mut Db| execute(db, "INSERT INTO notes VALUES (-1, zeroblob(25000000))");
    test.queue.write(&mut { long }).unwrap();
    let mut reader = test.reader();
    let length = checkpoint(&mut reader, "NOOP").unwrap();
    assert!((5000..AUTOCHECKPOINT_PAGES).contains(&length), "{length}");
    let checkpointer = Checkpointer::start(&test.url, Arc::clone(&test.queue), Arc::clone(&test.wal_pressure)).unwrap();
    test.wal_pressure.record_rows(1000);
    let mut n = 0;
    wait_until(|| {
        test.queue.write(&mut |db| insert_note(db, n)).unwrap();
        n += 1;
        checkpoint(&mut reader, "NOOP").unwrap() < 1000
    });
    drop(checkpointer);
    assert_eq!(test.notes(), i64::try_from(n).unwrap() + 1);
}

/// The pages of the log, and how many of them are in the database file.
#[derive(QueryableByName)]
struct LogState {
    #[diesel(sql_type = Integer)]
    log: i32,
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

#[test]
fn wal_checkpoint_is_triggered_by_changed_rows() {
    let test = TestQueue::new(TEST_TIMEOUT);
    let _checkpointer =
        Checkpointer::start(&test.url, Arc::clone(&test.queue), Arc::clone(&test.wal_pressure)).unwrap();
    let rows = "WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 1999) \
                INSERT INTO notes SELECT n, zeroblob(3000) FROM c";
    test.queue.write(&mut |db| execute(db, rows)).unwrap();
    let mut reader = test.reader();
    wait_until(|| {
        let query = diesel::sql_query("PRAGMA wal_checkpoint(NOOP)");
        let LogState { log, checkpointed } = query.get_result(&mut reader).unwrap();
        assert!(log >= 1000, "{log}");
        log == checkpointed
    });
}
