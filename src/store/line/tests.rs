//! What those who write together are promised, with a line whose batches stay open as long as anybody waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};

use super::*;
use crate::store::checkpoint::{Checkpointer, TOO_LONG, checkpoint};
use crate::store::{DatabaseUrl, connection};

const PATIENCE: Duration = Duration::from_secs(60);

type Told = std::thread::Result<Result<(), Error>>;

type Change<'a> = Box<dyn FnMut(&mut Db) -> Result<(), Error> + Send + 'a>;

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

struct Stand {
    _folder: tempfile::TempDir,
    url: DatabaseUrl,
    line: Arc<Line>,
    bell: Arc<Bell>,
}

impl Stand {
    fn new(patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("a.db"));
        let manager = Manager { url: url.clone(), lock_wait: PATIENCE };
        let pool = r2d2::Pool::builder().max_size(1).build(manager).unwrap();
        let bell = Arc::new(Bell::default());
        let line = Line { longest: PATIENCE, ..Line::new(pool, patience, Arc::clone(&bell)) };
        let stand = Self { _folder: folder, url, line: Arc::new(line), bell };
        let tables = "CREATE TABLE notes (n BIGINT PRIMARY KEY, filling BLOB); \
                      CREATE TABLE replies (n BIGINT REFERENCES notes (n) DEFERRABLE INITIALLY DEFERRED)";
        stand.line.write(&mut |db| execute(db, tables)).unwrap();
        stand
    }

    fn reader(&self) -> Db {
        connection::open(&self.url, PATIENCE).unwrap()
    }

    fn notes(&self) -> i64 {
        number(&mut self.reader(), "SELECT count(*) AS value FROM notes")
    }

    /// Runs the changes so that all of them wait behind the same writer, in this order; what each was told.
    fn together(&self, changes: Vec<Change<'_>>) -> Vec<Told> {
        let (line, all, first) = (&self.line, changes.len(), AtomicBool::new(true));
        std::thread::scope(|scope| {
            let hold = |_: &mut Db| {
                // Only once: whoever is run again must not wait for a line that is gone.
                while first.load(Ordering::SeqCst) && line.lock().waiting.len() < all {
                    std::thread::sleep(Duration::from_millis(1));
                }
                first.store(false, Ordering::SeqCst);
                Ok(())
            };
            let holder = scope.spawn(move || line.write(&mut { hold }));
            wait_until(|| line.lock().taken);
            let mut waiting = vec![];
            for (number, mut change) in changes.into_iter().enumerate() {
                waiting.push(scope.spawn(move || catch_unwind(AssertUnwindSafe(|| line.write(&mut change)))));
                wait_until(|| !first.load(Ordering::SeqCst) || line.lock().waiting.len() > number);
            }
            holder.join().unwrap().unwrap();
            waiting.into_iter().map(|writer| writer.join().unwrap()).collect()
        })
    }
}

fn wait_until(mut true_now: impl FnMut() -> bool) {
    let began = Instant::now();
    while !true_now() {
        assert!(began.elapsed() < PATIENCE, "in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn execute(db: &mut Db, statement: &str) -> Result<(), Error> {
    Ok(db.batch_execute(statement)?)
}

fn number(db: &mut Db, query: &str) -> i64 {
    diesel::sql_query(query).get_result::<Number>(db).unwrap().value
}

fn note(db: &mut Db, n: usize) -> Result<(), Error> {
    execute(db, &format!("INSERT INTO notes (n) VALUES ({n})"))
}

fn is_there(db: &mut Db, n: usize) -> bool {
    number(db, &format!("SELECT count(*) AS value FROM notes WHERE n = {n}")) == 1
}

/// Whether exactly those were told `Ok` whose note is there.
fn assert_told_the_truth(stand: &Stand, told: &[Told]) {
    let mut reader = stand.reader();
    for (n, told) in told.iter().enumerate() {
        assert_eq!(matches!(told, Ok(Ok(()))), is_there(&mut reader, n), "{n}: {told:?}");
    }
}

#[test]
fn those_who_wait_together_commit_together_and_in_order() {
    let stand = Stand::new(PATIENCE);
    let order = Mutex::new(vec![]);
    let change = |n: usize| -> Change<'_> {
        let (stand, order) = (&stand, &order);
        Box::new(move |db| {
            assert_eq!(stand.notes(), 0, "nothing is committed before the last one has run");
            order.lock().unwrap().push(n);
            note(db, n)
        })
    };
    let told = stand.together((0..20).map(change).collect());
    assert_eq!(stand.notes(), 20);
    assert_told_the_truth(&stand, &told);
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_batch_has_an_end_however_many_wait() {
    let stand = Stand::new(PATIENCE);
    let committed = Mutex::new(vec![]);
    let change = |n: usize| -> Change<'_> {
        let (stand, committed) = (&stand, &committed);
        Box::new(move |db| {
            committed.lock().unwrap().push(stand.notes());
            note(db, n)
        })
    };
    let told = stand.together((0..100).map(change).collect());
    assert_told_the_truth(&stand, &told);
    let committed = committed.into_inner().unwrap();
    assert_eq!((committed.first(), committed.last()), (Some(&0), Some(&63)), "64 with the one they waited for");
}

#[test]
fn a_failing_member_harms_nobody() {
    let stand = Stand::new(PATIENCE);
    let runs = AtomicUsize::new(0);
    let change = |n: usize| -> Change<'_> {
        let runs = &runs;
        Box::new(move |db| {
            runs.fetch_add(1, Ordering::SeqCst);
            note(db, n)?;
            match n % 4 {
                1 => Err(Error::Abandoned),
                2 => execute(db, "INSERT INTO notes (n) VALUES (0)"),
                3 => execute(db, "INSERT INTO nowhere VALUES (0)"),
                _ => Ok(()),
            }
        })
    };
    let told = stand.together((0..20).map(change).collect());
    assert_told_the_truth(&stand, &told);
    assert_eq!(stand.notes(), 5);
    assert!(matches!(told[1], Ok(Err(Error::Abandoned))));
    assert!(matches!(told[2], Ok(Err(Error::Taken))));
    assert_eq!(runs.into_inner(), 20, "nobody had to run again");
}

#[test]
fn a_failed_commit_tells_nobody_ok() {
    let stand = Stand::new(PATIENCE);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            note(db, n)?;
            execute(db, "INSERT INTO replies (n) VALUES (4711)")
        })
    };
    let told = stand.together((0..20).map(change).collect());
    assert_eq!(stand.notes(), 0);
    assert!(told.iter().all(|told| matches!(told, Ok(Err(_)))), "{told:?}");
    stand.line.write(&mut |db| note(db, 1)).unwrap();
}

#[test]
fn what_cannot_be_committed_fails_alone() {
    let stand = Stand::new(PATIENCE);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            note(db, n)?;
            if n == 7 { execute(db, "INSERT INTO replies (n) VALUES (4711)") } else { Ok(()) }
        })
    };
    let told = stand.together((0..20).map(change).collect());
    assert_told_the_truth(&stand, &told);
    assert_eq!(stand.notes(), 19);
}

#[test]
fn a_panic_poisons_nothing() {
    let stand = Stand::new(PATIENCE);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            note(db, n)?;
            if n % 5 == 3 { std::panic::panic_any("on purpose") } else { Ok(()) }
        })
    };
    let told = stand.together((0..20).map(change).collect());
    assert_told_the_truth(&stand, &told);
    assert_eq!(stand.notes(), 16);
    assert!(told[3].is_err(), "the panic goes on where it came from");
    stand.line.write(&mut |db| note(db, 3)).unwrap();
}

#[test]
fn a_disk_that_fills_up_makes_no_liars() {
    let stand = Stand::new(PATIENCE);
    let change = |n: usize| -> Change<'_> {
        Box::new(move |db| {
            let pages = number(db, "SELECT page_count AS value FROM pragma_page_count");
            execute(db, &format!("PRAGMA max_page_count = {}", pages + 20))?;
            // Every third one is too large.
            let size = if n % 3 == 2 { 4_000_000 } else { 1 };
            execute(db, &format!("INSERT INTO notes VALUES ({n}, zeroblob({size}))"))
        })
    };
    let told = stand.together((0..20).map(change).collect());
    assert_told_the_truth(&stand, &told);
    assert!(told.iter().enumerate().all(|(n, told)| matches!(told, Ok(Ok(()))) == (n % 3 != 2)), "{told:?}");
}

#[test]
fn readers_see_all_of_a_change_or_nothing() {
    let stand = Stand::new(PATIENCE);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader = stand.reader();
            let mut looks = 0;
            while !done.load(Ordering::SeqCst) || looks == 0 {
                assert_eq!(number(&mut reader, "SELECT count(*) AS value FROM notes") % 2, 0);
                looks += 1;
            }
        });
        let change = |n: usize| -> Change<'_> {
            Box::new(move |db| {
                note(db, 2 * n)?;
                note(db, 2 * n + 1)?;
                if n.is_multiple_of(3) { Err(Error::Abandoned) } else { Ok(()) }
            })
        };
        for round in 0..5 {
            stand.together((0..16).map(|n| change(16 * round + n)).collect());
        }
        done.store(true, Ordering::SeqCst);
        reading.join().unwrap();
    });
    assert_eq!(stand.notes(), 2 * (0..80).map(|n| i64::from(n % 3 != 0)).sum::<i64>());
}

#[test]
fn a_lone_writer_waits_for_nobody() {
    let stand = Stand::new(PATIENCE);
    let began = Instant::now();
    for n in 0..20 {
        stand.line.write(&mut |db| note(db, n)).unwrap();
        assert_eq!(stand.notes(), i64::try_from(n).unwrap() + 1);
    }
    assert!(began.elapsed() < PATIENCE / 2, "its batch could have stayed open for {PATIENCE:?}");
}

#[test]
fn whose_turn_does_not_come_in_time_takes_no_part() {
    let stand = Stand::new(Duration::from_millis(50));
    let told = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let hold = |db: &mut Db| {
                wait_until(|| told.load(Ordering::SeqCst));
                note(db, 0)
            };
            stand.line.write(&mut { hold })
        });
        wait_until(|| stand.line.lock().taken);
        let late = stand.line.write(&mut |db| note(db, 1));
        assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
        told.store(true, Ordering::SeqCst);
        holder.join().unwrap().unwrap();
    });
    stand.line.write(&mut |db| note(db, 2)).unwrap();
    assert_eq!(stand.notes(), 2);
    assert!(stand.line.lock().waiting.is_empty());
}

#[test]
fn a_long_log_is_begun_anew_while_writers_go_on() {
    let stand = Stand::new(PATIENCE);
    let long = |db: &mut Db| execute(db, "INSERT INTO notes VALUES (-1, zeroblob(25000000))");
    stand.line.write(&mut { long }).unwrap();
    let mut reader = stand.reader();
    let length = checkpoint(&mut reader, "NOOP").unwrap();
    assert!((5000..TOO_LONG).contains(&length), "{length}");
    let checkpointer = Checkpointer::start(&stand.url, Arc::clone(&stand.line), Arc::clone(&stand.bell)).unwrap();
    stand.bell.count(1000);
    let mut n = 0;
    wait_until(|| {
        stand.line.write(&mut |db| note(db, n)).unwrap();
        n += 1;
        checkpoint(&mut reader, "NOOP").unwrap() < 1000
    });
    drop(checkpointer);
    assert_eq!(stand.notes(), i64::try_from(n).unwrap() + 1);
}

#[derive(QueryableByName)]
struct Carried {
    #[diesel(sql_type = Integer)]
    log: i32,
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

#[test]
fn a_log_is_as_long_as_the_rows_that_were_changed() {
    let stand = Stand::new(PATIENCE);
    let _checkpointer = Checkpointer::start(&stand.url, Arc::clone(&stand.line), Arc::clone(&stand.bell)).unwrap();
    let rows = "WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 1999) \
                INSERT INTO notes SELECT n, zeroblob(3000) FROM c";
    stand.line.write(&mut |db| execute(db, rows)).unwrap();
    let mut reader = stand.reader();
    wait_until(|| {
        let query = diesel::sql_query("PRAGMA wal_checkpoint(NOOP)");
        let Carried { log, checkpointed } = query.get_result(&mut reader).unwrap();
        assert!(log >= 1000, "{log}");
        log == checkpointed
    });
}
