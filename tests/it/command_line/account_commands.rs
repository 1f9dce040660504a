//! Commands that change and list accounts: permissions, email, deletion, filters and JSON.

use serde_json::{Value, json};

use super::administration::{SOON, add};
use crate::support::http::Request;
use crate::support::process::{Node, WorkDir, until};
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(
    permissions_are_replaced_on_a_running_service,
    an_email_is_replaced_and_remains_unique,
    a_deleted_account_is_gone_with_its_sessions,
    lists_are_filtered_and_printed_as_json,
    a_long_list_is_printed_page_by_page,
);

fn with_two(backend: Backend) -> WorkDir {
    let workdir = WorkDir::on(backend);
    add(&workdir, &["--username", "emily", "--email", "emily@mail.example", "--password-stdin"], PASSWORD);
    add(&workdir, &["--username", "bob", "--role", "ADMIN", "--permission", "till:open", "--no-password"], "");
    workdir
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"))).collect()
}

/// A signed-in client of a running service: the header with its token.
fn signed_in(node: &Node) -> String {
    let login = json!({ "username": "emily", "password": PASSWORD, "tokens": "body" }).to_string();
    let answer = node.send(&Request::new("POST", "/auth/login").json(&login));
    answer.json()["accessToken"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

fn permissions_are_replaced_on_a_running_service(backend: Backend) {
    let workdir = with_two(backend);
    let node = workdir.serve(&[]);
    let access = signed_in(&node);
    let check = || node.send(&Request::new("GET", "/auth/verify?permission=reports:read").bearer(&access)).status;
    assert_eq!(check(), 403);
    let said = workdir.succeed(&["account", "set-permissions", "emily", "reports:read", "reports:write"], "");
    assert_eq!(said, "account 1 has reports:read reports:write\n");
    until(SOON, "the permissions", || (check() == 200).then_some(()));
    let said = workdir.succeed(&["account", "set-permissions", "emily", "--none"], "");
    assert_eq!(said, "account 1 has no permissions\n");
    until(SOON, "their removal", || (check() == 403).then_some(()));
    for wrong in [&["emily"][..], &["emily", "a,b"], &["emily", "a b"], &["emily", "x", "--none"], &["nobody", "x"]] {
        assert!(!workdir.run(&[&["account", "set-permissions"], wrong].concat()).status.success(), "{wrong:?}");
    }
}

fn an_email_is_replaced_and_remains_unique(backend: Backend) {
    let workdir = with_two(backend);
    let node = workdir.serve(&[]);
    let access = signed_in(&node);
    let said = workdir.succeed(&["account", "set-email", "emily", " Emily@Müller.example "], "");
    assert_eq!(said, "account 1 has the email Emily@Müller.example\n");
    let email = || {
        let answer = node.send(&Request::new("GET", "/auth/me").bearer(&access));
        (answer.json()["email"].clone(), answer.json()["emailVerified"].clone())
    };
    assert_eq!(email(), (json!("Emily@Müller.example"), json!(true)), "and the session goes on");
    workdir.succeed(&["account", "set-email", "emily", "emily@müller.example", "--unverified"], "");
    assert_eq!(email().1, json!(false));
    for (who, new, words) in [
        ("bob", "EMILY@xn--mller-kva.example", "an account with this email already exists"),
        ("bob", "bob", "email must be an email address"),
        ("bob", "a@b@c", "email must be an email address"),
        ("nobody", "a@b.example", "no such account"),
    ] {
        let ran = workdir.run(&["account", "set-email", who, new]);
        assert!(!ran.status.success() && ran.stderr.contains(words), "{new}: {ran:?}");
    }
    let by_email = json!({ "email": "emily@xn--mller-kva.example", "password": PASSWORD }).to_string();
    assert_eq!(node.send(&Request::new("POST", "/auth/login").json(&by_email)).status, 200);
    let former = json!({ "email": "emily@mail.example", "password": PASSWORD }).to_string();
    assert_eq!(node.send(&Request::new("POST", "/auth/login").json(&former)).status, 401);
}

fn a_deleted_account_is_gone_with_its_sessions(backend: Backend) {
    let workdir = with_two(backend);
    let node = workdir.serve(&[]);
    let (access, other) = (signed_in(&node), signed_in(&node));
    for answer in ["", "2\n", "emily\n"] {
        let ran = workdir.run_with(&["account", "delete", "emily"], answer);
        assert!(!ran.status.success() && ran.stderr.contains("nothing was deleted"), "{ran:?}");
    }
    let me = |access: &str| node.send(&Request::new("GET", "/auth/me").bearer(access)).status;
    assert_eq!(me(&access), 200);
    let said = workdir.succeed(&["account", "delete", "emily"], "1\n");
    assert!(said.ends_with("account 1 is deleted, and its sessions have ended\n"), "{said}");
    for access in [&access, &other] {
        until(SOON, "the end of its sessions", || (me(access) == 401).then_some(()));
    }
    assert!(!workdir.run(&["account", "show", "1"]).status.success());
    let login = json!({ "username": "emily", "password": PASSWORD }).to_string();
    assert_eq!(node.send(&Request::new("POST", "/auth/login").json(&login)).status, 401);
    let events = objects(&workdir.succeed(&["audit", "--kind", "account_deletion", "--json"], ""));
    assert_eq!((events.len(), &events[0]["account"]), (1, &json!(1)), "{events:?}");
    assert_eq!(add(&workdir, &["--username", "emily", "--no-password"], ""), "3", "the number is not used again");
    let again = workdir.succeed(&["account", "delete", "emily", "--yes"], "");
    assert_eq!(again, "account 3 is deleted, and its sessions have ended\n");
}

fn lists_are_filtered_and_printed_as_json(backend: Backend) {
    let workdir = with_two(backend);
    let ids = |arguments: &[&str]| {
        let listed = objects(&workdir.succeed(&[&["account", "list", "--json"], arguments].concat(), ""));
        listed.iter().map(|account| account["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    workdir.succeed(&["account", "verify-email", "emily", "--withdraw"], "");
    for (arguments, expected) in [
        (&[][..], &[1, 2][..]),
        (&["--role", "ADMIN"], &[2]),
        (&["--permission", "till:open"], &[2]),
        (&["--status", "active", "--role", "USER"], &[1]),
        (&["--status", "locked"], &[]),
        (&["--unverified"], &[1]),
        (&["--verified"], &[]),
        (&["--must-change-password"], &[]),
        (&["--limit", "1"], &[1]),
        (&["--limit", "1", "--after", "1"], &[2]),
    ] {
        assert_eq!(ids(arguments), expected, "{arguments:?}");
    }
    let shown = objects(&workdir.succeed(&["account", "show", "bob", "--json"], ""));
    assert_eq!(shown.len(), 1);
    let bob = &shown[0];
    assert_eq!(
        (&bob["username"], &bob["permissions"], &bob["hasPassword"]),
        (&json!("bob"), &json!(["till:open"]), &json!(false))
    );
    assert!(!bob.to_string().contains("password\":\""), "{bob}");
    let keys = objects(&workdir.succeed(&["keys", "list", "--json"], ""));
    assert_eq!(keys.len(), 2, "{keys:?}");
    let peppers = objects(&workdir.succeed(&["keys", "list", "--json", "--kind", "pepper"], ""));
    assert_eq!((peppers.len(), &peppers[0]["kind"], &peppers[0]["state"]), (1, &json!("pepper"), &json!("active")));
    let node = workdir.serve(&[]);
    signed_in(&node);
    let sessions = objects(&workdir.succeed(&["session", "list", "emily", "--json"], ""));
    assert_eq!(
        (sessions.len(), &sessions[0]["dialect"], &sessions[0]["address"]),
        (1, &json!("native"), &json!("127.0.0.1"))
    );
    for none in [&["--dialect", "flat"][..], &["--address", "192.0.2.1"]] {
        assert_eq!(workdir.succeed(&[&["session", "list", "emily", "--json"], none].concat(), ""), "", "{none:?}");
    }
}

fn a_long_list_is_printed_page_by_page(backend: Backend) {
    let workdir = WorkDir::on(backend);
    let file = workdir.path().join("accounts.jsonl");
    let lines: Vec<String> = (1..=1200).map(|id| format!("{{\"id\":{id},\"username\":\"person{id}\"}}\n")).collect();
    std::fs::write(&file, lines.concat()).unwrap();
    workdir.succeed(&["import", file.to_str().unwrap()], "");
    let listed = workdir.succeed(&["account", "list"], "");
    let ids: Vec<i64> = listed.lines().skip(1).map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, (1..=1200).collect::<Vec<_>>());
    assert_eq!(listed.lines().filter(|line| line.starts_with("ID")).count(), 1, "one head");
    let some = workdir.succeed(&["account", "list", "--after", "1190", "--limit", "5"], "");
    assert_eq!(some.lines().count(), 6, "{some}");
}
