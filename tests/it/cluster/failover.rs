//! The primary dies and its asynchronous replica takes over, without the last of what the primary had answered: its
//! numbers of revocations begin again below what the nodes have seen. No logout that is answered from then on is missed.

use std::time::{Duration, Instant};

use super::{beside, logged_out, new_session, node, prunable, recovered, who};
use crate::support::postgres::Cluster;
use crate::support::process::until;
use crate::support::tcp_proxy::Link;
use crate::support::{Tokens, is_soak, on_postgres, print_figure, register};

on_postgres!(no_logout_is_missed_after_a_failover);

/// More than the numbers that PostgreSQL sets aside ahead (32), so that the new primary gives some of them out again.
const LOST: i64 = 300;

/// Longer than a poll looks back: the nodes have done with every number that they saw. Only the long job waits for it.
const DONE_WITH: Duration = Duration::from_secs(13);

fn no_logout_is_missed_after_a_failover() {
    let primary = Cluster::own();
    let url = primary.new_database();
    let link = Link::to(primary.socket());
    let first = node(&link.url(&url)).start();
    let second = beside(&first, &link.url(&url)).start();
    let alive = Tokens::held_by(&register(&first, "emily"));
    let [ended, lost] = [(); 2].map(|()| new_session(&first, "emily"));
    let dies_later: Vec<Tokens> = (0..5).map(|_| new_session(&first, "emily")).collect();
    prunable(&second, &ended.access, logged_out(&first, &ended));
    let standby = primary.standby();
    catch_up(&primary, &standby);
    stop_following(&standby);

    lose(&primary, &url);
    let seen = primary.psql(&url, "SELECT max(id) FROM revocations").parse::<i64>().unwrap();
    prunable(&second, &lost.access, logged_out(&first, &lost));
    if is_soak() {
        std::thread::sleep(DONE_WITH);
    }

    primary.crash();
    standby.psql("postgres", "SELECT pg_promote()");
    link.lead_to(&standby.socket());
    let took_over = Instant::now();
    for node in [&first, &second] {
        let took = recovered(node, &alive, &[&ended], took_over);
        print_figure(&format!("failover: right again {took:?} after the replica took over"));
    }
    for (number, session) in dies_later.iter().enumerate() {
        let nodes = [&first, &second];
        let (asked, other) = (nodes[number % 2], nodes[(number + 1) % 2]);
        assert_eq!(who(other, &session.access).status, 200);
        let delay = prunable(other, &session.access, logged_out(asked, session));
        print_figure(&format!("failover: a logout on the new primary was heard after {delay:?}"));
    }
    let given = standby.psql(&url, "SELECT max(id) FROM revocations").parse::<i64>().unwrap();
    assert!(given < seen, "the new primary gave out {given}, the nodes had seen {seen}: this tried nothing");
}

fn catch_up(primary: &Cluster, standby: &Cluster) {
    let position = primary.psql("postgres", "SELECT pg_current_wal_insert_lsn()");
    let query = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
    until(super::SOON, "the replica", || (standby.psql("postgres", &query) == "t").then_some(()));
}

/// The replica lags behind from here on.
fn stop_following(standby: &Cluster) {
    standby.psql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
    standby.psql("postgres", "SELECT pg_reload_conf()");
    let query = "SELECT count(*) FROM pg_stat_wal_receiver";
    until(super::SOON, "the replica to lag", || (standby.psql("postgres", query) == "0").then_some(()));
}

/// Revocations that the replica will not have.
fn lose(primary: &Cluster, url: &str) {
    let rows = format!(
        "INSERT INTO revocations (session_id, created_at, expires_at) \
         SELECT decode(lpad(to_hex(number), 32, '0'), 'hex'), max(created_at), max(access_expires_at) \
         FROM sessions, generate_series(1, {LOST}) number GROUP BY number"
    );
    primary.psql(url, &rows);
}
