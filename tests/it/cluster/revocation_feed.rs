//! Revocation feed: how soon the other nodes learn of a logout, of every other session end, and of a revocation whose
//! notification was lost.

use std::time::{Duration, Instant};

use doorward::core::{AccountId, AccountStatus};
use doorward::testing::TestService;
use serde_json::json;

use super::{MAX_STALE, accepted_for, beside, logged_out, new_session, node, until_shown, who};
use crate::support::http::Request;
use crate::support::{PASSWORD, Tokens, is_soak, on_postgres, postgres, print_figure, register};

on_postgres!(
    a_thousand_logouts_reach_the_other_nodes_by_notification,
    every_kind_of_session_end_reaches_the_other_nodes,
    a_revocation_with_a_lost_notification_is_found_by_the_poll,
);

const LOGOUTS: usize = 1000;

/// Clients that log out concurrently.
const CLIENTS: usize = 2;

/// A delay that polling alone cannot reach, since a node polls twice a second.
const NOTIFICATION_DELAY: Duration = Duration::from_millis(100);

fn a_thousand_logouts_reach_the_other_nodes_by_notification() {
    let url = postgres::new_database();
    let first = node(&url).start();
    let others = [beside(&first, &url).start(), beside(&first, &url).start()];
    register(&first, "emily");
    let mut delays: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| delays_of_logouts(&first, &others))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    delays.sort();
    let at = |share: usize| delays[(delays.len() - 1) * share / 1000];
    let late = delays.iter().filter(|delay| **delay > Duration::from_millis(50)).count();
    print_figure(&format!(
        "{} logouts, {} other nodes: accepted for p50 {:?}, p99 {:?}, max {:?} after the answer; {late} past 50 ms",
        LOGOUTS,
        others.len(),
        at(500),
        at(990),
        at(1000),
    ));
    assert!(at(1000) <= MAX_STALE);
    assert!(!is_soak() || at(500) < NOTIFICATION_DELAY, "this is how fast a poll is");
    for other in &others {
        // A feed that reconnected has missed some notifications and read those rows from the table.
        until_shown(other, "doorward_feed_notifications_total", |notices| notices >= 900.0);
    }
}

/// For each logout of a client and each other node, how long the token was still accepted there.
fn delays_of_logouts(first: &TestService, others: &[TestService]) -> Vec<Duration> {
    let mut delays = vec![];
    for _ in 0..LOGOUTS / CLIENTS {
        let session = new_session(first, "emily");
        for other in others {
            assert_eq!(who(other, &session.access).status, 200, "it lives until it is ended");
        }
        let ended = logged_out(first, &session);
        assert_eq!(who(first, &session.access).status, 401, "immediately on the node of the logout");
        delays.extend(others.iter().map(|other| accepted_for(other, &session.access, ended)));
    }
    delays
}

type Act = fn(&TestService, AccountId, &Tokens);

/// The acts that end sessions, done on one node by a session other than the one that must end.
const ACTS: [(&str, Act); 5] = [
    ("logout-all", |node, _, by| {
        let body = json!({ "refreshToken": by.refresh }).to_string();
        assert_eq!(Request::new("POST", "/auth/logout-all").json(&body).send(node.address()).status, 200);
    }),
    ("a change of role", |node, account, _| node.core().set_role(account, "ADMIN").unwrap()),
    ("a change of status", |node, account, _| node.core().set_status(account, AccountStatus::Suspended).unwrap()),
    ("a change of password", |node, _, by| {
        let body = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern" }).to_string();
        let request = Request::new("POST", "/auth/change-password").json(&body).bearer(&by.access);
        let answer = request.send(node.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }),
    ("an operator's end of all sessions", |node, account, _| {
        node.core().end_all_sessions_as_operator(account).unwrap();
    }),
];

fn every_kind_of_session_end_reaches_the_other_nodes() {
    let url = postgres::new_database();
    let first = node(&url).start();
    let second = beside(&first, &url).start();
    for (number, (name, act)) in ACTS.iter().enumerate() {
        let username = format!("emily{number}");
        let account = AccountId(register(&first, &username).get("/auth/me").json()["id"].as_i64().unwrap());
        let (by, other) = (new_session(&first, &username), new_session(&first, &username));
        assert_eq!(who(&second, &other.access).status, 200);
        act(&first, account, &by);
        let delay = accepted_for(&second, &other.access, Instant::now());
        print_figure(&format!("{name}: accepted for {delay:?} on the other node"));
    }
}

/// The row is written and no notification sent, as after a failure between the two, or by an old tool.
fn a_revocation_with_a_lost_notification_is_found_by_the_poll() {
    let url = postgres::new_database();
    let first = node(&url).start();
    let second = beside(&first, &url).start();
    let session = Tokens::in_jar_of(&register(&first, "emily"));
    for node in [&first, &second] {
        assert_eq!(who(node, &session.access).status, 200);
    }
    let row = "INSERT INTO revocations (session_id, created_at, expires_at) \
               SELECT id, created_at, access_expires_at FROM sessions";
    postgres::psql(&url, row);
    let ended = Instant::now();
    for node in [&first, &second] {
        print_figure(&format!("without a notification: accepted for {:?}", accepted_for(node, &session.access, ended)));
    }
}
