//! Cost of a refresh: through doorward with 1, 8 and 64 clients, beside doorward's own statements in a bare loop with
//! single and group commits, on SQLite; beside pgbench on PostgreSQL.

use std::collections::HashMap;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use doorward::clock::{Clock, Timestamp};
use doorward::settings::TokenAlgorithm;
use doorward::store::Db;
use doorward::store::tables::sessions::rotation::{self, Rotation};

use super::check::Ground;
use super::load::{self, Outcome, Pace, Visitor};
use super::machine::Pinned;
use super::node::{Node, Place};
use super::postgres::Cluster;
use super::report::{Goal, Report, Series, interleaved};
use super::seed::{self, Keys, Rows};
use super::witness::{self, Longest, Span};
use super::{Plan, machine};

/// Connections to PostgreSQL, doorward's and pgbench's.
pub const CONNECTIONS: usize = 8;

/// A prime: pages in random order, as in production.
const STRIDE: u64 = 7919;

/// The rotation, as doorward writes it, of any session.
pub const UPDATE: &str = "UPDATE sessions SET generation = generation + 1, parent = generation, confirmed_at = NULL, \
    rotated_at = :at::bigint, last_seen_at = :at::bigint, key_id = 'bench', \
    idle_expires_at = CASE WHEN expires_at < :at::bigint + 2592000000 THEN expires_at ELSE :at::bigint + 2592000000 END, \
    access_expires_at = CASE WHEN access_expires_at >= :at::bigint + 900000 THEN access_expires_at \
    WHEN expires_at < :at::bigint + 900000 THEN expires_at ELSE :at::bigint + 900000 END \
    WHERE id = decode(lpad(to_hex(:n::bigint), 32, '0'), 'hex') AND generation >= 0 AND min_generation <= generation \
    AND ended_at IS NULL AND idle_expires_at > :at::bigint AND expires_at > :at::bigint AND account_id > 0 \
    AND (generation = 0 OR rotated_at < :at::bigint + 1) AND dialect = 'native' \
    AND EXISTS (SELECT id FROM accounts WHERE id = sessions.account_id AND epoch = sessions.epoch AND status = 'active' \
    AND uuid = decode(lpad(to_hex(:n::bigint % 1000), 32, '0'), 'hex')) \
    RETURNING *, (SELECT role FROM accounts WHERE id = sessions.account_id), \
    (SELECT must_change_password FROM accounts WHERE id = sessions.account_id);\n";

/// The refresh tokens of sessions.
type Tokens = Box<dyn Iterator<Item = String> + Send>;

/// Clients that refresh sessions of their own, each session once.
pub struct Crowd {
    browsers: Vec<Visitor<Tokens>>,
}

impl Crowd {
    /// So many, with these sessions dealt out among them.
    pub fn new(keys: &Arc<Keys>, sessions: Range<u64>, clients: usize) -> Self {
        let tokens = |client: u64| -> Tokens {
            let (keys, sessions) = (Arc::clone(keys), sessions.clone());
            // Of all sessions alike, so that a grown index is really walked: a stride that is no divisor of their number.
            let count = sessions.end - sessions.start;
            let nth = move |turn: u64| keys.refresh(sessions.start + turn.wrapping_mul(STRIDE) % count);
            Box::new((client..count).step_by(clients).map(nth))
        };
        Self { browsers: (0..clients as u64).map(|client| Visitor::refreshing(tokens(client))).collect() }
    }

    /// Refreshes as fast as it goes.
    pub fn refresh(&mut self, node: &Node, seconds: f64) -> Outcome {
        let browsers = std::mem::take(&mut self.browsers);
        let (outcome, browsers) =
            load::drive(node.address, Some(machine::load_core()), browsers, Pace::Closed, seconds);
        self.browsers = browsers;
        outcome.must_be(&[200]);
        outcome
    }
}

/// 1, 8 and 64 clients, with a part of the sessions that is large enough for each.
fn crowds(keys: &Arc<Keys>, sessions: u64) -> [Crowd; 3] {
    let (some, most) = (sessions / 8, sessions / 2);
    [(0..some, 1), (some..most, 8), (most..of_pgbench(sessions), 64)]
        .map(|(part, clients)| Crowd::new(keys, part, clients))
}

/// On both.
pub fn measure(plan: &Plan, report: &mut Report) {
    on_sqlite(plan, report);
    on_postgres(plan, report);
}

fn on_sqlite(plan: &Plan, report: &mut Report) {
    let rows = Rows { sessions: plan.many, ..Rows::default() };
    let ground = Ground::new(plan, "refresh", TokenAlgorithm::Hs256, rows);
    let bare = ground.folder().join("bare.db");
    std::fs::copy(ground.folder().join("doorward.db"), &bare).unwrap();
    machine::settle();
    let node = ground.place().serve();
    let mut crowds = crowds(&ground.keys, plan.many);
    let mut bare = Bare::open(&bare, plan.many);
    let names = [
        "doorward, 1 client",
        "doorward, 8 clients",
        "doorward, 64 clients",
        "loop, 1 a commit",
        "loop, 64 a commit",
        "the disk: a page, fdatasync",
    ];
    let (page, watched) = (ground.folder().join("page"), ground.folder().join("watched"));
    let mut disk = Longest::default();
    let mut worst: Vec<Series> = names.iter().map(|name| Series::new(name)).collect();
    let rates = interleaved(plan.rounds, &names, |at| {
        // Beside every variant, so that the synced page disturbs all of them equally.
        let (Driven { rate, longest, slow }, syncs) = witness::beside(&watched, || match at {
            0..=2 => Driven::of(crowds[at].refresh(&node, plan.seconds)),
            3 => bare.run(1, plan.seconds),
            4 => bare.run(64, plan.seconds),
            _ => bare_disk(&page, plan.seconds),
        });
        disk = disk.or(Longest::of(if at < 3 { &syncs } else { &[] }, &slow));
        worst[at].values.push(longest);
        rate
    });
    tell_sqlite(report, &rates, &worst, disk);
}

/// The rate, the longest time in milliseconds, and the slow ones.
struct Driven {
    rate: f64,
    longest: f64,
    slow: Vec<Span>,
}

impl Driven {
    fn of(outcome: Outcome) -> Self {
        Self { rate: outcome.rate(), longest: outcome.worst(200) / 1e3, slow: outcome.slow }
    }

    fn bare(done: u32, began: Instant, longest: Duration) -> Self {
        let rate = f64::from(done) / began.elapsed().as_secs_f64();
        Self { rate, longest: longest.as_secs_f64() * 1e3, slow: vec![] }
    }
}

fn tell_sqlite(report: &mut Report, rates: &[Series], worst: &[Series], disk: Longest) {
    report.note(
        "SQLite, WAL, synchronous=FULL. The loop runs doorward's own statement on the server's core, without HTTP and \
         without tokens.",
    );
    report.ratio("64 clients ÷ one commit a refresh", &rates[2], &rates[3], Some(Goal::AtLeast(4.0)));
    report.ratio("64 clients ÷ the loop with 64 a commit", &rates[2], &rates[4], Some(Goal::AtLeast(0.7)));
    let longest = |of: &[Series]| of.iter().flat_map(|one| &one.values).copied().fold(0.0, f64::max);
    let waited = "the longest that any refresh waited, all rounds";
    report.figure(waited, longest(&worst[..3]), "ms", Some(Goal::AtMost(100.0)));
    report.figure("a page synced every 5 ms beside them: its longest sync", disk.sync, "ms", None);
    let beside = "the longest that any refresh waited while that page did not";
    report.figure(beside, disk.beside, "ms", Some(Goal::AtMost(100.0)));
    // A stalling disk affects every variant.
    report.figure("the longest commit without doorward, all rounds", longest(&worst[3..]), "ms", None);
    report.series("Refreshes on SQLite", "refreshes/s", rates);
    report.series("Worst latency on SQLite, of the loop per commit", "ms", worst);
}

/// A page, rewritten and synced each time.
fn bare_disk(file: &Path, seconds: f64) -> Driven {
    let _pinned = Pinned::to(machine::server_core());
    // Not truncated: freeing blocks is work for the disk.
    let file = std::fs::File::options().write(true).create(true).truncate(false).open(file).unwrap();
    let (began, mut done, mut worst) = (Instant::now(), 0_u32, Duration::ZERO);
    while began.elapsed().as_secs_f64() < seconds {
        let write = Instant::now();
        file.write_all_at(&[0; 4096], 0).unwrap();
        file.sync_data().unwrap();
        worst = worst.max(write.elapsed());
        done += 1;
    }
    Driven::bare(done, began, worst)
}

/// The statements without a service.
pub struct Bare {
    db: Db,
    sessions: u64,
    next: u64,
    generations: HashMap<u64, i64>,
}

impl Bare {
    /// On a file of its own, opened as doorward opens it.
    pub fn open(file: &Path, sessions: u64) -> Self {
        let mut db = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        let pragmas = "PRAGMA busy_timeout = 1500; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
        db.batch_execute(pragmas).unwrap();
        Self { db: Db::Sqlite(db), sessions, next: 0, generations: HashMap::new() }
    }

    /// This many rotations a commit; the longest time is of a commit with all of it.
    fn run(&mut self, batch: usize, seconds: f64) -> Driven {
        let _pinned = Pinned::to(machine::server_core());
        let (began, mut done, mut worst) = (Instant::now(), 0_u32, Duration::ZERO);
        while began.elapsed().as_secs_f64() < seconds {
            let commit = Instant::now();
            self.db.batch_execute("BEGIN IMMEDIATE").unwrap();
            for _ in 0..batch {
                self.next = (self.next + STRIDE) % self.sessions;
                self.rotate(self.next);
                done += 1;
            }
            self.db.batch_execute("COMMIT").unwrap();
            worst = worst.max(commit.elapsed());
        }
        Driven::bare(done, began, worst)
    }

    fn rotate(&mut self, n: u64) {
        let now: Timestamp = Clock::system().now();
        let to = Rotation {
            dialect: "native".to_owned(),
            // Every generation is old enough: the statement is measured, not the protocol.
            made_before: now.plus(Duration::from_secs(1)),
            confirmed_before: now.plus(Duration::from_secs(1)),
            at: now,
            key_id: "bench".to_owned(),
            idle_expires_at: now.plus(Duration::from_secs(30 * 86_400)),
            access_expires_at: now.plus(Duration::from_secs(900)),
        };
        let generation = self.generations.entry(n).or_default();
        let (owner, session) = (seed::account_uuid(n), seed::session(n));
        rotation::rotate_live(&mut self.db, session, owner, (*generation, Some(now)), &to)
            .unwrap()
            .expect("no concurrent rotation");
        *generation += 1;
    }
}

/// The first of the sessions that pgbench rotates: a client would be refused where it has been before.
const fn of_pgbench(sessions: u64) -> u64 {
    sessions - sessions / 16
}

/// A pgbench script: a random session that none of our clients uses, and then these statements.
pub fn script(sessions: u64, statements: &[&str]) -> String {
    let now = Clock::system().now().as_millis();
    format!("\\set n random({}, {})\n\\set at {now}\n{}", of_pgbench(sessions), sessions - 1, statements.concat())
}

fn on_postgres(plan: &Plan, report: &mut Report) {
    // The database on one core, its clients on the other.
    let cluster = Cluster::start(machine::server_core());
    let rows = Rows { sessions: plan.many, ..Rows::default() };
    let ground = Ground::new(plan, "refresh-postgres", TokenAlgorithm::Hs256, Rows::default());
    let url = seed::postgres(&cluster, "refresh", rows);
    let node = postgres_place(&ground, &url).serve();
    let mut crowds = crowds(&ground.keys, plan.many);
    let update = script(rows.sessions, &[UPDATE]);
    let names = ["doorward, 1 client", "doorward, 8 clients", "doorward, 64 clients", "pgbench, the same statement"];
    let mut worst: Vec<Series> = names[..3].iter().map(|name| Series::new(name)).collect();
    let rates = interleaved(plan.rounds, &names, |at| match at {
        0..=2 => {
            let outcome = crowds[at].refresh(&node, plan.seconds);
            worst[at].values.push(outcome.worst(200) / 1e3);
            outcome.rate()
        }
        _ => cluster.pgbench("refresh", &update, CONNECTIONS, plan.seconds).rate,
    });
    report.note(&format!(
        "PostgreSQL, fsync on, on the first core; doorward with {CONNECTIONS} connections and its clients on the last; \
         `pgbench -M prepared -c {CONNECTIONS} -j 1` there too."
    ));
    report.ratio("PostgreSQL, 64 clients ÷ pgbench", &rates[2], &rates[3], Some(Goal::AtLeast(0.7)));
    report.series("Refreshes on PostgreSQL", "refreshes/s", &rates);
    report.series("Worst latency on PostgreSQL", "ms", &worst);
}

/// A node on PostgreSQL, on the load's core, since the database has the other.
pub fn postgres_place(ground: &Ground, url: &str) -> Place {
    let place = ground.place().set("DATABASE_URL", url).on(Some(machine::load_core()));
    place.set("DATABASE_CONNECTIONS", &CONNECTIONS.to_string())
}
