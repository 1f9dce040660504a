//! Failover to an asynchronous replica: the primary crashes, and the replica lacks its last commits, so that revocation
//! ids restart below what the nodes have seen. No logout answered from then on is missed.

use std::time::{Duration, Instant};

use super::{accepted_for, beside, logged_out, new_session, node, recovered, who};
use crate::support::postgres::Cluster;
use crate::support::process::until;
use crate::support::tcp_proxy::Link;
use crate::support::{Tokens, is_soak, on_postgres, print_figure, register};

on_postgres!(no_logout_is_missed_after_a_failover);

/// More than the sequence values that PostgreSQL logs ahead (32), so that the new primary issues some of them again.
const LOST: i64 = 300;

/// Longer than a poll's overlap window: the nodes have passed every id that they saw. Only the long job waits for it.
const DONE_WITH: Duration = Duration::from_secs(13);

fn no_logout_is_missed_after_a_failover() {
    let primary = Cluster::own();
    let url = primary.new_database();
    let link = Link::to(primary.socket());
    let first = node(&link.url(&url)).start();
    let second = beside(&first, &link.url(&url)).start();
    let alive = Tokens::in_jar_of(&register(&first, "emily"));
    let [ended, lost] = [(); 2].map(|()| new_session(&first, "emily"));
    let dies_later: Vec<Tokens> = (0..5).map(|_| new_session(&first, "emily")).collect();
    accepted_for(&second, &ended.access, logged_out(&first, &ended));
    let standby = primary.standby();
    catch_up(&primary, &standby);
    stop_following(&standby);

    lose(&primary, &url);
    let seen = primary.psql(&url, "SELECT max(id) FROM revocations").parse::<i64>().unwrap();
    accepted_for(&second, &lost.access, logged_out(&first, &lost));
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
        let (origin, other) = (nodes[number % 2], nodes[(number + 1) % 2]);
        assert_eq!(who(other, &session.access).status, 200);
        let delay = accepted_for(other, &session.access, logged_out(origin, session));
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

/// Stops replication: the replica lags from here on.
fn stop_following(standby: &Cluster) {
    standby.psql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
    standby.psql("postgres", "SELECT pg_reload_conf()");
    let query = "SELECT count(*) FROM pg_stat_wal_receiver";
    until(super::SOON, "the replica to lag", || (standby.psql("postgres", query) == "0").then_some(()));
}

/// Writes revocations that the replica will not have.
fn lose(primary: &Cluster, url: &str) {
    let rows = format!(
        "INSERT INTO revocations (session_id, created_at, expires_at) \
         SELECT decode(lpad(to_hex(number), 32, '0'), 'hex'), max(created_at), max(access_expires_at) \
         FROM sessions, generate_series(1, {LOST}) number GROUP BY number"
    );
    primary.psql(url, &rows);
}
