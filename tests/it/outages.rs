//! Database outages: what clients, operators and rows see while the database is unreachable, hangs, is slow, is locked
//! or has no space. No answer waits for the end of the outage, none is wrong, no session is lost, no write is half
//! done, and the service recovers without intervention.

#[cfg(target_os = "linux")]
mod disk_full;
pub mod fault_injection;
mod scenario;

use std::time::Duration;

use crate::support::http::Request;
use crate::support::process::WorkDir;
use crate::support::{Backend, on_both_backends, on_postgres, on_sqlite};
use fault_injection::{Hanging, Lock, Slow, Unreachable};
use scenario::Scenario;

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
    let scenario = Scenario::begin("locked", backend);
    let lock = Lock::take(scenario.database());
    scenario.assert_writes_refused();
    lock.release();
    scenario.assert_recovered();
}

/// A second wait would block the thread beyond the client's timeout, and the metric would blame the reads.
fn a_refresh_waits_for_the_write_lock_once() {
    let workdir = WorkDir::on(Backend::Sqlite).set("DATABASE_TIMEOUT", "4s").set("RUST_LOG", "info");
    let node = workdir.serve(&["serve", "--demo"]);
    let (_, refresh) = node.sign_in("emilys", "emilyspass");
    let lock = Lock::take(&workdir.file("doorward.db").display().to_string());
    let answer = node.send(&Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={refresh}")));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    lock.release();
    let log = node.stderr_with("path=write");
    assert!(!log.contains("path=read"), "{log}");
}

fn an_exhausted_pool_refuses_in_time_and_recovers(backend: Backend) {
    let scenario = Scenario::begin_with("pool used up", backend, &[("DATABASE_CONNECTIONS", "2")]);
    let lock = Lock::take(scenario.database());
    scenario.assert_refreshes_refused(60);
    assert_eq!(scenario.status("GET", "/healthz"), 200);
    lock.release();
    scenario.assert_recovered();
}

fn an_unreachable_database_loses_no_session() {
    let scenario = Scenario::begin("gone", Backend::Postgres);
    let unreachable = Unreachable::take(scenario.database());
    scenario.assert_writes_refused();
    unreachable.end();
    scenario.assert_recovered();
}

fn a_hanging_database_loses_no_session() {
    let scenario = Scenario::begin("hung, new connections refused", Backend::Postgres);
    let hanging = Hanging::stop(scenario.database(), false);
    scenario.assert_writes_refused();
    hanging.end();
    scenario.assert_recovered();
}

fn hanging_connections_beside_working_ones_lose_no_session() {
    let scenario = Scenario::begin("hung, new connections work", Backend::Postgres);
    let hanging = Hanging::stop(scenario.database(), true);
    scenario.assert_answers_correct();
    hanging.end();
    scenario.assert_recovered();
}

fn a_slow_database_does_not_delay_answers() {
    let scenario = Scenario::begin("slow", Backend::Postgres);
    let slow = Slow::make(scenario.database(), Duration::from_secs(30));
    scenario.assert_answers_correct();
    slow.end();
    scenario.assert_recovered();
}
