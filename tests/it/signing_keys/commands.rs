//! `doorward keys` commands beside a running service that is never restarted.

use std::time::Duration;

use serde_json::json;

use super::{algorithm_of, key_id};
use crate::support::process::{Node, WorkDir, until};
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(
    keys_are_listed_with_their_state_and_what_needs_them,
    a_key_is_retired_under_a_running_service,
    the_only_key_cannot_be_retired_and_a_dry_run_changes_nothing,
    a_running_service_switches_to_key_pairs,
    concurrent_commands_lose_no_key,
    a_pepper_rotates_under_a_running_service,
    keys_from_the_environment_are_not_rotated,
);

/// REVOCATION_MAX_STALE is 2 s; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn with_emily(workdir: &WorkDir) {
    workdir.succeed(&["account", "add", "--username", "emily", "--password-stdin"], PASSWORD);
}

/// The table of `keys list`: a row for each line, a cell for each word; NEEDED BY and a time in STATE are two words.
fn listed(workdir: &WorkDir) -> Vec<Vec<String>> {
    let list = workdir.succeed(&["keys", "list"], "");
    let mut rows: Vec<Vec<String>> =
        list.lines().map(|line| line.split_whitespace().map(ToOwned::to_owned).collect()).collect();
    assert_eq!(rows.remove(0).join(" "), "KEY KIND CREATED STATE NEEDED BY");
    rows
}

fn row<'a>(rows: &'a [Vec<String>], id: &str) -> &'a [String] {
    rows.iter().find(|row| row[0] == id).unwrap_or_else(|| panic!("no {id}: {rows:?}"))
}

fn id_in(output: &str) -> String {
    output.split_whitespace().next().unwrap().to_owned()
}

fn sign_in_under(node: &Node, id: &str) -> (String, String) {
    until(SOON, &format!("a token under {id}"), || {
        let tokens = node.sign_in("emily", PASSWORD);
        (key_id(&tokens.0) == id).then_some(tokens)
    })
}

fn refresh_status(node: &Node, refresh: &str) -> u16 {
    node.post("/auth/refresh", &json!({ "refreshToken": refresh })).status
}

fn keys_are_listed_with_their_state_and_what_needs_them(backend: Backend) {
    let workdir = WorkDir::on(backend);
    with_emily(&workdir);
    let node = workdir.serve(&[]);
    let old = key_id(&node.sign_in("emily", PASSWORD).0);
    node.sign_in("emily", PASSWORD);
    let rows = listed(&workdir);
    assert_eq!((rows.len(), rows[0][0].clone(), rows[0][1].as_str()), (2, old.clone(), "hs256"), "{rows:?}");
    assert_eq!(rows[0][3..].join(" "), "signs 2 sessions");
    assert_eq!((rows[1][1].as_str(), rows[1][3..].join(" ")), ("pepper", "hashes 1 account".to_owned()));
    let output = workdir.succeed(&["keys", "rotate", "--algorithm", "es256"], "");
    let new = id_in(&output);
    assert!(output.contains("(es256) signs from 20") && output.lines().count() == 1, "{output}");
    let rows = listed(&workdir);
    assert_eq!((rows[0][0].clone(), rows[0][1].as_str(), rows[0][3].as_str()), (new, "es256", "from"), "{rows:?}");
    assert_eq!(row(&rows, &old)[3], "signs", "{rows:?}");
    let keys = std::fs::read_to_string(workdir.file("doorward.keys")).unwrap();
    let shown = workdir.succeed(&["keys", "list"], "");
    for line in keys.lines().filter(|line| !line.starts_with('#')) {
        assert!(!shown.contains(line.split(' ').nth(2).unwrap()), "no key is shown");
    }
}

fn a_key_is_retired_under_a_running_service(backend: Backend) {
    let workdir = WorkDir::on(backend);
    with_emily(&workdir);
    let node = workdir.serve(&[]);
    let (access, refresh) = node.sign_in("emily", PASSWORD);
    let old = key_id(&access);
    let new = id_in(&workdir.succeed(&["keys", "rotate"], ""));
    assert!(node.accepts(&access), "the overlap");
    // Immediately: the command itself waits until every node has read the new key.
    let output = workdir.succeed(&["keys", "retire", &old], "");
    let lines: Vec<&str> = output.lines().collect();
    assert!(
        lines[0].contains("1 live session ends") && lines[0].contains("sign in again"),
        "said before it is done: {output}"
    );
    assert_eq!(*lines.last().unwrap(), format!("{old} is retired; 1 session ended"));
    until(SOON, "the end of the old key", || (!node.accepts(&access)).then_some(()));
    assert_eq!(refresh_status(&node, &refresh), 401);
    assert_eq!(workdir.succeed(&["session", "list", "emily"], "").lines().count(), 1, "none but the head");
    let (access, refresh) = sign_in_under(&node, &new);
    assert!(node.accepts(&access) && refresh_status(&node, &refresh) == 200);
    let rows = listed(&workdir);
    assert_eq!((rows.len(), &rows[0][0]), (2, &new), "{rows:?}");
    drop(node);
    let node = workdir.serve(&[]);
    assert!(node.accepts(&access), "after a restart too");
}

fn the_only_key_cannot_be_retired_and_a_dry_run_changes_nothing(backend: Backend) {
    let workdir = WorkDir::on(backend);
    with_emily(&workdir);
    let node = workdir.serve(&[]);
    let (access, refresh) = node.sign_in("emily", PASSWORD);
    let file = || std::fs::read_to_string(workdir.file("doorward.keys")).unwrap();
    let before = file();
    let id = key_id(&access);
    let pepper = listed(&workdir)[1][0].clone();
    for (key, message) in
        [(id.as_str(), "keys rotate"), (pepper.as_str(), "keys rotate-pepper"), ("k-none", "keys list")]
    {
        for dry in [&[][..], &["--dry-run"]] {
            let ran = workdir.run(&[&["keys", "retire", key], dry].concat());
            assert!(!ran.status.success() && ran.stdout.is_empty() && ran.stderr.contains(message), "{key}: {ran:?}");
        }
    }
    assert_eq!(file(), before);
    workdir.succeed(&["keys", "rotate"], "");
    let before = file();
    let output = workdir.succeed(&["keys", "retire", &id, "--dry-run"], "");
    assert!(output.contains("1 live session ends") && output.lines().count() == 1, "{output}");
    assert_eq!(file(), before);
    assert!(node.accepts(&access) && refresh_status(&node, &refresh) == 200);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&workdir.file("doorward.keys").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

fn a_running_service_switches_to_key_pairs(backend: Backend) {
    let workdir = WorkDir::on(backend);
    with_emily(&workdir);
    let node = workdir.serve(&[]);
    let old = key_id(&node.sign_in("emily", PASSWORD).0);
    let out = || {
        let set = node.get("/.well-known/jwks.json").json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(out().is_empty());
    let eddsa = id_in(&workdir.succeed(&["keys", "rotate", "--algorithm", "eddsa"], ""));
    until(SOON, "the public key", || (out() == [eddsa.clone()]).then_some(()));
    // It waits a minute for services that cache the JWKS, but not if the key before it must be removed.
    workdir.succeed(&["keys", "retire", &old], "");
    let (access, _) = sign_in_under(&node, &eddsa);
    assert_eq!(algorithm_of(&access), "EdDSA");
    assert!(workdir.succeed(&["keys", "rotate"], "").contains("(eddsa)"), "as the newest key");
    until(SOON, "the next public key", || (out().len() == 2).then_some(()));
    assert!(node.accepts(&access));
    drop(node);
    let workdir = workdir.set("TOKEN_ALGORITHM", "es256");
    let node = workdir.serve(&[]);
    let message = "TOKEN_ALGORITHM=es256; create one: doorward keys rotate";
    until(SOON, message, || node.stdout().contains(message).then_some(()));
    assert!(node.accepts(&access));
    assert!(workdir.succeed(&["keys", "rotate"], "").contains("(es256)"), "as the setting says");
}

fn concurrent_commands_lose_no_key(backend: Backend) {
    let workdir = WorkDir::on(backend);
    with_emily(&workdir);
    let running: Vec<Node> = (0..6)
        .map(|number| workdir.begin(if number % 3 == 2 { &["keys", "rotate-pepper"] } else { &["keys", "rotate"] }))
        .collect();
    let made: Vec<String> = running
        .into_iter()
        .map(|mut command| {
            assert!(command.wait().success(), "{}", command.stderr());
            id_in(&command.stdout())
        })
        .collect();
    let rows = listed(&workdir);
    assert_eq!(rows.len(), 8, "{rows:?}");
    assert!(made.iter().all(|id| rows.iter().any(|row| row[0] == *id)), "{made:?} {rows:?}");
    let left: Vec<String> =
        workdir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.contains("keys.")), "{left:?}");
}

fn a_pepper_rotates_under_a_running_service(backend: Backend) {
    let workdir = WorkDir::on(backend);
    with_emily(&workdir);
    workdir.succeed(&["account", "add", "--name", "bob", "--pin-stdin"], "47110815");
    let node = workdir.serve(&[]);
    let old = listed(&workdir)[1][0].clone();
    let output = workdir.succeed(&["keys", "rotate-pepper"], "");
    let new = id_in(&output);
    assert!(output.contains("(pepper) hashes new secrets from 20"), "{output}");
    assert_eq!(row(&listed(&workdir), &old)[4..].join(" "), "2 accounts");
    // She can sign in before every node has the new pepper, after it, and ever after.
    until(SOON, "a hash under the new pepper", || {
        node.sign_in("emily", PASSWORD);
        (row(&listed(&workdir), &new)[3..].join(" ") == "hashes 1 account").then_some(())
    });
    assert_eq!(row(&listed(&workdir), &old)[3..].join(" "), "accepted 1 account");
    let refused = workdir.run(&["keys", "retire", &old]);
    assert!(!refused.status.success() && refused.stderr.contains("1 accounts have a secret"), "{refused:?}");
    let by_pin = || node.post("/auth/login", &json!({ "name": "bob", "pin": "47110815" })).status;
    assert_eq!(by_pin(), 200);
    assert_eq!(row(&listed(&workdir), &old)[3..].join(" "), "accepted 0 accounts");
    let output = workdir.succeed(&["keys", "retire", &old], "");
    assert_eq!(output, format!("no account needs {old}\n{old} is retired\n"));
    assert!(listed(&workdir).iter().all(|row| row[0] != old));
    node.sign_in("emily", PASSWORD);
    assert_eq!(by_pin(), 200);
    drop(node);
    workdir.serve(&[]).sign_in("emily", PASSWORD);
}

fn keys_from_the_environment_are_not_rotated(backend: Backend) {
    let workdir = WorkDir::on(backend).set("JWT_SECRET", "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6");
    let workdir = workdir.set("PEPPER", "Zq8vT2mNc6RyLx0pKd4sHf9wBg1jUa7eOiYt5XzWnVk3");
    with_emily(&workdir);
    let rows = listed(&workdir);
    assert!(rows.len() == 2 && rows.iter().all(|row| row[0].starts_with("env-")), "{rows:?}");
    let (key, pepper) = (rows[0][0].clone(), rows[1][0].clone());
    for (command, message) in [
        (vec!["keys", "rotate"], "JWT_SECRET"),
        (vec!["keys", "rotate-pepper"], "PEPPER"),
        (vec!["keys", "retire", key.as_str()], "JWT_SECRET"),
        (vec!["keys", "retire", pepper.as_str()], "PEPPER"),
    ] {
        let ran = workdir.run(&command);
        assert!(!ran.status.success() && ran.stderr.contains(message), "{command:?}: {ran:?}");
    }
    assert!(!workdir.file("doorward.keys").exists());
}
