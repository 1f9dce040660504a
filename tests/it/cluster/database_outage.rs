//! Outage of the shared database, by a crash or a freeze: every node answers correctly or with 503, nothing
//! acknowledged is lost, and all nodes recover without intervention.

use std::time::Instant;

use doorward::testing::TestService;

use super::{
    SOON, accepted_for, assert_cut_off, beside, database_timeout, logged_out, new_session, node, recovered,
    unavailable, until_refused, who,
};
use crate::support::postgres::Cluster;
use crate::support::process::{Node, WorkDir, until};
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
    // The cases mostly wait, so they run concurrently.
    std::thread::scope(|scope| {
        scope.spawn(|| survives("crash", crash));
        scope.spawn(|| survives("standstill", standstill));
    });
}

/// Starts an outage; the returned closure ends it.
type Begin = for<'a> fn(&'a Cluster) -> Box<dyn FnOnce() + 'a>;

fn survives(what: &str, cut: Begin) {
    let cluster = Cluster::own();
    let url = cluster.new_database();
    let first = node(&url).set("DATABASE_TIMEOUT", database_timeout()).start();
    let second = beside(&first, &url).set("DATABASE_TIMEOUT", database_timeout()).start();
    let alive = Tokens::in_jar_of(&register(&first, "emily"));
    let [ended, own, late] = [(); 3].map(|()| new_session(&first, "emily"));

    let logs =
        WorkDir::on(Backend::Sqlite).set("DATABASE_URL", url.clone()).set("DATABASE_TIMEOUT", database_timeout());
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
    accepted_for(&second, &late.access, logged_out(&first, &late));
    accepted_for(&first, &own.access, logged_out(&second, &own));
    until(SOON, "readyz", || (logs.get("/readyz").status == 200).then_some(()));
    assert_logged(what, &logs);
}

/// During the outage: sessions ended just before stay or become refused, and live ones are accepted for a bounded time
/// only.
fn watch(
    what: &str,
    nodes: [&TestService; 2],
    [alive, ended, own]: [&Tokens; 3],
    (ended_at, began): (Instant, Instant),
) {
    assert_eq!(who(nodes[0], &ended.access).status, 401, "memory knows without the table");
    // The second node may not have received the revocations before the outage; it must then have stopped accepting any
    // session in time.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let accepted_during = until_refused(nodes[1], ended, ended_at);
            print_figure(&format!(
                "{what}: a session that was ended just before was accepted for {accepted_during:?} elsewhere"
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

/// The log says once when the outage began and once when it ended.
fn assert_logged(what: &str, node: &Node) {
    let lines = ["the database does not answer", "the database answers again"];
    until(SOON, "the log's line of the end", || node.stderr().contains(lines[1]).then_some(()));
    let log = node.stderr();
    for line in lines {
        assert!((1..=2).contains(&log.matches(line).count()), "{what}: once a door, and no more: {log}");
    }
}
