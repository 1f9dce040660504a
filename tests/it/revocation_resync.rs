//! Revocation resync: a start and a reconnection read the revocations whose tokens can be alive, by an index, and none of
//! those that are kept for a day after; a clock that is set back gets those too.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use doorward::clock::Timestamp;
use doorward::testing::TestService;

use crate::support::http::Request;
use crate::support::postgres::psql;
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, Tables, Tokens, is_accepted, on_both_backends, on_postgres, register, sign_in};

on_both_backends!(
    a_start_reads_no_expired_revocations,
    every_live_revocation_is_read_also_where_expiries_coincide,
    a_clock_that_is_set_back_gets_the_revocations_that_a_start_left_out,
    live_revocations_are_found_by_the_index,
);
on_postgres!(a_reconnection_reads_no_expired_revocations);

/// Expired rows: many times more than a start may read.
const EXPIRED: u64 = 20_000;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// Runs SQL on a service's database.
fn execute(service: &TestService, tables: &Tables, sql: &str) {
    match tables {
        Tables::Postgres(url) => drop(psql(url, sql)),
        Tables::Sqlite => in_sqlite(service).batch_execute(sql).unwrap_or_else(|why| panic!("{sql}: {why}")),
    }
}

fn in_sqlite(service: &TestService) -> SqliteConnection {
    let file = service.folder().join("doorward.db");
    let mut db = SqliteConnection::establish(&file.display().to_string()).unwrap();
    db.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
    db
}

/// Adds revocations of sessions that do not exist; `expiry` is SQL over the row's number `n`.
fn add(service: &TestService, tables: &Tables, count: u64, expiry: &str) {
    let columns = "revocations (session_id, created_at, expires_at)";
    let sql = match tables {
        Tables::Postgres(_) => format!(
            "INSERT INTO {columns} SELECT decode(md5(random()::text), 'hex'), 0, {expiry} FROM generate_series(1, {count}) n"
        ),
        Tables::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
             INSERT INTO {columns} SELECT randomblob(16), 0, {expiry} FROM numbers"
        ),
    };
    execute(service, tables, &sql);
}

fn add_expired(service: &TestService, tables: &Tables) {
    let expiry = service.clock().now().minus(MINUTE * 2).as_millis();
    add(service, tables, EXPIRED, &format!("{expiry} - n"));
}

fn metric(service: &TestService, name: &str) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// Waits for this number of the feed's connections, each of which has read the table by the time it is counted.
fn wait_for_connections(service: &TestService, count: u64) {
    until(PATIENCE, "the feed to connect", || {
        (metric(service, "doorward_feed_connections_total") >= count).then_some(())
    });
}

fn a_start_reads_no_expired_revocations(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let mut service = builder.start();
    let live = Tokens::in_jar_of(&register(&service, "emily"));
    let mut browser = sign_in(&service, "emily");
    let ended = Tokens::in_jar_of(&browser);
    assert_eq!(browser.post_empty("/auth/logout").status, 200);
    add_expired(&service, &tables);
    service.restart();
    wait_for_connections(&service, 1);
    assert_eq!(metric(&service, "doorward_revocation_cache_entries"), 1);
    let read = metric(&service, "doorward_revocations_read_total");
    // The last row by id, and the live one; by the start, by the feed, and by each poll of its first seconds.
    assert!((2..EXPIRED).contains(&read), "{read} rows");
    assert!(is_accepted(&service, &live.access) && !is_accepted(&service, &ended.access));
    service.core().sync().unwrap();
    assert!(is_accepted(&service, &live.access) && !is_accepted(&service, &ended.access));
    assert!(metric(&service, "doorward_revocations_read_total") < EXPIRED);
}

fn a_reconnection_reads_no_expired_revocations() {
    let (builder, tables) = Backend::Postgres.service_and_tables();
    let service = builder.start();
    wait_for_connections(&service, 1);
    let live = Tokens::in_jar_of(&register(&service, "emily"));
    add_expired(&service, &tables);
    for connections in 2..4 {
        let ended = Tokens::in_jar_of(&sign_in(&service, "emily"));
        // Another node ends a session while this one is cut off.
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        execute(&service, &tables, cut);
        until(PATIENCE, "the sign-out", || {
            let answer = Request::new("POST", "/auth/logout").bearer(&ended.access).send(service.address());
            (answer.status == 200).then_some(())
        });
        wait_for_connections(&service, connections);
        assert!(!is_accepted(&service, &ended.access) && is_accepted(&service, &live.access));
        let read = metric(&service, "doorward_revocations_read_total");
        assert!(read < EXPIRED, "{read} rows after {connections} connections");
    }
}

fn every_live_revocation_is_read_also_where_expiries_coincide(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let mut service = builder.start();
    let soon = service.clock().now().plus(MINUTE * 10).as_millis();
    for (count, expiry) in [(1700, format!("{soon} + n % 2")), (900, format!("{soon} - n")), (1, format!("{soon}"))] {
        add_expired(&service, &tables);
        add(&service, &tables, count, &expiry);
    }
    service.restart();
    assert_eq!(metric(&service, "doorward_revocation_cache_entries"), 2601);
    wait_for_connections(&service, 1);
    assert_eq!(metric(&service, "doorward_revocation_cache_entries"), 2601);
}

fn a_clock_that_is_set_back_gets_the_revocations_that_a_start_left_out(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let mut service = builder.start();
    let begin: Timestamp = service.clock().now();
    let mut browser = register(&service, "emily");
    let ended = Tokens::in_jar_of(&browser);
    assert_eq!(browser.post_empty("/auth/logout-all").status, 200);
    // As long as the account's revocation: an hour and a half ago, so that the purge keeps both.
    add(&service, &tables, 2500, &format!("{}", begin.plus(DAY).as_millis()));
    service.clock().set(begin.plus(DAY + MINUTE * 90));
    service.restart();
    assert_eq!(metric(&service, "doorward_revocation_cache_entries"), 0);
    // By this clock the token has expired. Once the clock is right the table is asked, until the whole table has been read.
    assert!(!is_accepted(&service, &ended.access));
    service.clock().set(begin.plus(MINUTE));
    assert!(!is_accepted(&service, &ended.access));
    service.core().sync().unwrap();
    assert_eq!(metric(&service, "doorward_revocation_cache_entries"), 2501);
    assert!(!is_accepted(&service, &ended.access));
}

#[derive(QueryableByName)]
struct PlanStep {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// The plan of the query for the page after an expiry and an id, as `revocations::list` makes it.
fn plan(service: &TestService, tables: &Tables, expiry: i64) -> String {
    let query = |expiry: &str, id: &str| {
        format!(
            "SELECT * FROM revocations WHERE expires_at >= {expiry} AND (expires_at > {expiry} OR id > {id}) \
             ORDER BY expires_at, id LIMIT 1000"
        )
    };
    match tables {
        Tables::Sqlite => {
            let explained = format!("EXPLAIN QUERY PLAN {}", query(&expiry.to_string(), "7"));
            let steps: Vec<PlanStep> = diesel::sql_query(explained).load(&mut in_sqlite(service)).unwrap();
            steps.into_iter().map(|step| step.detail).collect::<Vec<_>>().join("\n")
        }
        // A prepared statement is planned without its values after some executions.
        Tables::Postgres(url) => ["force_custom_plan", "force_generic_plan"]
            .map(|mode| {
                let prepared = format!("PREPARE page (bigint, bigint) AS {}", query("$1", "$2"));
                let explained = format!("EXPLAIN EXECUTE page ({expiry}, 7)");
                psql(url, &format!("SET plan_cache_mode = {mode}; {prepared}; {explained}"))
            })
            .join("\n"),
    }
}

fn live_revocations_are_found_by_the_index(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    add_expired(&service, &tables);
    let now = service.clock().now();
    for live in [0, 3000] {
        add(&service, &tables, live, &format!("{} + n", now.plus(MINUTE).as_millis()));
        // As autovacuum does.
        execute(&service, &tables, "ANALYZE");
        let plan = plan(&service, &tables, now.as_millis());
        assert!(plan.contains("revocations_expires_at"), "{live} live rows: {plan}");
        let scans = ["Seq Scan", "SCAN revocations", "USE TEMP B-TREE"];
        assert!(!scans.iter().any(|scan| plan.contains(scan)), "{live} live rows: {plan}");
    }
}
