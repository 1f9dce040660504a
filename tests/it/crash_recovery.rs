//! kill -9: what was answered 2xx is there afterwards, nothing is half done, and the service starts again by itself.
//! Clients write down every answer (crash/ledger.rs) while they act at random (crash/client.rs); the process is killed at
//! a random moment and started again, and everything written down is looked up (crash/verify.rs, crash/rows.rs).
//!
//! The throwaway PostgreSQL runs without fsync and with `synchronous_commit` off. That is no matter here: only doorward is
//! killed, the server lives on, and what it has committed it shows. Power cuts are the business of its defaults.
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
use crate::support::process::{Node, PATIENCE, Place, until};
use crate::support::rng::Dice;
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

fn place_on(backend: Backend) -> Place {
    // Access tokens outlive the test, so that only a revocation can be what kills one.
    let place = Place::on(backend).set("ACCESS_TTL", "20h").set("REFRESH_GRACE", GRACE.as_secs().to_string());
    // All clients share an address.
    let lifted = ["THROTTLE_FREE_FAILURES", "THROTTLE_SIGN_UPS", "THROTTLE_REFRESHES"];
    lifted.into_iter().fold(place.set("RUST_LOG", "warn"), |place, throttle| place.set(throttle, "off"))
}

/// Starts the service; how long until it says that it is ready.
fn start(place: &Place) -> (Node, Duration) {
    let began = Instant::now();
    let node = place.serve(&["serve"]);
    until(PATIENCE, "/readyz", || (node.get("/readyz").status == 200).then_some(()));
    (node, began.elapsed())
}

/// A start that is killed before it is done. Even the folder's first: tables and keys are made in it.
fn start_and_kill(place: &Place, dice: &mut Dice, longest: usize) {
    let node = place.begin(&["serve"]);
    std::thread::sleep(dice.moment(longest));
    drop(node);
}

/// Lets the clients act while `strike` happens to the service; each stops when an answer does not come.
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

/// What a run comes to.
#[derive(Default)]
struct Tally {
    starts: Vec<Duration>,
    /// How often the database was still at work for a process that was dead.
    late: usize,
    doubts: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn note_doubts(&mut self, clients: &[Client]) {
        for (_, doubt) in clients.iter().filter_map(|client| client.ledger.doubt.as_ref()) {
            *self.doubts.entry(doubt.name()).or_default() += 1;
        }
    }

    fn print(&mut self, what: &str, clients: &[Client]) {
        let sum = |of: fn(&Client) -> usize| clients.iter().map(of).sum::<usize>();
        let (acknowledged, people) = (sum(|one| one.ledger.acknowledged), sum(|one| one.ledger.people.len()));
        println!(
            "{what}: {acknowledged} acts acknowledged, {people} accounts, {} sessions ended, all as written down",
            sum(|one| one.ledger.buried.len())
        );
        println!("{what}: in flight at the kill, each found whole: {:?}", self.doubts);
        self.starts.sort();
        let at = |part: usize| self.starts[(self.starts.len() - 1) * part / 100];
        println!("{what}: {} times the database was still at work for a process that was dead", self.late);
        println!("{what}: ready again after p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", at(50), at(90), at(99), at(100));
        // A second is the aim; a machine that stalls is no defect, a start that takes its time every time is.
        assert!(at(50) < Duration::from_secs(5), "ready again too late: {:?}", self.starts);
        assert!(!self.doubts.is_empty(), "nothing was ever in flight: this broke nothing off");
    }
}

fn acknowledged_writes_survive_a_kill_and_none_is_half_done(backend: Backend) {
    let cycles = match (is_soak(), backend) {
        (false, _) => 6,
        (true, Backend::Sqlite) => 500,
        (true, Backend::Postgres) => 200,
    };
    let (mut dice, place, mut tally) = (Dice::thrown("kill -9"), place_on(backend), Tally::default());
    let (rows, mut clients) = (Rows::of(&place, backend), Client::some(CLIENTS, &mut dice));
    let (mut node, _) = start(&place);
    for cycle in 1..=soak_number("DOORWARD_CRASH_CYCLES", cycles) {
        let life = dice.moment(LONGEST_LIFE);
        // Dropping a node sends SIGKILL, in the middle of whatever the clients asked.
        act_while(&mut clients, node.address(), move || {
            std::thread::sleep(life);
            drop(node);
        });
        tally.note_doubts(&clients);
        let killed_at = rows.moment();
        if dice.below(4) == 0 {
            start_and_kill(&place, &mut dice, 120);
        }
        let (started, took) = start(&place);
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
    let mut dice = Dice::thrown("first starts");
    for round in 0..if is_soak() { 60 } else { 4 } {
        let place = place_on(backend);
        for _ in 0..=dice.below(2) {
            start_and_kill(&place, &mut dice, 150);
        }
        let (node, _) = start(&place);
        let mut clients = Client::some(1, &mut dice);
        act_while(&mut clients, node.address(), || std::thread::sleep(Duration::from_millis(50)));
        drop(node);
        let rows = Rows::of(&place, backend);
        let killed_at = rows.moment();
        let (node, _) = start(&place);
        rows.settle(killed_at);
        verify(&mut clients, &node, &rows);
        assert_eq!(node.get("/readyz").status, 200, "round {round}");
    }
}

/// In a container every start has the same number.
#[test]
fn a_start_ignores_leftovers_of_a_killed_process_with_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("doorward.keys");
    std::fs::write(keys.with_extension(format!("keys.{}", std::process::id())), "half").unwrap();
    let service = TestService::builder().set("KEYS_FILE", keys.display().to_string()).start();
    assert!(keys.exists());
    drop(service);
}

/// The other end of the line: PostgreSQL ends the sessions that our connections are, in the middle of their transactions,
/// as an administrator or a failing pooler does. The service goes on without a restart.
fn terminated_connections_lose_no_acknowledged_write_and_leave_none_half_done() {
    let (mut dice, place, mut tally) = (Dice::thrown("cut"), place_on(Backend::Postgres), Tally::default());
    let (rows, mut clients) = (Rows::of(&place, Backend::Postgres), Client::some(CLIENTS, &mut dice));
    let (mut node, took) = start(&place);
    tally.starts.push(took);
    let url = place.get("DATABASE_URL").unwrap();
    for _ in 0..if is_soak() { 100 } else { 5 } {
        act_while(&mut clients, node.address(), || {
            for _ in 0..3 {
                std::thread::sleep(dice.moment(100));
                psql(url, CUT_OTHERS);
            }
        });
        tally.note_doubts(&clients);
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
