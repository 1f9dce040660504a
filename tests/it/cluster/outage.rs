//! The whole database goes away, by a crash or by standing still: every node is right or refuses, nothing that was
//! answered is lost, and all are right again by themselves.

use std::time::Instant;

use doorward::testing::TestService;

use super::{
    assert_cut_off, assert_unavailable, beside, logged_out, new_session, node, outlived, recovered, unavailable,
    until_refused, who,
};
use crate::support::postgres::Cluster;
use crate::support::{Tokens, on_postgres, print_figure, refresh_with, register};

on_postgres!(
    a_crash_of_the_database_loses_nothing_and_lets_nobody_in,
    a_database_that_stands_still_loses_nothing_and_lets_nobody_in,
);

fn a_crash_of_the_database_loses_nothing_and_lets_nobody_in() {
    rides_out("crash", |cluster| {
        cluster.crash();
        Box::new(|| cluster.start_again())
    });
}

fn a_database_that_stands_still_loses_nothing_and_lets_nobody_in() {
    rides_out("standstill", |cluster| {
        let frozen = cluster.freeze();
        Box::new(|| drop(frozen))
    });
}

/// Begins an outage; what it gives ends it.
type Begin = for<'a> fn(&'a Cluster) -> Box<dyn FnOnce() + 'a>;

fn rides_out(what: &str, begin: Begin) {
    let cluster = Cluster::own();
    let url = cluster.new_database();
    let first = node(&url).set("DATABASE_TIMEOUT", "2s").start();
    let second = beside(&first, &url).set("DATABASE_TIMEOUT", "2s").start();
    let alive = Tokens::held_by(&register(&first, "emily"));
    let [ended, own, late] = [(); 3].map(|()| new_session(&first, "emily"));

    let ended_at = logged_out(&first, &ended);
    let end = begin(&cluster);
    let began = Instant::now();
    watch(what, [&first, &second], [&alive, &ended, &own], (ended_at, began));

    end();
    let mended = Instant::now();
    for node in [&first, &second] {
        let took = recovered(node, &alive, &[&ended], mended);
        print_figure(&format!("{what}: right again {took:?} after the database was back"));
    }
    let rows = cluster.psql(&url, "SELECT count(*) FROM revocations r JOIN sessions s ON s.id = r.session_id");
    assert!(rows.parse::<usize>().unwrap() >= 1, "what was answered is in the table");
    Tokens::set_by(&refresh_with(&second, &alive.refresh));
    outlived(&second, &late.access, logged_out(&first, &late));
    outlived(&first, &own.access, logged_out(&second, &own));
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
    until_refused(nodes[1], ended, ended_at);
    for node in nodes {
        let (trusted, answer) = unavailable(node, &alive.access, began);
        assert_unavailable(&answer, "a check");
        print_figure(&format!("{what}: memory was trusted for {trusted:?}"));
        assert_cut_off(node, alive, own);
    }
}
