//! What clients, operators and rows see when the database is gone, hangs, is slow, is locked or has no room: no answer takes
//! long, none is a lie, nobody loses a session, nothing is half done, and all is well by itself afterwards.

#[cfg(target_os = "linux")]
mod disk_full;
pub mod fault_injection;
mod scenario;

use std::time::Duration;

use crate::support::http::Request;
use crate::support::process::Place;
use crate::support::{Backend, on_both_backends, on_postgres, on_sqlite};
use fault_injection::{Gone, Hung, Lock, Slow};
use scenario::Day;

on_both_backends!(
    a_database_locked_by_another_process_loses_no_session,
    an_exhausted_pool_refuses_in_time_and_recovers,
);
on_sqlite!(a_refresh_waits_for_the_write_lock_once);
on_postgres!(
    an_unreachable_database_loses_no_session,
    a_hanging_database_loses_no_session,
    hanging_connections_beside_working_ones_lose_no_session,
    a_slow_database_does_not_delay_answers,
);

fn a_database_locked_by_another_process_loses_no_session(backend: Backend) {
    let day = Day::begin("locked", backend);
    let lock = Lock::take(day.database());
    day.assert_refused_in_time();
    lock.release();
    day.assert_well_again();
}

/// A second wait would hold the thread for longer than its client is there, and blame the reads.
fn a_refresh_waits_for_the_write_lock_once() {
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

fn an_exhausted_pool_refuses_in_time_and_recovers(backend: Backend) {
    let day = Day::begin_with("pool used up", backend, &[("DATABASE_CONNECTIONS", "2")]);
    let lock = Lock::take(day.database());
    day.assert_all_refused_in_time(60);
    assert_eq!(day.status("GET", "/healthz"), 200);
    lock.release();
    day.assert_well_again();
}

fn an_unreachable_database_loses_no_session() {
    let day = Day::begin("gone", Backend::Postgres);
    let gone = Gone::take(day.database());
    day.assert_refused_in_time();
    gone.give_back();
    day.assert_well_again();
}

fn a_hanging_database_loses_no_session() {
    let day = Day::begin("hung, new connections refused", Backend::Postgres);
    let hung = Hung::stop(day.database(), false);
    day.assert_refused_in_time();
    hung.go_on();
    day.assert_well_again();
}

fn hanging_connections_beside_working_ones_lose_no_session() {
    let day = Day::begin("hung, new connections work", Backend::Postgres);
    let hung = Hung::stop(day.database(), true);
    day.assert_answers_are_right_and_in_time();
    hung.go_on();
    day.assert_well_again();
}

fn a_slow_database_does_not_delay_answers() {
    let day = Day::begin("slow", Backend::Postgres);
    let slow = Slow::make(day.database(), Duration::from_secs(30));
    day.assert_answers_are_right_and_in_time();
    slow.mend();
    day.assert_well_again();
}
