//! SQLite's file is deleted, moved or replaced under a running service, or is missing at a start beside the keys.

use std::fs;

use serde_json::json;

use crate::support::http::Request;
use crate::support::postgres::new_database;
use crate::support::process::{Node, PATIENCE, WorkDir, until};
use crate::support::{Backend, on_both_backends, on_sqlite};

on_sqlite!(a_file_that_is_gone_is_noticed_and_nothing_is_acknowledged, keys_beside_a_missing_file_stop_the_start);
on_both_backends!(keys_beside_an_empty_database_stop_the_start);

const JWT_SECRET: &str = "FDZJbfztgU4D5A/HhdMdUotlv9O/8RUFnY4ZjwJ5DGRYk3XNy9UL1G5mpZ9rmrY/";
const PEPPER: &str = "bLCqlxSUOtEx0L0O3Qh2veqVMZ9uWzJe3vNoi6ClOUHxL8pXMx7ROrHgoS7T5y7s";

/// What happens to the file.
type Loss = fn(&WorkDir);

fn refused(node: &Node, refresh: &str) {
    until(PATIENCE, "/readyz 503", || (node.get("/readyz").status == 503).then_some(()));
    let sign_in = node.post("/auth/login", &json!({ "username": "emilys", "password": "emilyspass" }));
    assert_eq!(sign_in.status, 503, "{}", sign_in.text());
    let cookie = format!("refreshToken={refresh}");
    assert_eq!(node.send(&Request::new("POST", "/auth/logout").cookie_header(&cookie)).status, 503);
    assert_eq!(node.get("/readyz").status, 503);
}

fn a_file_that_is_gone_is_noticed_and_nothing_is_acknowledged() {
    // With what the log says of it.
    let losses: [(Loss, &str); 4] = [
        (|dir| fs::remove_file(dir.file("doorward.db")).unwrap(), "cannot be found any more"),
        (|dir| fs::rename(dir.file("doorward.db"), dir.file("away.db")).unwrap(), "cannot be found any more"),
        (
            |dir| {
                fs::copy(dir.file("doorward.db"), dir.file("copy.db")).unwrap();
                fs::rename(dir.file("copy.db"), dir.file("doorward.db")).unwrap();
            },
            "was replaced by another file",
        ),
        (
            |dir| {
                fs::rename(dir.file("doorward.db"), dir.file("away.db")).unwrap();
                fs::write(dir.file("doorward.db"), "").unwrap();
            },
            "was replaced by another file",
        ),
    ];
    for (lose, told) in losses {
        let workdir = WorkDir::on(Backend::Sqlite).set("DATABASE_TIMEOUT", "1s");
        let node = workdir.serve(&["serve", "--demo"]);
        let (_, refresh) = node.sign_in("emilys", "emilyspass");
        lose(&workdir);
        refused(&node, &refresh);
        node.stderr_with(told);
        let empty = fs::metadata(workdir.file("doorward.db")).is_ok_and(|file| file.len() > 0);
        assert!(!workdir.file("away.db").exists() || !empty, "nothing was written to another file");
        // The file itself comes back: no restart is needed.
        if workdir.file("away.db").exists() {
            fs::rename(workdir.file("away.db"), workdir.file("doorward.db")).unwrap();
            until(PATIENCE, "/readyz 200", || (node.get("/readyz").status == 200).then_some(()));
            let cookie = format!("refreshToken={refresh}");
            assert_eq!(node.send(&Request::new("POST", "/auth/logout").cookie_header(&cookie)).status, 200);
        }
    }
}

fn keys_beside_a_missing_file_stop_the_start() {
    let workdir = WorkDir::on(Backend::Sqlite).unprepared();
    drop(workdir.serve(&["serve", "--demo"]));
    fs::rename(workdir.file("doorward.db"), workdir.file("away.db")).unwrap();
    for side in ["doorward.db-wal", "doorward.db-shm"] {
        let _ = fs::remove_file(workdir.file(side));
    }
    for arguments in [&["serve"][..], &["serve", "--demo"], &["account", "list"]] {
        let ran = workdir.run(arguments);
        assert!(!ran.status.success(), "{ran:?}");
        assert!(!workdir.file("doorward.db").exists(), "{arguments:?} creates nothing");
    }
    let told = workdir.run(&["serve"]).stderr;
    assert!(told.contains("does not exist, but") && told.contains("doorward migrate"), "{told}");
    // The word that a new one is meant.
    workdir.succeed(&["migrate"], "");
    let node = workdir.serve(&["serve", "--demo"]);
    node.sign_in("emilys", "emilyspass");
}

fn keys_beside_an_empty_database_stop_the_start(backend: Backend) {
    let first = WorkDir::on(backend);
    drop(first.serve(&["serve"]));
    let keys = first.file("doorward.keys").display().to_string();
    let second = WorkDir::on(backend).set("KEYS_FILE", keys);
    let second = match backend {
        Backend::Postgres => second.set("DATABASE_URL", new_database()),
        Backend::Sqlite => {
            fs::write(second.file("doorward.db"), "").unwrap();
            second
        }
    };
    let ran = second.run(&["serve"]);
    assert!(!ran.status.success() && ran.stderr.contains("has no tables, but"), "{ran:?}");
    second.succeed(&["migrate"], "");
    drop(second.serve(&["serve"]));
    // Keys from the environment alone are no sign of an earlier database.
    let secrets = WorkDir::on(backend).set("JWT_SECRET", JWT_SECRET).set("PEPPER", PEPPER);
    drop(secrets.serve(&["serve"]));
}
