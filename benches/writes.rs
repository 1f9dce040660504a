//! Group commit against single commits: rotations of refresh tokens on SQLite, durable (synchronous=FULL), by 1 to 64
//! threads, in three ways that take turns within one run:
//!
//! - one commit for each, through one connection;
//! - `Store::write`;
//! - a bare loop on one thread: the same statements, as many in a transaction as there are threads.
//!
//! ```text
//! cargo bench --bench writes            # SESSIONS=100000 ROUNDS=5 MILLISECONDS=1000 DIR=a/folder
//! ```
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is no service: it reads its environment itself")]

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use doorward::clock::Timestamp;
use doorward::metrics::Metrics;
use doorward::store::tables::accounts;
use doorward::store::tables::sessions;
use doorward::store::tables::sessions::SessionRow;
use doorward::store::tables::sessions::rotation::{self, Rotation};
use doorward::store::{AccountId, AccountStatus, AccountUuid, DatabaseUrl, Db, SessionId, Store, StoreError};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_seconds(4_000_000_000);

const LATER: Timestamp = Timestamp::from_seconds(4_001_000_000);

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

const OWNER: AccountId = AccountId(1);
const OWNER_UUID: AccountUuid = AccountUuid(Uuid::from_u128(1));

/// Ids come in no order that the table has.
fn session_id(number: u64) -> SessionId {
    SessionId(Uuid::from_u64_pair(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number))
}

fn account() -> accounts::NewAccount {
    accounts::NewAccount {
        id: Some(OWNER),
        uuid: OWNER_UUID,
        email: None,
        email_canonical: Some("a@b.example".to_owned()),
        email_verified: false,
        username: None,
        username_canonical: None,
        name: None,
        name_canonical: None,
        first_name: None,
        last_name: None,
        gender: None,
        image: None,
        phone: None,
        role: "USER".to_owned(),
        permissions: String::new(),
        stats: "{}".to_owned(),
        profile: "{}".to_owned(),
        status: AccountStatus::Active,
        password: None,
        pin: None,
        last_sign_in_at: None,
        created_at: NOW,
        updated_at: NOW,
        must_change_password: false,
    }
}

fn session(number: u64) -> SessionRow {
    SessionRow {
        id: session_id(number),
        account_id: OWNER,
        dialect: "native".to_owned(),
        epoch: 0,
        generation: 0,
        min_generation: 0,
        key_id: "k1".to_owned(),
        rotated_at: NOW,
        confirmed_at: None,
        created_at: NOW,
        last_seen_at: NOW,
        idle_expires_at: LATER,
        expires_at: LATER,
        access_expires_at: LATER,
        persistent: true,
        device_id: None,
        device_name: None,
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned()),
        address: Some("192.0.2.7".to_owned()),
        ended_at: None,
        end_reason: None,
        parent: None,
        access_ttl: 900_000,
    }
}

fn fill(store: &Store, rows: u64) {
    store.write(|db| accounts::insert(db, &account())).unwrap();
    for first in (0..rows).step_by(1000) {
        let add = |db: &mut Db| (first..rows.min(first + 1000)).try_for_each(|n| sessions::insert(db, &session(n)));
        store.write(add).unwrap();
    }
}

/// The generation of each session, as its client knows it.
struct Clients(Vec<AtomicI64>);

impl Clients {
    /// Rotates once, by what `within` makes of a change.
    fn refresh(&self, number: u64, within: impl FnOnce(&mut dyn FnMut(&mut Db) -> Result<(), StoreError>)) {
        let known = &self.0[usize::try_from(number).unwrap()];
        let generation = known.load(Ordering::Relaxed);
        within(&mut |db| {
            let to = Rotation {
                dialect: "native".to_owned(),
                // Every generation is old enough: the statement is measured, not the protocol.
                made_before: LATER,
                confirmed_before: LATER,
                at: NOW,
                key_id: "k1".to_owned(),
                idle_expires_at: LATER,
                access_expires_at: LATER,
            };
            let rotated = rotation::rotate_live(db, session_id(number), OWNER_UUID, (generation, Some(NOW)), &to)?;
            rotated.map(|_| ()).ok_or(StoreError::Abandoned)
        });
        known.store(generation + 1, Ordering::Relaxed);
    }
}

/// How long each operation took, and all of them together.
struct Run {
    waits: Vec<Duration>,
    seconds: f64,
}

impl Run {
    fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.waits.len()).unwrap()) / self.seconds
    }

    fn wait(&self, percent: usize) -> f64 {
        let at = (self.waits.len() * percent / 1000).min(self.waits.len() - 1);
        self.waits[at].as_secs_f64() * 1e3
    }
}

/// The sessions of one thread, none of which is another's.
fn numbers(rows: u64, threads: usize, thread: usize, round: usize) -> impl Iterator<Item = u64> {
    let (share, mut state) = (rows / threads as u64, (thread + 97 * round) as u64 + 1);
    let first = share * thread as u64;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(first + (state >> 33) % share)
    })
}

/// Lets so many threads call `operate` as often as they can.
fn race(threads: usize, rows: u64, round: usize, time: Duration, operate: impl Fn(u64) + Sync) -> Run {
    let (start, all) = (Barrier::new(threads), Mutex::new(vec![]));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (start, all, operate) = (&start, &all, &operate);
            scope.spawn(move || {
                let mut waits = vec![];
                start.wait();
                for number in numbers(rows, threads, thread, round) {
                    let asked = Instant::now();
                    operate(number);
                    waits.push(asked.elapsed());
                    if began.elapsed() > time {
                        break;
                    }
                }
                all.lock().unwrap().append(&mut waits);
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut waits = all.into_inner().unwrap();
    waits.sort();
    Run { waits, seconds }
}

fn transaction(db: &mut Db, work: impl FnOnce(&mut Db)) {
    db.batch_execute("BEGIN IMMEDIATE").unwrap();
    work(db);
    db.batch_execute("COMMIT").unwrap();
}

fn bare_loop(db: &mut Db, known: &Clients, threads: usize, round: usize, time: Duration) -> Run {
    let (began, mut waits, rows) = (Instant::now(), vec![], known.0.len() as u64);
    let mut clients: Vec<_> = (0..threads).map(|thread| numbers(rows, threads, thread, round)).collect();
    while began.elapsed() < time {
        let asked = Instant::now();
        transaction(db, |db| {
            for numbers in &mut clients {
                known.refresh(numbers.next().unwrap(), |change| change(db).unwrap());
            }
        });
        waits.extend(std::iter::repeat_n(asked.elapsed(), threads));
    }
    waits.sort();
    Run { waits, seconds: began.elapsed().as_secs_f64() }
}

fn plain_connection(file: &Path) -> Db {
    let mut db = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    let pragmas =
        "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
    db.batch_execute(pragmas).unwrap();
    Db::Sqlite(db)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let (rows, rounds) = (setting("SESSIONS", 100_000) as u64, setting("ROUNDS", 5));
    let time = Duration::from_millis(setting("MILLISECONDS", 1000) as u64);
    let parent = std::env::var("DIR").unwrap_or_else(|_unset| env!("CARGO_TARGET_TMPDIR").to_owned());
    let folder = tempfile::tempdir_in(parent).unwrap();
    let file = folder.path().join("writes.db");
    let metrics = Metrics::new().unwrap();
    let store = Store::open(&DatabaseUrl::Sqlite(file.clone()), 8, Duration::from_secs(30), metrics).unwrap();
    store.migrate().unwrap();
    fill(&store, rows);
    let known = Clients((0..rows).map(|_| AtomicI64::new(0)).collect());
    let plain = Mutex::new(plain_connection(&file));
    println!("{rows} sessions in {}; medians of {rounds} runs of {time:?}; waits in ms", file.display());
    println!("threads  way          op/s  ratio  p50     p99     p99.9   worst of all runs");
    for threads in [1, 8, 32, 64] {
        let mut ways: [(&str, Vec<Run>); 3] = [("one each", vec![]), ("store", vec![]), ("bare loop", vec![])];
        for round in 0..rounds {
            let alone = |number| {
                known.refresh(number, |change| transaction(&mut plain.lock().unwrap(), |db| change(db).unwrap()));
            };
            let together = |number| known.refresh(number, |change| store.write(change).unwrap());
            ways[0].1.push(race(threads, rows, round, time, alone));
            ways[1].1.push(race(threads, rows, round, time, together));
            ways[2].1.push(bare_loop(&mut plain.lock().unwrap(), &known, threads, round, time));
        }
        let one_each = median(ways[0].1.iter().map(Run::rate).collect());
        for (way, runs) in &ways {
            let of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
            let worst = runs.iter().map(|run| run.wait(1000)).fold(0.0, f64::max);
            let (rate, p50, p99, p999) =
                (of(&Run::rate), of(&|run| run.wait(500)), of(&|run| run.wait(990)), of(&|run| run.wait(999)));
            let ratio = rate / one_each;
            println!(
                "{threads:>7}  {way:<9} {rate:>7.0}  {ratio:>5.2}  {p50:<6.3}  {p99:<6.3}  {p999:<6.3}  {worst:.1}"
            );
        }
        let bare = median(ways[2].1.iter().map(Run::rate).collect());
        println!("         store to bare loop: {:.2}", median(ways[1].1.iter().map(Run::rate).collect()) / bare);
    }
}
