//! One node's link to the database is cut, in silence or with an error, while the others go on ending sessions: the
//! node is right or refuses, says so in its metrics, and is right again by itself.

use std::time::Instant;

use super::{
    MAX_STALE, assert_cut_off, beside, logged_out, metric, new_session, node, patience, prunable, recovered,
    unavailable, until_refused, until_shown, who,
};
use crate::support::tcp_proxy::{Cut, Link};
use crate::support::{Tokens, on_postgres, postgres, print_figure, refresh_with, register};

on_postgres!(a_partitioned_node_is_right_or_refuses_and_recovers);

/// How a link is cut, how it is mended, and whether that takes a new connection.
type Way = (&'static str, fn(&Link) -> Cut, fn(Cut), bool);

const WAYS: [Way; 3] = [
    ("held, then passed on", Link::hold, Cut::release, false),
    ("held, then closed", Link::hold, drop, true),
    ("closed", Link::refuse, drop, true),
];

fn a_partitioned_node_is_right_or_refuses_and_recovers() {
    // They mostly wait, so they do it together.
    std::thread::scope(|scope| {
        WAYS.iter().for_each(|way| drop(scope.spawn(|| rides_out_a_cut(way))));
    });
}

fn rides_out_a_cut((how, cut, mend, reconnects): &Way) {
    let url = postgres::new_database();
    let link = Link::to(postgres::shared().socket());
    let near = node(&url).start();
    let far = beside(&near, &link.url(&url)).set("DATABASE_TIMEOUT", patience()).start();
    let alive = Tokens::held_by(&register(&near, "emily"));
    let [ended, ended_later, own] = [(); 3].map(|()| new_session(&near, "emily"));
    for session in [&alive, &ended, &ended_later, &own] {
        assert_eq!(who(&far, &session.access).status, 200);
    }

    let cut_at = Instant::now();
    let link_is_cut = cut(&link);
    let ended_at = logged_out(&near, &ended);
    let (believed, trusted) = std::thread::scope(|scope| {
        let believed = scope.spawn(|| until_refused(&far, &ended, ended_at));
        let trusted = unavailable(&far, &alive, cut_at);
        (believed.join().unwrap(), trusted)
    });
    print_figure(&format!(
        "link {how}: a dead session was believed for {believed:?} after its end was answered, memory for {trusted:?}"
    ));
    assert!(believed <= MAX_STALE);
    assert_cut_off(&far, &alive, &own);
    logged_out(&near, &ended_later);

    mend(link_is_cut);
    let took = recovered(&far, &alive, &[&ended, &ended_later], Instant::now());
    print_figure(&format!("link {how}: right again {took:?} after it was mended"));
    Tokens::set_by(&refresh_with(&far, &alive.refresh));
    until_shown(&far, "doorward_feed_connected", |connected| connected > 0.0);
    assert_eq!(metric(&far, "doorward_feed_connections_total") >= 2.0, *reconnects);
    // Whether the one that was asked during the cut had its effect or not, asking again settles it.
    prunable(&near, &own.access, logged_out(&far, &own));
    let last = new_session(&near, "emily");
    assert_eq!(who(&far, &last.access).status, 200);
    prunable(&far, &last.access, logged_out(&near, &last));
}
