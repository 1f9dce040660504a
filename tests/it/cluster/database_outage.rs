//! The whole database goes away, by a crash or by standing still: every node is right or refuses, nothing that was
//! answered is lost, and all are right again by themselves.

use std::time::Instant;

use doorward::testing::TestService;

use super::{
    SOON, assert_cut_off, beside, logged_out, new_session, node, patience, prunable, recovered, unavailable,
    until_refused, who,
};
use crate::support::postgres::Cluster;
use crate::support::process::{Node, Place, until};
use crate::support::{Backend, Tokens, on_postgres, print_figure, refresh_with, register};

on_postgres!(a_crashed_or_frozen_database_loses_nothing_and_revives_no_session);

fn a_crashed_or_frozen_database_loses_nothing_and_revives_no_session() {
    let crash: Begin = |cluster| {
        cluster.crash();
        Box::new(|| cluster.start_again())
    };
    let standstill: Begin = |cluster| {
        let frozen = cluster.freeze();
        Box::new(|| drop(frozen))
    };
    // They mostly wait, so they do it together.
    std::thread::scope(|scope| {
        scope.spawn(|| rides_out("crash", crash));
        scope.spawn(|| rides_out("standstill", standstill));
    });
}

/// Begins an outage; what it gives ends it.
type Begin = for<'a> fn(&'a Cluster) -> Box<dyn FnOnce() + 'a>;

fn rides_out(what: &str, cut: Begin) {
    let cluster = Cluster::own();
    let url = cluster.new_database();
    let first = node(&url).set("DATABASE_TIMEOUT", patience()).start();
    let second = beside(&first, &url).set("DATABASE_TIMEOUT", patience()).start();
    let alive = Tokens::held_by(&register(&first, "emily"));
    let [ended, own, late] = [(); 3].map(|()| new_session(&first, "emily"));

    let logs = Place::on(Backend::Sqlite).set("DATABASE_URL", url.clone()).set("DATABASE_TIMEOUT", patience());
    let logs = logs.set("KEYS_FILE", first.folder().join("doorward.keys").display().to_string()).serve(&[]);
    let ended_at = logged_out(&first, &ended);
    let began = Instant::now();
    let mend = cut(&cluster);
    watch(what, [&first, &second], [&alive, &ended, &own], (ended_at, began));
    assert_eq!(logs.get("/readyz").status, 503);

    mend();
    let mended = Instant::now();
    for node in [&first, &second] {
        let took = recovered(node, &alive, &[&ended], mended);
        print_figure(&format!("{what}: right again {took:?} after the database was back"));
    }
    let rows = cluster.psql(&url, "SELECT count(*) FROM revocations r JOIN sessions s ON s.id = r.session_id");
    assert!(rows.parse::<usize>().unwrap() >= 1, "what was answered is in the table");
    Tokens::set_by(&refresh_with(&second, &alive.refresh));
    prunable(&second, &late.access, logged_out(&first, &late));
    prunable(&first, &own.access, logged_out(&second, &own));
    until(SOON, "readyz", || (logs.get("/readyz").status == 200).then_some(()));
    assert_logged(what, &logs);
}

/// During the outage: what was ended just before stays or becomes dead, and what lives is believed only for a while.
fn watch(
    what: &str,
    nodes: [&TestService; 2],
    [alive, ended, own]: [&Tokens; 3],
    (ended_at, began): (Instant, Instant),
) {
    assert_eq!(who(nodes[0], &ended.access).status, 401, "memory knows without the table");
    // The second may not have heard before the database went; then it must have stopped believing anybody in time.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let believed = until_refused(nodes[1], ended, ended_at);
            print_figure(&format!(
                "{what}: a session that was ended just before was believed for {believed:?} elsewhere"
            ));
        });
        for node in nodes {
            scope.spawn(move || {
                let trusted = unavailable(node, alive, began);
                print_figure(&format!("{what}: memory was trusted for {trusted:?}"));
                assert_cut_off(node, alive, own);
            });
        }
    });
}

/// An operator finds when it began and when it was over, once each.
fn assert_logged(what: &str, node: &Node) {
    let lines = ["the database does not answer", "the database answers again"];
    until(SOON, "the log's line of the end", || node.stderr().contains(lines[1]).then_some(()));
    let log = node.stderr();
    for line in lines {
        assert!((1..=2).contains(&log.matches(line).count()), "{what}: once a door, and no more: {log}");
    }
}
