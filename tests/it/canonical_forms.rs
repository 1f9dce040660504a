//! Canonical identifiers of a database that an older version has written: a start rewrites them, and stops at accounts that have
//! become one.

use std::fmt::Write as _;

use crate::support::http::Request;
use crate::support::process::{Node, WorkDir};
use crate::support::{self, Backend, PASSWORD, on_both_backends};

on_both_backends!(
    a_start_rewrites_canonical_forms_of_an_older_version,
    accounts_that_become_one_stop_the_start_and_none_is_chosen,
    a_start_without_migrations_asks_for_them,
);

/// Accounts as the version before wrote them: domains were case-folded, and a dotless ı was an i.
fn older(backend: Backend, accounts: &[(&str, &str, &str)]) -> WorkDir {
    let workdir = WorkDir::on(backend);
    for (email, username, _) in accounts {
        let add = ["account", "add", "--email", email, "--username", username, "--password-stdin"];
        workdir.succeed(&add, PASSWORD);
    }
    let mut sql = String::new();
    for (index, (_, _, canonical)) in accounts.iter().enumerate() {
        let ((email, username), id) = (canonical.split_once(' ').unwrap(), index + 1);
        let set = format!("email_canonical = '{email}', username_canonical = '{username}'");
        let _ = write!(sql, "UPDATE accounts SET {set} WHERE id = {id};");
    }
    execute(&workdir, &format!("{sql} DELETE FROM canonical_forms;"));
    workdir
}

/// Runs SQL in the database of a folder.
fn execute(workdir: &WorkDir, sql: &str) {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};

    if let Some(url) = workdir.get("DATABASE_URL") {
        support::postgres::psql(url, sql);
        return;
    }
    let file = workdir.file("doorward.db").display().to_string();
    let mut db = SqliteConnection::establish(&file).unwrap_or_else(|why| panic!("{file}: {why}"));
    db.batch_execute(&format!("PRAGMA busy_timeout = 5000; {sql}")).unwrap_or_else(|why| panic!("{sql}: {why}"));
}

fn sign_in(node: &Node, identifier: &str) -> u16 {
    let body = serde_json::json!({ "identifier": identifier, "password": PASSWORD }).to_string();
    node.send(&Request::new("POST", "/auth/login").json(&body)).status
}

fn a_start_rewrites_canonical_forms_of_an_older_version(backend: Backend) {
    let workdir = older(
        backend,
        &[
            ("ada@müller.example", "ada", "ada@müller.example ada"),
            ("eve@mail.example", "sınan", "eve@mail.example sinan"),
        ],
    );
    let node = workdir.serve(&[]);
    for (identifier, status) in [
        ("ada@müller.example", 200),
        ("ADA@xn--mller-kva.example", 200),
        ("sınan", 200),
        ("eve@mail.example", 200),
        ("sinan", 401),
    ] {
        assert_eq!(sign_in(&node, identifier), status, "{identifier}");
    }
    drop(node);
    assert_eq!(workdir.succeed(&["migrate"], "").lines().count(), 1, "nothing is left to do");
}

fn accounts_that_become_one_stop_the_start_and_none_is_chosen(backend: Backend) {
    let accounts = [
        ("ada@müller.example", "ada", "ada@müller.example ada"),
        ("other@mail.example", "other", "ada@xn--mller-kva.example other"),
        ("eve@mail.example", "eve", "eve@mail.example eve"),
    ];
    let workdir = older(backend, &accounts);
    execute(&workdir, "UPDATE accounts SET email = 'ada@xn--mller-kva.example' WHERE id = 2;");
    for command in [&["serve"][..], &["migrate"]] {
        let ran = workdir.run(command);
        assert!(!ran.status.success(), "{ran:?}");
        for words in ["accounts 2 and 1 have the same email", "ada@xn--mller-kva.example", "doorward account set-email"]
        {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        }
    }
    workdir.succeed(&["account", "set-email", "2", "other@mail.example"], "");
    workdir.succeed(&["migrate"], "");
    let node = workdir.serve(&[]);
    for identifier in ["ada@xn--mller-kva.example", "other@mail.example", "eve"] {
        assert_eq!(sign_in(&node, identifier), 200, "{identifier}");
    }
}

fn a_start_without_migrations_asks_for_them(backend: Backend) {
    let workdir = older(backend, &[("ada@müller.example", "ada", "ada@müller.example ada")]);
    let workdir = workdir.set("AUTO_MIGRATE", "false");
    let ran = workdir.run(&["serve"]);
    assert!(!ran.status.success() && ran.stderr.contains("run `doorward migrate`"), "{ran:?}");
    workdir.succeed(&["migrate"], "");
    assert_eq!(sign_in(&workdir.serve(&[]), "ada@xn--mller-kva.example"), 200);
}
