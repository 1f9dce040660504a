//! One node's link to the database is cut, in silence or with an error, while the others go on ending sessions: the
//! node is right or refuses, and is right again by itself.

use std::time::Instant;

use super::{
    MAX_STALE, assert_cut_off, assert_unavailable, beside, logged_out, new_session, node, outlived, recovered,
    unavailable, until_refused, who,
};
use crate::support::link::{Cut, Link};
use crate::support::{Tokens, on_postgres, postgres, print_figure, register};

on_postgres!(
    a_node_behind_a_silent_link_is_right_or_refuses_and_comes_back,
    a_node_whose_held_connections_die_is_right_or_refuses_and_comes_back,
    a_node_that_is_refused_by_the_database_is_right_or_refuses_and_comes_back,
);

fn a_node_behind_a_silent_link_is_right_or_refuses_and_comes_back() {
    rides_out_a_cut("held, then passed on", Link::hold, Cut::release);
}

fn a_node_whose_held_connections_die_is_right_or_refuses_and_comes_back() {
    rides_out_a_cut("held, then closed", Link::hold, drop);
}

fn a_node_that_is_refused_by_the_database_is_right_or_refuses_and_comes_back() {
    rides_out_a_cut("closed", Link::refuse, drop);
}

fn rides_out_a_cut(how: &str, cut: fn(&Link) -> Cut, mend: fn(Cut)) {
    let url = postgres::new_database();
    let link = Link::to(postgres::shared().socket());
    let near = node(&url).start();
    let far = beside(&near, &link.url(&url)).set("DATABASE_TIMEOUT", "2s").start();
    let alive = Tokens::held_by(&register(&near, "emily"));
    let [ended, ended_later, own] = [(); 3].map(|()| new_session(&near, "emily"));
    for session in [&alive, &ended, &ended_later, &own] {
        assert_eq!(who(&far, &session.access).status, 200);
    }

    let link_is_cut = cut(&link);
    let cut_at = Instant::now();
    let ended_at = logged_out(&near, &ended);
    let believed = until_refused(&far, &ended, ended_at);
    let (trusted, answer) = unavailable(&far, &alive.access, cut_at);
    assert_unavailable(&answer, "a check");
    print_figure(&format!(
        "link {how}: a dead session was believed for {believed:?} after its end was answered, memory for {trusted:?}"
    ));
    assert!(believed <= MAX_STALE);
    assert_cut_off(&far, &alive, &own);
    logged_out(&near, &ended_later);

    mend(link_is_cut);
    let took = recovered(&far, &alive, &[&ended, &ended_later], Instant::now());
    print_figure(&format!("link {how}: right again {took:?} after it was mended"));
    Tokens::set_by(&crate::support::refresh_with(&far, &alive.refresh));
    // Whether the one that was asked during the cut had its effect or not, asking again settles it.
    let own_at = logged_out(&far, &own);
    outlived(&near, &own.access, own_at);
    let last = new_session(&near, "emily");
    assert_eq!(who(&far, &last.access).status, 200);
    outlived(&far, &last.access, logged_out(&near, &last));
}
