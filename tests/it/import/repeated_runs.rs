//! Repeated imports: dry runs, second runs, interrupted and concurrent runs add no account twice and change none.

use std::time::Duration;

use serde_json::{Value, json};

use super::{KNOWN, PASSWORD, SOME_HASH, Workspace, login, me, someone, status};
use crate::support::process::until;
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    a_dry_run_reports_the_same_and_changes_no_account,
    a_second_import_skips_existing_accounts_and_changes_none,
    a_line_with_a_taken_name_is_rejected,
    an_interrupted_import_resumes_where_it_stopped,
    ids_are_kept_and_new_ids_continue_after_them,
    two_concurrent_imports_add_every_account_once,
    two_thousand_lines_are_imported,
);

fn a_dry_run_reports_the_same_and_changes_no_account(backend: Backend) {
    let workspace = Workspace::on(backend);
    workspace.succeed(&[], &[someone("here")]);
    let lines = [
        json!({ "username": "new", "password": "a plain one" }),
        someone("here"),
        json!({ "username": "bad", "passwordHash": "md5" }),
        json!({ "username": "NEW" }),
        json!({ "username": "no-secret", "passwordHash": "!" }),
        json!({ "username": "same-number", "id": 1 }),
    ];
    let dry = workspace.import(&["--plain-secrets", "--dry-run"], &lines);
    assert_eq!((dry.status.code(), workspace.count("TRUE")), (Some(1), 1), "{dry:?}");
    let wet = workspace.import(&["--plain-secrets"], &lines);
    assert_eq!((wet.status.code(), workspace.count("TRUE")), (Some(1), 3), "{wet:?}");
    assert_eq!(dry.stderr, wet.stderr);
    let wet = wet.stdout.replace("the file contains plain secrets: delete it after the import\n", "");
    assert_eq!(dry.stdout.replace("would be added", "added"), wet);
    for line in [
        "line 2 (here): already exists",
        "line 4 (new): refused: line 1 has the same email, username, name or id",
        "line 6 (same-number): refused: another account has this id or uuid; use --new-ids to assign new ones",
        "6 accounts read: 2 would be added, 1 already exist, 3 refused",
        "1 without password and PIN: a sign-in is not possible until one is set",
    ] {
        assert!(dry.stdout.lines().any(|output| output == line), "{line}: {dry:?}");
    }
}

fn a_second_import_skips_existing_accounts_and_changes_none(backend: Backend) {
    let workspace = Workspace::on(backend);
    let mut lines: Vec<Value> =
        (0..30).map(|n| json!({ "username": format!("u{n}"), "email": format!("u{n}@mail.example"), "passwordHash": SOME_HASH })).collect();
    workspace.succeed(&[], &lines);
    let node = workspace.workdir.serve(&[]);
    assert_eq!(status(&node, "u7", PASSWORD), 200);
    // Another hash, role and case: existing accounts stay as they are.
    lines.iter_mut().for_each(|line| {
        line["passwordHash"] = KNOWN[0].1.into();
        line["role"] = "ADMIN".into();
        line["username"] = line["username"].as_str().unwrap().to_uppercase().into();
    });
    let before = workspace.count("role = 'USER' AND username LIKE 'u%'");
    let output = workspace.succeed(&[], &lines);
    assert_eq!(output.lines().filter(|line| line.ends_with(": already exists")).count(), 10, "{output}");
    assert!(
        output.ends_with("and 20 more that already exist\n30 accounts read: 0 added, 30 already exist, 0 refused\n"),
        "{output}"
    );
    assert_eq!(
        (before, workspace.count("role = 'USER' AND username LIKE 'u%'"), workspace.count("TRUE")),
        (30, 30, 30)
    );
    assert_eq!(workspace.count("password LIKE 'hmac-bcrypt:%'"), 1, "the one that signed in is not set back");
    assert_eq!(status(&node, "u7", PASSWORD), 200);
}

fn a_line_with_a_taken_name_is_rejected(backend: Backend) {
    let workspace = Workspace::on(backend);
    workspace.succeed(&[], &[json!({ "username": "emily", "email": "emily@mail.example" }), json!({ "name": "Bob" })]);
    let ran = workspace.import(
        &[],
        &[
            json!({ "username": "emily", "email": "other@mail.example" }),
            json!({ "username": "emilia", "email": "Emily@Mail.example" }),
            json!({ "username": "bob", "email": "bob@mail.example" }),
            json!({ "username": "EMILY" }),
            json!({ "username": "emily", "name": "Bob" }),
        ],
    );
    let expected = [
        "line 1 (emily): refused: an account with this username already exists",
        "line 2 (emilia): refused: an account with this email already exists",
        "line 3 (bob): refused: an account with this username already exists",
        "line 4 (emily): refused: line 1 has the same email, username, name or id",
        "line 5 (emily): refused: line 1 has the same email, username, name or id",
        "5 accounts read: 0 added, 0 already exist, 5 refused",
    ];
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected, "{ran:?}");
    assert_eq!(workspace.count("TRUE"), 2);
}

fn an_interrupted_import_resumes_where_it_stopped(backend: Backend) {
    let workspace = Workspace::on(backend);
    let lines: Vec<Value> = (0..450).map(|n| someone(&format!("u{n}"))).collect();
    // The state after a kill between two transactions: whole batches, from the front.
    workspace.succeed(&[], &lines[..200]);
    let output = workspace.succeed(&[], &lines);
    assert!(output.ends_with("450 accounts read: 250 added, 200 already exist, 0 refused\n"), "{output}");
    assert_eq!(workspace.count("password LIKE 'imported:%'"), 450);
}

fn ids_are_kept_and_new_ids_continue_after_them(backend: Backend) {
    let workspace = Workspace::on(backend);
    let numbered = |username: &str, id: i64| json!({ "username": username, "id": id, "passwordHash": SOME_HASH });
    workspace.succeed(&[], &[numbered("seven", 7), someone("next"), numbered("hundred", 100), numbered("three", 3)]);
    for (name, id) in [("seven", 7), ("hundred", 100), ("three", 3)] {
        assert_eq!(workspace.count(&format!("username = '{name}' AND id = {id}")), 1, "{name}");
    }
    let node = workspace.workdir.serve(&[]);
    let register = |name: &str| {
        let answer = node.post("/auth/register", &json!({ "username": name, "password": "quiet-harbour-lantern" }));
        assert_eq!(answer.status, 201, "{}", answer.text());
    };
    register("newcomer");
    assert_eq!(workspace.count("username = 'newcomer' AND id > 100"), 1);
    // While the service runs, and below the last id that was issued.
    workspace.succeed(&[], &[numbered("fifty", 50), numbered("thousand", 1000)]);
    register("another");
    assert_eq!(workspace.count("username = 'another' AND id > 1000"), 1);
    assert_eq!(login(&node, "fifty", PASSWORD).json()["user"]["id"], 50);
    let ran = workspace.import(&[], &[numbered("thief", 7)]);
    assert!(
        !ran.status.success() && ran.stdout.contains("line 1 (thief): refused: another account has this id"),
        "{ran:?}"
    );
    workspace.succeed(&["--new-ids"], &[numbered("thief", 7)]);
    assert_eq!(workspace.count("username = 'thief' AND id > 1001"), 1);
    let tokens = login(&node, "seven", PASSWORD).json();
    assert_eq!(me(&node, "", &tokens["accessToken"])["id"], 7);
}

fn two_concurrent_imports_add_every_account_once(backend: Backend) {
    let workspace = Workspace::on(backend);
    workspace.succeed(&[], &[someone("first")]);
    let lines: Vec<Value> =
        (0..600).map(|n| json!({ "username": format!("u{n}"), "id": n + 10, "passwordHash": SOME_HASH })).collect();
    let file = workspace.file(&lines.iter().map(Value::to_string).collect::<Vec<_>>());
    let output: Vec<String> = std::thread::scope(|scope| {
        let run = || workspace.workdir.succeed(&["import", file], "");
        let running: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let added = output.iter().map(|output| {
        let last = output.lines().last().unwrap();
        last.split(' ').nth(3).unwrap().parse::<i64>().unwrap_or_else(|why| panic!("{last}: {why}"))
    });
    assert_eq!((added.sum::<i64>(), workspace.count("TRUE")), (600, 601), "{output:?}");
}

fn two_thousand_lines_are_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let lines: Vec<Value> = (0..2000)
        .map(|n| json!({ "username": format!("user{n}"), "email": format!("user{n}@mail.example"), "id": n + 1, "passwordHash": SOME_HASH }))
        .collect();
    let file = workspace.file(&lines.iter().map(Value::to_string).collect::<Vec<_>>());
    let mut running = workspace.workdir.begin(&["import", file]);
    until(Duration::from_secs(180), "the end of the import", || (!running.is_running()).then_some(()));
    assert!(running.wait().success(), "{}", running.stderr());
    assert_eq!(running.stdout(), "2000 accounts read: 2000 added, 0 already exist, 0 refused\n");
    assert_eq!(workspace.count("id BETWEEN 1 AND 2000 AND password LIKE 'imported:%'"), 2000);
    let node = workspace.workdir.serve(&[]);
    assert_eq!([status(&node, "user0", PASSWORD), status(&node, "user1999", PASSWORD)], [200, 200]);
}
