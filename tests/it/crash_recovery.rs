//! Crash recovery after kill -9: acknowledged writes are there afterwards, none is half done, and the service starts
//! again without intervention. Clients record every answer (ledger.rs) while they act at random (client.rs); the
//! process is killed at a random moment and restarted, and everything recorded is verified (verify.rs, rows.rs).
//!
//! The throwaway PostgreSQL runs without fsync and with `synchronous_commit` off. That does not matter here: only
//! doorward is killed, and the server keeps what it has committed. Power failures are the subject of PostgreSQL's
//! defaults.
#![expect(clippy::print_stdout, reason = "figures")]

mod client;
mod delivery_confirmations;
mod ledger;
mod rows;
mod verify;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use doorward::testing::TestService;

use crate::support::postgres::psql;
use crate::support::process::{Node, PATIENCE, WorkDir, until};
use crate::support::rng::Rng;
use crate::support::{Backend, is_soak, on_both_backends, on_postgres, soak_number};
use client::Client;
use ledger::{GRACE, Wire};
use rows::Rows;

on_both_backends!(
    acknowledged_writes_survive_a_kill_and_none_is_half_done,
    a_killed_first_start_does_not_block_the_next,
);
on_postgres!(terminated_connections_lose_no_acknowledged_write_and_leave_none_half_done);

const CLIENTS: usize = 4;

/// The longest time that clients act before a kill, in milliseconds.
const LONGEST_LIFE: usize = 400;

fn workdir_on(backend: Backend) -> WorkDir {
    // Access tokens outlive the test, so that only a revocation can invalidate one.
    let workdir = WorkDir::on(backend).set("ACCESS_TTL", "20h").set("REFRESH_GRACE", GRACE.as_secs().to_string());
    // All clients share an address, so the limits by address are off.
    let lifted =
        ["THROTTLE_FREE_FAILURES", "THROTTLE_ADDRESS", "THROTTLE_SIGN_UPS", "THROTTLE_REFRESHES", "WRITE_RATE"];
    lifted.into_iter().fold(workdir.set("RUST_LOG", "warn"), |workdir, throttle| workdir.set(throttle, "off"))
}

/// Starts the service; the time until it is ready.
fn start(workdir: &WorkDir) -> (Node, Duration) {
    let began = Instant::now();
    let node = workdir.serve(&["serve"]);
    until(PATIENCE, "/readyz", || (node.get("/readyz").status == 200).then_some(()));
    (node, began.elapsed())
}

/// Starts the service and kills it during the start, which for a new folder includes creating tables and keys.
fn start_and_kill(workdir: &WorkDir, rng: &mut Rng, longest: usize) {
    let node = workdir.begin(&["serve"]);
    std::thread::sleep(rng.moment(longest));
    drop(node);
}

/// Lets the clients act while `strike` hits the service; each stops when an answer is missing.
fn act_while(clients: &mut [Client], address: SocketAddr, strike: impl FnOnce()) {
    let (stop, wire) = (&AtomicBool::new(false), Wire(address));
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || client.act_until(stop, wire));
        }
        strike();
        stop.store(true, Ordering::Relaxed);
    });
}

fn verify(clients: &mut [Client], node: &Node, rows: &Rows) {
    let wire = Wire(node.address());
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || client.verify(wire));
        }
    });
    rows.assert_whole();
}

/// The result of a run.
#[derive(Default)]
struct Tally {
    starts: Vec<Duration>,
    /// How often the database still worked on a transaction of a dead process.
    late: usize,
    doubts: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn record_doubts(&mut self, clients: &[Client]) {
        for (_, doubt) in clients.iter().filter_map(|client| client.ledger.doubt.as_ref()) {
            *self.doubts.entry(doubt.name()).or_default() += 1;
        }
    }

    fn print(&mut self, what: &str, clients: &[Client]) {
        let sum = |of: fn(&Client) -> usize| clients.iter().map(of).sum::<usize>();
        let (acknowledged, people) = (sum(|one| one.ledger.acknowledged), sum(|one| one.ledger.people.len()));
        println!(
            "{what}: {acknowledged} acts acknowledged, {people} accounts, {} sessions ended, all as written down",
            sum(|one| one.ledger.ended_before.len())
        );
        println!("{what}: in flight at the kill, each found whole: {:?}", self.doubts);
        self.starts.sort();
        let at = |part: usize| self.starts[(self.starts.len() - 1) * part / 100];
        println!("{what}: {} times the database was still at work for a process that was dead", self.late);
        println!("{what}: ready again after p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", at(50), at(90), at(99), at(100));
        // A second is the aim; one slow start is the machine's, a slow median is a defect.
        assert!(!is_soak() || at(50) < Duration::from_secs(5), "ready again too late: {:?}", self.starts);
        assert!(!self.doubts.is_empty(), "nothing was ever in flight: this broke nothing off");
    }
}

fn acknowledged_writes_survive_a_kill_and_none_is_half_done(backend: Backend) {
    let cycles = match (is_soak(), backend) {
        (false, _) => 6,
        (true, Backend::Sqlite) => 500,
        (true, Backend::Postgres) => 200,
    };
    let (mut rng, workdir, mut tally) = (Rng::seeded("kill -9"), workdir_on(backend), Tally::default());
    let (rows, mut clients) = (Rows::of(&workdir, backend), Client::some(CLIENTS, &mut rng));
    let (mut node, _) = start(&workdir);
    for cycle in 1..=soak_number("DOORWARD_CRASH_CYCLES", cycles) {
        let life = rng.moment(LONGEST_LIFE);
        // Dropping a node sends SIGKILL, in the middle of the clients' requests.
        act_while(&mut clients, node.address(), move || {
            std::thread::sleep(life);
            drop(node);
        });
        tally.record_doubts(&clients);
        let killed_at = rows.moment();
        if rng.below(4) == 0 {
            start_and_kill(&workdir, &mut rng, 120);
        }
        let (started, took) = start(&workdir);
        node = started;
        tally.starts.push(took);
        tally.late += usize::from(rows.settle(killed_at));
        verify(&mut clients, &node, &rows);
        if cycle % 50 == 0 {
            println!("{backend:?}: {cycle} kills survived");
        }
    }
    tally.print(&format!("{backend:?}"), &clients);
}

fn a_killed_first_start_does_not_block_the_next(backend: Backend) {
    let mut rng = Rng::seeded("first starts");
    for round in 0..if is_soak() { 60 } else { 4 } {
        let workdir = workdir_on(backend);
        for _ in 0..=rng.below(2) {
            start_and_kill(&workdir, &mut rng, 150);
        }
        let (node, _) = start(&workdir);
        let mut clients = Client::some(1, &mut rng);
        act_while(&mut clients, node.address(), || std::thread::sleep(Duration::from_millis(50)));
        drop(node);
        let rows = Rows::of(&workdir, backend);
        let killed_at = rows.moment();
        let (node, _) = start(&workdir);
        rows.settle(killed_at);
        verify(&mut clients, &node, &rows);
        assert_eq!(node.get("/readyz").status, 200, "round {round}");
    }
}

/// In a container every start has the same process id.
#[test]
fn a_start_ignores_leftovers_of_a_killed_process_with_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("doorward.keys");
    std::fs::write(keys.with_extension(format!("keys.{}", std::process::id())), "half").unwrap();
    let service = TestService::builder().set("KEYS_FILE", keys.display().to_string()).start();
    assert!(keys.exists());
    drop(service);
}

/// The server side: PostgreSQL terminates the service's connections in the middle of transactions, as an administrator
/// or a failing pooler does. The service continues without a restart.
fn terminated_connections_lose_no_acknowledged_write_and_leave_none_half_done() {
    let (mut rng, workdir, mut tally) = (Rng::seeded("cut"), workdir_on(Backend::Postgres), Tally::default());
    let (rows, mut clients) = (Rows::of(&workdir, Backend::Postgres), Client::some(CLIENTS, &mut rng));
    let (mut node, took) = start(&workdir);
    tally.starts.push(took);
    let url = workdir.get("DATABASE_URL").unwrap();
    for _ in 0..if is_soak() { 100 } else { 5 } {
        act_while(&mut clients, node.address(), || {
            for _ in 0..3 {
                std::thread::sleep(rng.moment(100));
                psql(url, CUT_OTHERS);
            }
        });
        tally.record_doubts(&clients);
        let last = rows.moment();
        until(PATIENCE, "the end of every connection", || {
            psql(url, CUT_OTHERS);
            (rows.connections_from_before(last) == 0).then_some(())
        });
        verify(&mut clients, &node, &rows);
    }
    assert!(node.is_running());
    tally.print("cut connections", &clients);
}

const CUT_OTHERS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid()";
