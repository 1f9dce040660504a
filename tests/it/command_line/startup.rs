//! Startup: the first start, the demo, migrations by `migrate`, concurrent starts of nodes.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::json;

use crate::support::process::{Node, WorkDir};
use crate::support::{self, Backend, on_both_backends};

on_both_backends!(
    demo_loads_both_sample_accounts_once,
    migrate_prints_what_it_ran_and_does_nothing_twice,
    without_auto_migrate_an_empty_database_stops_the_start,
    accounts_of_an_earlier_version_survive_the_migration,
    nodes_started_together_on_an_empty_database_all_start,
    demos_started_together_all_start,
);

fn mode(workdir: &WorkDir, name: &str) -> u32 {
    workdir.file(name).metadata().unwrap_or_else(|why| panic!("{name}: {why}")).permissions().mode() & 0o777
}

#[test]
fn a_first_start_creates_private_files_and_prints_its_address() {
    let workdir = WorkDir::new();
    let node = workdir.serve(&[]);
    for file in ["doorward.db", "doorward.keys", "doorward.db-wal", "doorward.db-shm"] {
        assert_eq!(mode(&workdir, file), 0o600, "{file}");
    }
    let output = node.stdout_with("warning   cookies are not Secure");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], format!("doorward {}", env!("CARGO_PKG_VERSION")), "{output}");
    assert_eq!(lines[1], format!("listening on http://{}", node.address()), "{output}");
    for part in ["SQLite doorward.db (7 migrations applied)", "doorward.keys (created;", "native at /"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    assert_eq!(node.get("/healthz").status, 200);
    let registered = node.post("/auth/register", &json!({ "username": "emily", "password": "quiet-harbour-lantern" }));
    assert_eq!(registered.status, 201, "{}", registered.text());
    drop(node);
    // Killed without a shutdown: acknowledged writes are on disk.
    let again = workdir.serve(&["serve"]);
    assert!(!again.stdout().contains("applied)") && !again.stdout().contains("created;"), "{}", again.stdout());
    again.sign_in("emily", "quiet-harbour-lantern");
}

#[test]
fn the_keys_come_from_the_environment_without_a_file() {
    let workdir = WorkDir::new().set("JWT_SECRET", "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6");
    let workdir = workdir.set("PEPPER", "Zq8vT2mNc6RyLx0pKd4sHf9wBg1jUa7eOiYt5XzWnVk3");
    let node = workdir.serve(&[]);
    assert!(!workdir.file("doorward.keys").exists());
    assert!(node.stdout().contains("JWT_SECRET, PEPPER"), "{}", node.stdout());
    assert!(!node.stdout().contains("kX0w9q5V") && !node.stdout().contains("Zq8vT2mN"));
}

fn demo_loads_both_sample_accounts_once(backend: Backend) {
    let workdir = WorkDir::on(backend);
    for _ in 0..2 {
        let node = workdir.serve(&["serve", "--demo"]);
        assert!(node.stdout_with("emilys / emilyspass").contains("cooluser1 / PIN 0000"));
        let emilys = node.post("/auth/login", &json!({ "username": "emilys", "password": "emilyspass" }));
        assert_eq!((emilys.status, emilys.json()["message"].as_str()), (200, Some("Login successful")));
        let user = &emilys.json()["user"];
        assert_eq!((user["id"].as_i64(), user["role"].as_str()), (Some(1), Some("ADMIN")), "{user}");
        assert_eq!(user["email"], "emily.johnson@x.dummyjson.com");
        assert_eq!((&user["firstName"], &user["lastName"]), (&json!("Emily"), &json!("Johnson")));
        assert_eq!(
            (&user["gender"], &user["image"]),
            (&json!("female"), &json!("https://dummyjson.com/icon/emilys/128"))
        );
        let cool = node.post("/auth/login", &json!({ "name": "cooluser1", "pin": "0000" }));
        assert_eq!((cool.status, cool.json()["message"].as_str()), (200, Some("Login successful")));
        assert_eq!(cool.json()["user"]["name"], "cooluser1");
        for wrong in [
            json!({ "username": "emilys", "password": "emilysPass" }),
            json!({ "name": "cooluser1", "pin": "0001" }),
            json!({ "name": "cooluser1", "password": "0000" }),
        ] {
            assert_eq!(node.post("/auth/login", &wrong).status, 401, "{wrong}");
        }
    }
    let accounts = workdir.succeed(&["account", "list"], "");
    assert_eq!(accounts.lines().count(), 3, "{accounts}");
}

#[test]
fn a_start_without_demo_has_no_account() {
    let workdir = WorkDir::on(Backend::Sqlite);
    let node = workdir.serve(&[]);
    let answer = node.post("/auth/login", &json!({ "username": "emilys", "password": "emilyspass" }));
    assert_eq!(answer.status, 401);
    assert_eq!(workdir.succeed(&["account", "list"], "").lines().count(), 1, "only the head of the table");
}

#[test]
fn demo_accounts_are_refused_under_an_https_url() {
    let workdir = WorkDir::new().set("PUBLIC_URL", "https://auth.example");
    let ran = workdir.run(&["serve", "--demo"]);
    assert!(!ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("--demo") && ran.stderr.contains("PUBLIC_URL"), "{ran:?}");
    assert!(!workdir.file("doorward.db").exists(), "nothing was loaded");
}

fn migrate_prints_what_it_ran_and_does_nothing_twice(backend: Backend) {
    let workdir = WorkDir::on(backend).set("AUTO_MIGRATE", "false");
    let first = workdir.succeed(&["migrate"], "");
    assert!(first.lines().count() >= 1 && first.contains(": migrated to "), "{first}");
    for _ in 0..2 {
        let again = workdir.succeed(&["migrate"], "");
        assert!(again.lines().count() == 1 && again.contains("no pending migrations"), "{again}");
    }
    assert!(!first.contains('@') && !first.contains("host="), "no URL with its password: {first}");
    assert_eq!(workdir.serve(&[]).get("/readyz").status, 200);
    if backend == Backend::Sqlite {
        assert_eq!(mode(&workdir, "doorward.db"), 0o600);
    }
}

fn without_auto_migrate_an_empty_database_stops_the_start(backend: Backend) {
    let workdir = WorkDir::on(backend).set("AUTO_MIGRATE", "false");
    for arguments in [&["serve"][..], &["account", "list"], &["session", "list", "1"]] {
        let ran = workdir.run(arguments);
        assert!(!ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(ran.stderr.contains("doorward migrate"), "{ran:?}");
        assert!(arguments != ["serve"] || ran.stderr.contains("AUTO_MIGRATE=true"), "{ran:?}");
    }
}

fn accounts_of_an_earlier_version_survive_the_migration(backend: Backend) {
    let workdir = WorkDir::on(backend);
    let password = "quiet-harbour-lantern";
    workdir.succeed(&["account", "add", "--username", "emilys", "--password-stdin"], password);
    let (access, _) = workdir.serve(&[]).sign_in("emilys", password);
    let before = workdir.succeed(&["account", "show", "emilys"], "");
    let down = include_str!("../../../migrations/sqlite/2026-11-21-000001_must_change_password/down.sql");
    let back = format!("{down} DELETE FROM __diesel_schema_migrations WHERE version = '20261121000001'");
    match backend {
        Backend::Sqlite => {
            let file = workdir.file("doorward.db").display().to_string();
            SqliteConnection::establish(&file).unwrap().batch_execute(&back).unwrap();
        }
        Backend::Postgres => drop(support::postgres::psql(&workdir.value("DATABASE_URL"), &back)),
    }
    let output = workdir.succeed(&["migrate"], "");
    assert_eq!(output.matches(": migrated to ").count(), 1, "{output}");
    assert_eq!(workdir.succeed(&["account", "show", "emilys"], ""), before);
    let node = workdir.serve(&[]);
    assert!(node.accepts(&access), "a token of before is one of an account that must do nothing");
    node.sign_in("emilys", password);
}

fn nodes_started_together_on_an_empty_database_all_start(backend: Backend) {
    for round in 0..3 {
        let workdir = WorkDir::on(backend).set("WORKERS", "1");
        let nodes = start_together(&workdir, &["serve"]);
        let migrated = nodes.iter().filter(|node| node.stdout().contains(" applied)")).count();
        assert_eq!(migrated, 1, "round {round}: one of them makes the tables");
        workdir.succeed(&["account", "add", "--username", "emilys", "--password-stdin"], "quiet-harbour-lantern");
        let (access, refresh) = nodes[0].sign_in("emilys", "quiet-harbour-lantern");
        for node in &nodes {
            assert_eq!(node.get("/readyz").status, 200, "round {round}");
            assert!(node.accepts(&access), "round {round}: they share the keys");
        }
        let refreshed = nodes[1].post("/auth/refresh", &json!({ "refreshToken": refresh }));
        assert_eq!(refreshed.status, 200, "round {round}: {}", refreshed.text());
        let keys = std::fs::read_to_string(workdir.file("doorward.keys")).unwrap();
        assert_eq!(keys.lines().filter(|line| line.starts_with("hs256 ")).count(), 1, "round {round}");
        let left = std::fs::read_dir(workdir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains(".keys.")).collect();
        assert!(left.is_empty(), "round {round}: {left:?}");
        assert_eq!(mode(&workdir, "doorward.keys"), 0o600, "round {round}");
    }
}

/// Another node's migration may take longer than DATABASE_TIMEOUT.
#[test]
fn a_start_waits_for_another_nodes_migration() {
    let workdir = WorkDir::on(Backend::Sqlite).set("DATABASE_TIMEOUT", "1s");
    let file = workdir.file("doorward.db");
    let mut other = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    other.batch_execute("PRAGMA journal_mode = WAL; BEGIN EXCLUSIVE").unwrap();
    let mut node = workdir.begin(&["serve"]);
    let began = Instant::now();
    while node.is_running() && began.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(50));
    }
    other.batch_execute("COMMIT").unwrap();
    node.wait_until_it_listens();
}

fn demos_started_together_all_start(backend: Backend) {
    for _ in 0..3 {
        let workdir = WorkDir::on(backend).set("WORKERS", "1");
        let nodes = start_together(&workdir, &["serve", "--demo"]);
        nodes.iter().for_each(|node| drop(node.sign_in("emilys", "emilyspass")));
        assert_eq!(workdir.succeed(&["account", "list"], "").lines().count(), 3);
    }
}

fn start_together(workdir: &WorkDir, arguments: &[&str]) -> Vec<Node> {
    let mut nodes: Vec<Node> = (0..4).map(|_| workdir.begin(arguments)).collect();
    nodes.iter_mut().for_each(Node::wait_until_it_listens);
    nodes
}
