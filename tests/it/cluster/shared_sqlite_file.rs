//! Two processes on one SQLite file: without notifications, polling carries revocations from one to the other, and so
//! it does for an operator's command beside a running service.

use std::time::{Duration, Instant};

use serde_json::json;

use super::MAX_STALE;
use crate::support::process::{Node, WorkDir, until};
use crate::support::{Backend, PASSWORD, on_sqlite, print_figure};

on_sqlite!(two_processes_on_one_sqlite_file_see_each_others_logouts);

fn two_processes_on_one_sqlite_file_see_each_others_logouts() {
    let workdir = WorkDir::on(Backend::Sqlite);
    let first = workdir.serve(&[]);
    let second = workdir.serve(&[]);
    let body = json!({ "username": "emily", "password": PASSWORD });
    assert_eq!(first.post("/auth/register", &body).status, 201);
    let mut delays = vec![];
    for round in 0..6 {
        let (origin, other) = if round % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let (access, refresh) = origin.sign_in("emily", PASSWORD);
        assert!(other.accepts(&access));
        assert_eq!(origin.post("/auth/logout", &json!({ "refreshToken": refresh })).status, 200);
        assert!(!origin.accepts(&access));
        delays.push(accepted_for(other, &access, Instant::now()));
    }
    let (access, _) = first.sign_in("emily", PASSWORD);
    workdir.succeed(&["session", "revoke-all", "emily"], "");
    let ended = Instant::now();
    delays.extend([&first, &second].map(|node| accepted_for(node, &access, ended)));
    print_figure(&format!("two processes on one SQLite file: accepted for {delays:?}"));
}

fn accepted_for(node: &Node, access: &str, ended: Instant) -> Duration {
    let mut last = Duration::ZERO;
    until(super::SOON, "the token to be refused", || {
        let sent = ended.elapsed();
        if !node.accepts(access) {
            return Some(last);
        }
        assert!(sent <= MAX_STALE, "accepted {sent:?} after its end was answered");
        last = sent;
        None
    })
}
