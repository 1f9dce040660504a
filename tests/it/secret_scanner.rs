//! The secret scanner that ends every test can itself fail: a planted secret is found, and the failure names its kind
//! and never the secret.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::http::Request;
use crate::support::postgres::{all_rows, psql, shared};
use crate::support::process::{Node, WorkDir};
use crate::support::secret_scanner::{Known, log_capture};
use crate::support::{Backend, PASSWORD, on_both_backends, on_postgres, register};

on_both_backends!(a_secret_in_a_nodes_log_fails_its_test, the_log_of_services_in_the_test_process_is_searched);
on_postgres!(a_secret_in_postgresqls_rows_is_found_as_text_and_as_bytes);

const PLANTED: &str = "planted-lantern-Q7vX-harbour";

/// The message with which a node's end fails its test.
fn failure(node: Node) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| drop(node))).expect_err("the node holds a secret");
    let why = *failed.downcast::<String>().unwrap();
    assert!(!why.contains(PLANTED), "{why}");
    why
}

/// A single secret: those of other tests must not be found here.
fn knows(planted: &str) -> Known {
    let mut known = Known::default();
    known.add("the member password", planted);
    known
}

fn a_secret_in_a_nodes_log_fails_its_test(backend: Backend) {
    let workdir = WorkDir::on(backend).set("LOG_FORMAT", "json");
    let quiet = workdir.serve(&["serve"]);
    let attempt = serde_json::json!({ "username": "emily", "password": format!("{PLANTED}-log") });
    assert_eq!(quiet.post("/auth/login", &attempt).status, 401);
    drop(quiet);
    let node = workdir.serve(&["serve"]);
    assert_eq!(node.get(&format!("/nowhere/{PLANTED}-log")).status, 404);
    let why = failure(node);
    assert!(why.starts_with("a node's log holds a secret: the member password in "), "{why}");
    assert!(why.contains("/nowhere/<here>"), "{why}");
}

#[test]
fn a_secret_in_a_nodes_rows_fails_its_test() {
    let workdir = WorkDir::on(Backend::Sqlite);
    let node = workdir.serve(&["serve"]);
    let account = serde_json::json!({ "username": "emily", "password": format!("{PLANTED}-row") });
    assert_eq!(node.post("/auth/register", &account).status, 201);
    let agent = format!("an agent with {PLANTED}-row");
    let request = Request::new("POST", "/auth/login").header("User-Agent", agent).json(&account.to_string());
    assert_eq!(node.send(&request).status, 200);
    let why = failure(node);
    assert!(why.starts_with("a node's database holds a secret: the member password in "), "{why}");
}

fn a_secret_in_postgresqls_rows_is_found_as_text_and_as_bytes() {
    let url = shared().new_database();
    for column in [format!("'{PLANTED}'::text"), format!("'\\x00'::bytea || '{PLANTED}'::bytea")] {
        psql(&url, &format!("CREATE TABLE planted AS SELECT {column} AS secret"));
        let rows = all_rows(&url);
        let rows = crate::support::secret_scanner::with_bytes(&rows);
        assert!(knows(PLANTED).find_in_rows(&rows).is_some(), "{}", String::from_utf8_lossy(&rows));
        psql(&url, "DROP TABLE planted");
    }
    assert_eq!(all_rows(&url), "");
}

fn the_log_of_services_in_the_test_process_is_searched(backend: Backend) {
    let running = log_capture::begin();
    let service = backend.service().start();
    register(&service, "emily");
    let planted = format!("{PLANTED}-{backend:?}");
    let known = knows(&planted);
    assert!(known.find_in_text(&running.text()).is_none());
    Request::new("GET", &format!("/nowhere/{planted}")).send(service.address());
    drop(service);
    let text = running.text();
    let found = known.find_in_text(&text).expect("the path is in the log");
    assert_eq!(&text[found.range], planted.as_bytes());
    assert!(!String::from_utf8_lossy(&text).contains(PASSWORD));
}

#[test]
fn every_encoding_of_a_secret_is_found_at_any_position() {
    let (jwt, id) =
        ("eyJhbGciOiJ9.eyJzdWIiOiIxIiwic2lkIjo.c2lnbmF0dXJlLW9mLW91cnM", "018f6b1e-7c3a-7d21-9f10-5a2b3c4d5e6f");
    let mut known = knows(PLANTED);
    known.add("a token", jwt);
    known.add("an opaque token", id);
    known.add("a password", "too-short");
    known.add("a password", "aaaaaaaaaaaaaaaaaaaa");
    let bytes = uuid::Uuid::try_parse(id).unwrap().into_bytes();
    let parts: Vec<&str> = jwt.split('.').collect();
    let forms: [&[u8]; 7] = [
        PLANTED.as_bytes(),
        parts[1].as_bytes(),
        parts[2].as_bytes(),
        b"signature-of-ours",
        id.as_bytes(),
        b"018f6b1e7c3a7d219f105a2b3c4d5e6f",
        &bytes,
    ];
    for form in forms {
        for (before, after) in [("", ""), ("x", ""), ("", "\n"), ("a line\n\"quoted ", "\" and more of it")] {
            let text = [before.as_bytes(), form, after.as_bytes()].concat();
            let found = known.find_in_text(&text).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&text)));
            assert_eq!(found.range, before.len()..before.len() + form.len());
        }
        assert!(known.find_in_text(&form[..form.len() - 1]).is_none());
    }
    assert!(known.find_in_text(b"eyJhbGciOiJ9 is in every token, too-short, aaaaaaaaaaaaaaaaaaaa").is_none());
    known.add_name(&PLANTED.to_uppercase());
    assert!(known.find_in_rows(PLANTED.as_bytes()).is_none(), "it is an account's name");
    assert!(known.find_in_text(PLANTED.as_bytes()).is_some(), "which no log tells");
}
