//! What clients, operators and rows see when the database is gone, hangs, is slow, is locked or has no room: no answer takes
//! long, none is a lie, nobody loses a session, nothing is half done, and all is well by itself afterwards.

mod day;
#[cfg(target_os = "linux")]
mod disk;
pub mod trouble;

use std::time::Duration;

use crate::support::http::Request;
use crate::support::process::Place;
use crate::support::{Backend, on_both_backends};
use day::Day;
use trouble::{Gone, Hung, Lock, Slow};

on_both_backends!(
    a_database_that_another_process_locks_costs_nobody_a_session,
    a_pool_that_is_used_up_refuses_in_time_and_recovers,
);

fn a_database_that_another_process_locks_costs_nobody_a_session(backend: Backend) {
    let day = Day::begin("locked", backend);
    let lock = Lock::take(day.database());
    day.assert_refused_in_time();
    lock.release();
    day.assert_well_again();
}

/// A second wait would hold the thread for longer than its client is there, and blame the reads.
#[test]
fn a_refresh_waits_for_a_lock_once() {
    let place = Place::on(Backend::Sqlite).set("DATABASE_TIMEOUT", "4s").set("RUST_LOG", "info");
    let node = place.serve(&["serve", "--demo"]);
    let (_, refresh) = node.sign_in("emilys", "emilyspass");
    let lock = Lock::take(&place.file("doorward.db").display().to_string());
    let answer = node.send(&Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={refresh}")));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    lock.release();
    let log = node.stderr();
    assert!(log.contains("path=write") && !log.contains("path=read"), "{log}");
}

fn a_pool_that_is_used_up_refuses_in_time_and_recovers(backend: Backend) {
    let day = Day::begin_with("pool used up", backend, &[("DATABASE_CONNECTIONS", "2")]);
    let lock = Lock::take(day.database());
    day.assert_all_refused_in_time(60);
    assert_eq!(day.status("GET", "/healthz"), 200);
    lock.release();
    day.assert_well_again();
}

fn on_postgres(test: fn(Backend)) {
    crate::support::run_on(Backend::Postgres, test);
}

#[test]
fn a_database_that_is_gone_costs_nobody_a_session() {
    on_postgres(|backend| {
        let day = Day::begin("gone", backend);
        let gone = Gone::take(day.database());
        day.assert_refused_in_time();
        gone.give_back();
        day.assert_well_again();
    });
}

#[test]
fn a_database_that_hangs_costs_nobody_a_session() {
    on_postgres(|backend| {
        let day = Day::begin("hung, new connections refused", backend);
        let hung = Hung::stop(day.database(), false);
        day.assert_refused_in_time();
        hung.go_on();
        day.assert_well_again();
    });
}

#[test]
fn connections_that_hang_while_new_ones_work_cost_nobody_a_session() {
    on_postgres(|backend| {
        let day = Day::begin("hung, new connections work", backend);
        let hung = Hung::stop(day.database(), true);
        day.assert_answers_are_right_and_in_time();
        hung.go_on();
        day.assert_well_again();
    });
}

#[test]
fn a_database_that_is_slow_is_not_waited_for() {
    on_postgres(|backend| {
        let day = Day::begin("slow", backend);
        let slow = Slow::make(day.database(), Duration::from_secs(30));
        day.assert_answers_are_right_and_in_time();
        slow.mend();
        day.assert_well_again();
    });
}
