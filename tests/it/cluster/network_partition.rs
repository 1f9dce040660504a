//! Network partition: one node's link to the database is cut, silently or with an error, while other nodes end
//! sessions. The node answers correctly or with 503, shows the cut in its metrics, and recovers without intervention.

use std::time::Instant;

use super::{
    MAX_STALE, accepted_for, assert_cut_off, beside, database_timeout, logged_out, metric, new_session, node,
    recovered, unavailable, until_refused, until_shown, who,
};
use crate::support::tcp_proxy::{Cut, Link};
use crate::support::{Tokens, on_postgres, postgres, print_figure, refresh_with, register};

on_postgres!(a_partitioned_node_is_right_or_refuses_and_recovers);

/// How a link is cut, how it is restored, and whether that takes a new connection.
type Way = (&'static str, fn(&Link) -> Cut, fn(Cut), bool);

const WAYS: [Way; 3] = [
    ("held, then passed on", Link::hold, Cut::release, false),
    ("held, then closed", Link::hold, drop, true),
    ("closed", Link::refuse, drop, true),
];

fn a_partitioned_node_is_right_or_refuses_and_recovers() {
    // The cases mostly wait, so they run concurrently.
    std::thread::scope(|scope| {
        WAYS.iter().for_each(|way| drop(scope.spawn(|| survives_a_cut(way))));
    });
}

fn survives_a_cut((how, cut, mend, reconnects): &Way) {
    let url = postgres::new_database();
    let link = Link::to(postgres::shared().socket());
    let near = node(&url).start();
    let far = beside(&near, &link.url(&url)).set("DATABASE_TIMEOUT", database_timeout()).start();
    let alive = Tokens::in_jar_of(&register(&near, "emily"));
    let [ended, ended_later, own] = [(); 3].map(|()| new_session(&near, "emily"));
    for session in [&alive, &ended, &ended_later, &own] {
        assert_eq!(who(&far, &session.access).status, 200);
    }

    let cut_at = Instant::now();
    let link_is_cut = cut(&link);
    let ended_at = logged_out(&near, &ended);
    let (accepted_during, cache_used_for) = std::thread::scope(|scope| {
        let accepted_during = scope.spawn(|| until_refused(&far, &ended, ended_at));
        let cache_used_for = unavailable(&far, &alive, cut_at);
        (accepted_during.join().unwrap(), cache_used_for)
    });
    print_figure(&format!(
        "link {how}: an ended session was accepted for {accepted_during:?} after its end was answered, the cache was used for {cache_used_for:?}"
    ));
    assert!(accepted_during <= MAX_STALE);
    assert_cut_off(&far, &alive, &own);
    logged_out(&near, &ended_later);

    mend(link_is_cut);
    let took = recovered(&far, &alive, &[&ended, &ended_later], Instant::now());
    print_figure(&format!("link {how}: right again {took:?} after it was mended"));
    Tokens::set_by(&refresh_with(&far, &alive.refresh));
    until_shown(&far, "doorward_feed_connected", |connected| connected > 0.0);
    assert_eq!(metric(&far, "doorward_feed_connections_total") >= 2.0, *reconnects);
    // Whether or not the logout sent during the cut took effect, repeating it settles the state.
    accepted_for(&near, &own.access, logged_out(&far, &own));
    let last = new_session(&near, "emily");
    assert_eq!(who(&far, &last.access).status, 200);
    accepted_for(&far, &last.access, logged_out(&near, &last));
}
