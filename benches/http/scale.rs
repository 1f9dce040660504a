//! Scale: the capacity of one node and one PostgreSQL, for the arithmetic of docs/scale.md: logins without their hash,
//! logouts, the effect of NOTIFY on commits, and the size of a session on disk.

use doorward::settings::TokenAlgorithm;

use super::check::Ground;
use super::load::{self, Pace, Visitor};
use super::node::Node;
use super::postgres::Cluster;
use super::refresh::{self, CONNECTIONS, Crowd};
use super::report::{Goal, Report, Series, interleaved};
use super::seed::{self, Rows};
use super::{Plan, login, machine};

/// The statements of a logout, without the notification.
const END: &str = "UPDATE sessions SET ended_at = :at::bigint, end_reason = 'sign_out', expires_at = idle_expires_at \
    WHERE id = decode(lpad(to_hex(:n::bigint), 32, '0'), 'hex') RETURNING id, account_id, access_expires_at;\n\
    INSERT INTO revocations (session_id, created_at, expires_at) \
    VALUES (decode(lpad(to_hex(:n::bigint), 32, '0'), 'hex'), :at::bigint, :at::bigint + 900000) RETURNING *;\n\
    INSERT INTO audit_events (at, kind, account_id, detail) VALUES (:at::bigint, 'sign_out', 1 + :n::bigint % 1000, 'native');\n";

/// The notification.
const NOTIFY: &str = "SELECT pg_notify('doorward_revocations', \
    :n::bigint || ':00000000-0000-0000-0000-000000000000::::' || :at::bigint || ':' || :at::bigint);\n";

/// Measures all of it.
pub fn measure(plan: &Plan, report: &mut Report) {
    disk(plan, report);
    let cluster = Cluster::start(machine::server_core());
    let rows = Rows { sessions: plan.many, ..Rows::default() };
    let ground = Ground::new(plan, "scale", TokenAlgorithm::Hs256, Rows::default());
    let url = seed::postgres(&cluster, "scale", rows);
    let size = cluster.psql("scale", "SELECT pg_total_relation_size('sessions')").parse::<f64>().unwrap();
    report.figure("a session on PostgreSQL's disk, indexes included", size / plan.many as f64, "bytes", None);
    let node = refresh::postgres_place(&ground, &url).cheap_hashes().serve();
    carries(plan, report, &ground, &node);
    drop(node);
    notices(plan, report, &cluster);
    let _ = std::fs::remove_dir_all(ground.folder());
}

fn disk(plan: &Plan, report: &mut Report) {
    let folder = plan.folder.join("work").join("disk");
    std::fs::create_dir_all(&folder).unwrap();
    let size = |sessions: u64| {
        let file = folder.join(format!("{sessions}.db"));
        seed::sqlite(&file, Rows { sessions, ..Rows::default() });
        std::fs::metadata(file).unwrap().len() as f64
    };
    let each = (size(plan.many) - size(0)) / plan.many as f64;
    report.figure("a session on SQLite's disk, indexes included", each, "bytes", None);
    std::fs::remove_dir_all(folder).unwrap();
}

/// The load that one node puts on one PostgreSQL.
fn carries(plan: &Plan, report: &mut Report, ground: &Ground, node: &Node) {
    let core = Some(machine::load_core());
    let request = login::account(node);
    let mut crowd = Crowd::new(&ground.keys, 0..plan.many / 2, 64);
    let half = plan.many / 2;
    let mut leavers: Vec<_> = (0..64)
        .map(|at| Visitor::leaving((half + at..plan.many).step_by(64).map(|n| ground.keys.refresh(n))))
        .collect();
    let names = ["doorward, refreshes", "doorward, logouts", "doorward, logins at cost 4"];
    let rates = interleaved(plan.rounds, &names, |at| match at {
        0 => crowd.refresh(node, plan.seconds).rate(),
        1 => {
            let leaving = std::mem::take(&mut leavers);
            let (outcome, left) = load::drive(node.address, core, leaving, Pace::Closed, plan.seconds);
            leavers = left;
            outcome.must_be(&[200, 204]);
            outcome.rate()
        }
        _ => {
            let (outcome, _) =
                load::drive(node.address, core, login::visitors(&request, 16), Pace::Closed, plan.seconds);
            outcome.must_be(&[200]);
            outcome.rate()
        }
    });
    report.note(&format!(
        "One node with {CONNECTIONS} connections on the last core, with its clients; PostgreSQL (fsync on, {} sessions) on \
         the first. Logins with bcrypt cost 4: what is left is the database's part, of one account.",
        plan.many
    ));
    for one in &rates {
        report.figure(one.name.trim_start_matches("doorward, "), one.median(), "/s", None);
    }
    report.series("One node on PostgreSQL", "a second", &rates);
}

/// NOTIFY takes a lock from before a commit until after it: commits with notifications are serialised.
fn notices(plan: &Plan, report: &mut Report, cluster: &Cluster) {
    let script = |statements: &[&str]| refresh::script(plan.many, statements);
    let with = script(&["BEGIN;\n", END, NOTIFY, "COMMIT;\n"]);
    let without = script(&["BEGIN;\n", END, "SELECT 1;\n", "COMMIT;\n"]);
    let names = [1, 8, 32].map(|connections| {
        [(connections, true), (connections, false)].map(|(connections, notifies)| (connections, notifies))
    });
    let runs: Vec<(usize, bool)> = names.concat();
    let labels: Vec<String> = runs
        .iter()
        .map(|(count, notifies)| format!("{count} connections, {} NOTIFY", if *notifies { "with" } else { "without" }))
        .collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let rates: Vec<Series> = interleaved(plan.rounds, &labels, |at| {
        let (connections, notifies) = runs[at];
        let script = if notifies { &with } else { &without };
        cluster.pgbench("scale", script, connections, plan.seconds.min(1.0)).rate
    });
    report.note("What a logout writes, by pgbench, with and without the notice in the transaction.");
    report.ratio("commits that notify ÷ commits that do not, 1 connection", &rates[0], &rates[1], None);
    report.ratio("the same, 8 connections", &rates[2], &rates[3], None);
    report.ratio("the same, 32 connections", &rates[4], &rates[5], None::<Goal>);
    report.series("Logouts by pgbench", "transactions/s", &rates);
}
