//! A database that answers and cannot be written: `/readyz` is 503, the log has one line for the whole time, and what needs no
//! write goes on.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use serde_json::json;

use crate::support::http::Request;
use crate::support::postgres::{Cluster, database_of, psql};
use crate::support::process::{Node, PATIENCE, WorkDir, until};
use crate::support::{Backend, on_postgres};

on_postgres!(
    a_locked_table_makes_a_node_unready,
    a_read_only_default_makes_a_node_unready,
    a_standby_serves_what_needs_no_write,
);

const BEGIN: &str = "the database does not answer";
const END: &str = "the database answers again";

fn readiness(node: &Node, expected: u16) {
    until(PATIENCE, &format!("/readyz {expected}"), || (node.get("/readyz").status == expected).then_some(()));
}

fn sign_in_status(node: &Node) -> u16 {
    node.post("/auth/login", &json!({ "username": "emilys", "password": "emilyspass" })).status
}

/// Refuses for a while, with requests all the time; the log has one line for its beginning, and one for its end.
fn assert_one_spell(node: &Node, access: &str) {
    readiness(node, 503);
    for _ in 0..5 {
        sign_in_status(node);
        node.get("/readyz");
        // A connection that was just terminated, or a pool that a busy machine has exhausted, costs a try.
        let me = Request::new("GET", "/auth/me").bearer(access);
        until(PATIENCE, "a read, which needs no write", || (node.send(&me).status == 200).then_some(()));
    }
    assert_eq!(node.get("/readyz").status, 503, "while it lasts");
}

fn assert_recovered(node: &Node) {
    readiness(node, 200);
    assert_eq!(sign_in_status(node), 200);
    let count = |line: &str| {
        let log = node.stderr();
        log.lines().filter(|text| text.contains(line) && text.contains("path=write")).count()
    };
    until(PATIENCE, "the line of its end", || (count(END) > 0).then_some(()));
    assert_eq!((count(BEGIN), count(END)), (1, 1), "{}", node.stderr());
}

/// The lock of a maintenance command that was left open.
fn a_locked_table_makes_a_node_unready() {
    for table in ["sessions", "audit_events", "throttles", "revocations"] {
        let workdir = WorkDir::on(Backend::Postgres).set("DATABASE_TIMEOUT", "1s");
        let node = workdir.serve(&["serve", "--demo"]);
        let (access, _) = node.sign_in("emilys", "emilyspass");
        let mut other = PgConnection::establish(&workdir.value("DATABASE_URL")).unwrap();
        // Reads go on; every change of the table waits.
        other.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN SHARE MODE")).unwrap();
        assert_one_spell(&node, &access);
        other.batch_execute("ROLLBACK").unwrap();
        assert_recovered(&node);
    }
}

fn a_read_only_default_makes_a_node_unready() {
    let workdir = WorkDir::on(Backend::Postgres);
    let url = workdir.value("DATABASE_URL");
    let node = workdir.serve(&["serve", "--demo"]);
    let (access, _) = node.sign_in("emilys", "emilyspass");
    let disconnect =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'doorward'";
    let reconnect = format!("{disconnect} AND datname = '{}'", database_of(&url));
    let set = |value: &str| {
        let database = database_of(&url);
        psql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = {value}"));
        psql("postgres", &reconnect);
    };
    set("on");
    assert_one_spell(&node, &access);
    set("off");
    assert_recovered(&node);
}

/// Started on a read-only replica: checks are answered, and a logout on the primary's node is learnt by polling.
fn a_standby_serves_what_needs_no_write() {
    let primary = Cluster::own();
    let url = primary.new_database();
    let on_primary = WorkDir::on(Backend::Postgres).set("DATABASE_URL", &url);
    let writer = on_primary.serve(&["serve", "--demo"]);
    let (access, _) = writer.sign_in("emilys", "emilyspass");
    let standby = primary.standby();
    let caught_up = "SELECT count(*) FROM sessions";
    until(PATIENCE, "the replica", || (standby.psql(&url, caught_up) == primary.psql(&url, caught_up)).then_some(()));
    let folder = |cluster: &Cluster| cluster.socket().parent().unwrap().display().to_string();
    let replica_url = url.replace(&folder(&primary), &folder(&standby));
    for auto_migrate in ["true", "false"] {
        let reader = WorkDir::on(Backend::Postgres).set("DATABASE_URL", &replica_url).set("AUTO_MIGRATE", auto_migrate);
        let reader = reader.set("KEYS_FILE", on_primary.file("doorward.keys").display().to_string());
        let node = reader.serve(&["serve"]);
        assert!(node.accepts(&access));
        assert_eq!(sign_in_status(&node), 503);
        readiness(&node, 503);
        let log = node.stderr_with("arrive by polling");
        assert_eq!(log.lines().filter(|line| line.contains("path=write")).count(), 1, "{log}");
    }
    let reader = WorkDir::on(Backend::Postgres).set("DATABASE_URL", &replica_url);
    let reader = reader.set("KEYS_FILE", on_primary.file("doorward.keys").display().to_string()).serve(&["serve"]);
    assert_eq!(writer.send(&Request::new("POST", "/auth/logout").bearer(&access)).status, 200);
    until(PATIENCE, "the logout on the replica", || (!reader.accepts(&access)).then_some(()));
}
