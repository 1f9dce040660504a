//! Nodes of one database with other keys or another clock: refused at the start, or reported.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use crate::support::process::{Node, WorkDir};
use crate::support::{Backend, on_both_backends, on_postgres};

on_both_backends!(
    other_keys_than_a_running_node_has_stop_the_start,
    other_peppers_than_the_last_node_had_stop_the_start,
    a_rotation_under_way_stops_no_start,
);
on_postgres!(clocks_that_differ_are_reported);

const ONE: &str = "FDZJbfztgU4D5A/HhdMdUotlv9O/8RUFnY4ZjwJ5DGRYk3XNy9UL1G5mpZ9rmrY/";
const OTHER: &str = "bLCqlxSUOtEx0L0O3Qh2veqVMZ9uWzJe3vNoi6ClOUHxL8pXMx7ROrHgoS7T5y7s";
const THIRD: &str = "KP2kwuv1z/8cP3chlBts/z7XtLkA4aqL8mtw4c5iYCbImtX3iBj4na+qNxmkBW3W";

/// The same database, from another folder.
fn elsewhere(first: &WorkDir) -> WorkDir {
    let file = format!("sqlite://{}", first.file("doorward.db").display());
    WorkDir::on(Backend::Sqlite).set("DATABASE_URL", first.get("DATABASE_URL").unwrap_or(&file))
}

/// The same database, with these secrets.
fn beside(first: &WorkDir, jwt_secret: &str, pepper: &str) -> WorkDir {
    elsewhere(first).set("JWT_SECRET", jwt_secret).set("PEPPER", pepper)
}

/// Without this a node counts as running for a while.
fn stop(mut node: Node) {
    node.signal("TERM");
    assert!(node.wait().success());
}

fn assert_refused(workdir: &WorkDir, expected: &str) {
    for arguments in [&["serve"][..], &["account", "list"], &["doctor"]] {
        let ran = workdir.run(arguments);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!ran.status.success() && told.contains(expected), "{arguments:?}: {ran:?}");
        assert!(!told.contains(OTHER) && !told.contains(THIRD));
    }
}

fn other_keys_than_a_running_node_has_stop_the_start(backend: Backend) {
    let first = WorkDir::on(backend).set("JWT_SECRET", ONE).set("PEPPER", OTHER);
    let node = first.serve(&["serve"]);
    assert_refused(&beside(&first, THIRD, OTHER), "shares no signing key with this one");
    assert_refused(&beside(&first, ONE, THIRD), "shares no pepper with this one");
    let ran = beside(&first, ONE, OTHER).run(&["doctor"]);
    assert!(ran.stdout.contains("the running node of this database has these keys and this clock"), "{ran:?}");
    stop(beside(&first, ONE, OTHER).serve(&["serve"]));
    let refused = beside(&first, THIRD, OTHER).run(&["keys", "adopt"]);
    assert!(!refused.status.success() && refused.stderr.contains("a node of this database runs"), "{refused:?}");
    // Once it has stopped, its signing key may be replaced: all sessions end, and no password.
    stop(node);
    drop(beside(&first, THIRD, OTHER).serve(&["serve"]));
}

fn other_peppers_than_the_last_node_had_stop_the_start(backend: Backend) {
    let first = WorkDir::on(backend).set("JWT_SECRET", ONE).set("PEPPER", OTHER);
    let node = first.serve(&["serve"]);
    // Without accounts no password depends on it.
    let wrong = beside(&first, ONE, THIRD);
    assert_eq!(node.post("/auth/register", &json!({ "username": "emily", "password": "correct horse" })).status, 201);
    stop(node);
    assert_refused(&wrong, "the node that used this database last shares no pepper");
    wrong.succeed(&["keys", "adopt"], "");
    let node = wrong.serve(&["serve"]);
    let sign_in = node.post("/auth/login", &json!({ "username": "emily", "password": "correct horse" }));
    assert_eq!(sign_in.status, 401, "{}", sign_in.text());
}

/// One machine has the rotated file, another has not got it yet.
fn a_rotation_under_way_stops_no_start(backend: Backend) {
    let first = WorkDir::on(backend);
    let node = first.serve(&["serve"]);
    let old = std::fs::read(first.file("doorward.keys")).unwrap();
    first.succeed(&["keys", "rotate"], "");
    first.succeed(&["keys", "rotate-pepper"], "");
    let second = elsewhere(&first);
    let file = second.file("doorward.keys");
    std::fs::write(&file, old).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    drop(second.serve(&["serve"]));
    drop(node);
}

fn difference(service: &TestService) -> f64 {
    service.core().heartbeat().unwrap();
    let text = service.core().metrics_text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("doorward_clock_difference_seconds "));
    line.unwrap().parse().unwrap()
}

fn clocks_that_differ_are_reported() {
    let url = crate::support::postgres::new_database();
    let start = || {
        let keys = TestService::builder().set("JWT_SECRET", ONE).set("PEPPER", OTHER);
        keys.set("DATABASE_URL", url.clone()).start()
    };
    let (first, second) = (start(), start());
    // A test's clock stands still, some days ago.
    let behind = Duration::from_secs_f64(-difference(&first));
    first.advance(behind);
    second.advance(behind);
    difference(&second);
    assert!(difference(&first).abs() < 5.0 && first.core().node_warnings().is_empty());
    for (ahead, expected) in [(61, 61.0), (3_600, 3_661.0)] {
        second.advance(Duration::from_secs(ahead));
        assert!((difference(&second) - expected).abs() < 5.0, "{}", difference(&second));
        assert!((difference(&first) + expected).abs() < 5.0, "{}", difference(&first));
        for (service, side) in [(&first, "behind"), (&second, "ahead of")] {
            let warnings = service.core().node_warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(side), "{warnings:?}");
        }
    }
}
