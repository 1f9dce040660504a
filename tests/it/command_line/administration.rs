//! Administration commands for accounts, sessions and keys, and that a running service applies them within the promised
//! time.

use std::time::Duration;

use serde_json::json;

use crate::support::http::Request;
use crate::support::process::{Node, WorkDir, until};
use crate::support::{Backend, code, on_both_backends};

on_both_backends!(
    accounts_are_added_listed_shown_and_changed,
    an_invalid_account_command_says_why_and_changes_nothing,
    sessions_are_listed_and_revoked_on_a_running_service,
    changing_an_account_ends_its_sessions_on_a_running_service,
    new_secrets_work_immediately_and_old_ones_stop,
    a_required_password_change_is_shown_met_and_lifted,
    signing_keys_rotate_under_a_running_service,
    tokens_of_a_removed_signing_key_are_refused,
);

const PASSWORD: &str = "quiet-harbour-lantern";

/// REVOCATION_MAX_STALE is 2 s; the rest is for a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

pub fn add(workdir: &WorkDir, arguments: &[&str], secret: &str) -> String {
    let output = workdir.succeed(&[&["account", "add"], arguments].concat(), secret);
    let number = output.trim_end().strip_prefix("account ").and_then(|rest| rest.strip_suffix(" added"));
    number.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

fn with_emily(backend: Backend) -> WorkDir {
    let workdir = WorkDir::on(backend);
    let id = add(&workdir, &["--username", "emily", "--email", "emily@mail.example", "--password-stdin"], PASSWORD);
    assert_eq!(id, "1");
    workdir
}

fn accounts_are_added_listed_shown_and_changed(backend: Backend) {
    let workdir = with_emily(backend);
    let names = ["--name", "Bob", "--first-name", "Robert", "--last-name", "Smith", "--role", "CASHIER"];
    let permissions = ["--permission", "till:open", "--permission", "till:close", "--pin-stdin"];
    assert_eq!(add(&workdir, &[&names[..], &permissions].concat(), "4711\n"), "2");
    assert_eq!(add(&workdir, &["--username", "robot", "--no-password"], ""), "3");
    let list = workdir.succeed(&["account", "list"], "");
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "EMAIL", "USERNAME", "NAME", "ROLE", "STATUS", "LAST", "SIGN-IN"]);
    assert_eq!(rows[1], ["1", "emily@mail.example", "emily", "-", "USER", "active", "-"]);
    assert_eq!(rows[2], ["2", "-", "-", "Bob", "CASHIER", "active", "-"]);
    assert_eq!(rows[3], ["3", "-", "robot", "-", "USER", "active", "-"]);
    for which in ["2", "Bob", "bob"] {
        let shown = workdir.succeed(&["account", "show", which], "");
        let expected =
            ["role CASHIER", "permissions till:open till:close", "first name Robert", "PIN set", "password none"];
        for part in expected {
            let found = shown.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == part);
            assert!(found, "{part}: {shown}");
        }
        assert!(!shown.contains("4711") && !shown.contains("$2b$"), "{shown}");
    }
    assert!(workdir.succeed(&["account", "show", "EMILY@mail.example"], "").contains("emily"));
    workdir.succeed(&["account", "set-role", "emily", "ADMIN"], "");
    workdir.succeed(&["account", "set-status", "bob", "suspended"], "");
    workdir.succeed(&["account", "set-password", "robot", "--password-stdin"], "silver-kettle-morning\r\n");
    workdir.succeed(&["account", "set-pin", "robot", "--pin-stdin"], "08154711");
    let list = workdir.succeed(&["account", "list"], "");
    assert!(list.contains("ADMIN") && list.contains("suspended"), "{list}");
    let node = workdir.serve(&[]);
    node.sign_in("robot", "silver-kettle-morning");
    let by_pin = node.post("/auth/login", &json!({ "identifier": "robot", "pin": "08154711" }));
    assert_eq!(by_pin.status, 200, "{}", by_pin.text());
}

fn an_invalid_account_command_says_why_and_changes_nothing(backend: Backend) {
    let workdir = with_emily(backend);
    let before = workdir.succeed(&["account", "list"], "");
    for (arguments, input, message) in [
        // Without a terminal there is no prompt.
        (&["account", "add", "--username", "bob"][..], "", "--password-stdin"),
        (&["account", "set-password", "emily"], "", "--password-stdin"),
        (&["account", "set-pin", "emily"], "", "--pin-stdin"),
        (&["account", "add", "--username", "bob", "--password-stdin"], "canary1", "password must have at least 8"),
        (&["account", "add", "--username", "bob", "--password-stdin"], "password123", "common"),
        (&["account", "add", "--username", "bob", "--password-stdin"], "", "password"),
        (&["account", "add", "--name", "bob", "--pin-stdin"], "12", "pin must be 4 to 12 digits"),
        (
            &["account", "add", "--username", "EMILY", "--password-stdin"],
            PASSWORD,
            "an account with this username already exists",
        ),
        (&["account", "add", "--username", "a b", "--password-stdin"], PASSWORD, "username"),
        (&["account", "add", "--email", "nobody", "--password-stdin"], PASSWORD, "email"),
        (&["account", "add", "--password-stdin"], PASSWORD, "email, username"),
        (&["account", "show", "nobody"], "", "account list"),
        (&["account", "set-role", "99", "ADMIN"], "", "no such account"),
        (&["account", "set-password", "emily", "--password-stdin"], "canary1", "password"),
        (&["session", "list", "nobody"], "", "no such account"),
        (&["session", "revoke-all", "nobody"], "", "no such account"),
        (&["session", "revoke", "0198c0de-0000-7000-8000-000000000000"], "", "session list"),
    ] {
        let ran = workdir.run_with(arguments, input);
        assert!(!ran.status.success() && ran.stdout.is_empty(), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with("doorward: ") && ran.stderr.contains(message), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.contains("canary"), "{arguments:?}: {ran:?}");
    }
    assert_eq!(workdir.succeed(&["account", "list"], ""), before);
    workdir.serve(&[]).sign_in("emily", PASSWORD);
}

/// Waits until the running service refuses the token, within the promised time.
fn assert_dies(node: &Node, access: &str, what: &str) {
    until(SOON, what, || (!node.accepts(access)).then_some(()));
}

fn refresh_status(node: &Node, refresh: &str) -> u16 {
    node.post("/auth/refresh", &json!({ "refreshToken": refresh })).status
}

fn sessions_are_listed_and_revoked_on_a_running_service(backend: Backend) {
    let workdir = with_emily(backend);
    let node = workdir.serve(&[]);
    let tokens: Vec<(String, String)> = (0..3).map(|_| node.sign_in("emily", PASSWORD)).collect();
    let list = workdir.succeed(&["session", "list", "emily"], "");
    let ids: Vec<&str> = list.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(ids.len(), 3, "{list}");
    assert!(list.contains("native") && list.contains("127.0.0.1"), "{list}");
    assert!(tokens.iter().all(|(access, _)| node.accepts(access)));
    // Newest first.
    workdir.succeed(&["session", "revoke", ids[0]], "");
    assert_dies(&node, &tokens[2].0, "the end of one session");
    assert_eq!(refresh_status(&node, &tokens[2].1), 401);
    assert!(node.accepts(&tokens[0].0) && node.accepts(&tokens[1].0), "the others live");
    assert!(!workdir.run(&["session", "revoke", ids[0]]).status.success(), "it has ended already");
    workdir.succeed(&["session", "revoke-all", "1"], "");
    for (access, refresh) in &tokens {
        assert_dies(&node, access, "the end of all sessions");
        assert_eq!(refresh_status(&node, refresh), 401);
    }
    assert_eq!(workdir.succeed(&["session", "list", "emily"], "").lines().count(), 1);
    node.sign_in("emily", PASSWORD);
}

fn changing_an_account_ends_its_sessions_on_a_running_service(backend: Backend) {
    let workdir = with_emily(backend);
    let node = workdir.serve(&[]);
    let (other, _) = {
        add(&workdir, &["--username", "bob", "--password-stdin"], PASSWORD);
        node.sign_in("bob", PASSWORD)
    };
    for (command, input) in [
        (&["account", "set-role", "emily", "ADMIN"][..], ""),
        (&["account", "set-pin", "emily", "--pin-stdin"], "4711"),
        (&["account", "set-password", "emily", "--password-stdin"], PASSWORD),
        (&["account", "require-password-change", "emily", "--lift"], ""),
        (&["account", "set-status", "emily", "suspended"], ""),
    ] {
        let (access, refresh) = node.sign_in("emily", PASSWORD);
        assert!(node.accepts(&access));
        workdir.succeed(command, input);
        assert_dies(&node, &access, &format!("{command:?}"));
        assert_eq!(refresh_status(&node, &refresh), 401, "{command:?}");
        assert!(node.accepts(&other), "{command:?} is about emily alone");
    }
    let refused = node.post("/auth/login", &json!({ "username": "emily", "password": PASSWORD }));
    assert!([401, 403].contains(&refused.status), "{}", refused.text());
    workdir.succeed(&["account", "set-status", "emily", "active"], "");
    let (access, _) = node.sign_in("emily", PASSWORD);
    let me = node.send(&Request::new("GET", "/auth/me").bearer(&access)).json();
    assert_eq!((me["role"].as_str(), me["status"].as_str()), (Some("ADMIN"), Some("active")));
}

fn a_required_password_change_is_shown_met_and_lifted(backend: Backend) {
    let workdir = with_emily(backend);
    add(&workdir, &["--name", "Till 3", "--pin-stdin"], "4711");
    let refused = workdir.run(&["account", "require-password-change", "Till 3"]);
    let why = "doorward: password must be set before its change can be required; this account has none\n";
    assert_eq!((refused.status.code(), &*refused.stderr), (Some(1), why));
    let node = workdir.serve(&[]);
    let shown = |arguments: &[&str]| workdir.succeed(arguments, "").matches("must change password").count();
    let is_shown = || [shown(&["account", "list"]), shown(&["account", "show", "emily"])];
    let me = |access: &str| node.send(&Request::new("GET", "/auth/me").bearer(access));
    assert_eq!(is_shown(), [0, 0]);
    for lifts in [true, false] {
        let (before, refresh) = node.sign_in("emily", PASSWORD);
        let output = workdir.succeed(&["account", "require-password-change", "emily"], "");
        assert_eq!(output, "account 1 must change its password; its sessions have ended\n");
        assert_eq!(is_shown(), [1, 1]);
        assert_dies(&node, &before, "the requirement");
        assert_eq!(refresh_status(&node, &refresh), 401);
        let (restricted, _) = node.sign_in("emily", PASSWORD);
        assert_eq!((me(&restricted).status, code(&me(&restricted)).as_str()), (403, "password_change_required"));
        if lifts {
            let output = workdir.succeed(&["account", "require-password-change", "emily", "--lift"], "");
            assert_eq!(output, "account 1 is no longer required to change its password; its sessions have ended\n");
            until(SOON, "the end of what is lifted", || (me(&restricted).status == 401).then_some(()));
        } else {
            let change = json!({ "currentPassword": PASSWORD, "newPassword": "silver-kettle-morning" }).to_string();
            let change = Request::new("POST", "/auth/change-password").bearer(&restricted).json(&change);
            assert_eq!(me(node.send(&change).json()["accessToken"].as_str().unwrap()).status, 200);
        }
        assert_eq!(is_shown(), [0, 0]);
    }
}

fn new_secrets_work_immediately_and_old_ones_stop(backend: Backend) {
    let workdir = with_emily(backend);
    let node = workdir.serve(&[]);
    let status =
        |password: &str| node.post("/auth/login", &json!({ "username": "emily", "password": password })).status;
    assert_eq!(status(PASSWORD), 200);
    workdir.succeed(&["account", "set-password", "emily", "--password-stdin"], "silver-kettle-morning\n");
    assert_eq!((status(PASSWORD), status("silver-kettle-morning")), (401, 200));
    // Only the line break is stripped: a space is part of a password.
    workdir.succeed(&["account", "set-password", "emily", "--password-stdin"], " silver kettle morning \n");
    assert_eq!((status("silver kettle morning"), status(" silver kettle morning ")), (401, 200));
}

fn key_id(token: &str) -> String {
    use base64::Engine;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

fn signing_keys_rotate_under_a_running_service(backend: Backend) {
    let workdir = with_emily(backend);
    let node = workdir.serve(&[]);
    let (access, refresh) = node.sign_in("emily", PASSWORD);
    let output = workdir.succeed(&["keys", "rotate"], "");
    let new = output.split_whitespace().next().unwrap().to_owned();
    assert_ne!(new, key_id(&access));
    until(SOON, "a token under the new key", || (key_id(&node.sign_in("emily", PASSWORD).0) == new).then_some(()));
    assert!(node.accepts(&access), "a token of the old key lives on");
    let refreshed = node.post("/auth/refresh", &json!({ "refreshToken": refresh }));
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_eq!(key_id(refreshed.json()["accessToken"].as_str().unwrap()), new);
    let keys = std::fs::read_to_string(workdir.file("doorward.keys")).unwrap();
    assert_eq!(keys.lines().filter(|line| line.starts_with("hs256 ")).count(), 2);
    assert!(!output.contains(keys.split_whitespace().last().unwrap()) && output.lines().count() == 1, "{output}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&workdir.file("doorward.keys").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    drop(node);
    assert!(workdir.serve(&[]).accepts(&access), "after a restart too");
    let fixed = WorkDir::on(backend).set("JWT_SECRET", "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6");
    let refused = fixed.run(&["keys", "rotate"]);
    assert!(!refused.status.success() && refused.stderr.contains("JWT_SECRET"), "{refused:?}");
}

fn tokens_of_a_removed_signing_key_are_refused(backend: Backend) {
    let workdir = with_emily(backend);
    let node = workdir.serve(&[]);
    let (old, old_refresh) = node.sign_in("emily", PASSWORD);
    workdir.succeed(&["keys", "rotate"], "");
    let new = until(SOON, "a token under the new key", || {
        let (access, _) = node.sign_in("emily", PASSWORD);
        (key_id(&access) != key_id(&old)).then_some(access)
    });
    let keys = std::fs::read_to_string(workdir.file("doorward.keys")).unwrap();
    let pulled = format!("hs256 {} ", key_id(&old));
    let left: Vec<&str> = keys.lines().filter(|line| !line.starts_with(&pulled)).collect();
    assert_eq!(left.len(), keys.lines().count() - 1);
    // Overwritten in place, so that the file keeps its mode.
    std::fs::write(workdir.file("doorward.keys"), left.join("\n") + "\n").unwrap();
    assert_dies(&node, &old, "the end of the old key");
    assert_eq!(refresh_status(&node, &old_refresh), 401);
    assert!(node.accepts(&new));
}
