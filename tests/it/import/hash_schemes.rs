//! Imported hash schemes: each verifies the password once as it is, and is replaced by our own hash at that sign-in.

use serde_json::json;

use super::{KNOWN, PASSWORD, Workspace, status};
use crate::support::http::Request;
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    every_scheme_signs_in_and_is_rehashed,
    an_imported_pin_hash_signs_in,
    a_bcrypt_password_over_72_bytes_signs_in_and_is_checked_whole_afterwards,
    a_decomposed_password_signs_in_and_is_normalized_afterwards,
    a_password_change_accepts_an_imported_current_password,
);

const IMPORTED: &str = "password LIKE 'imported:%'";
const OURS: &str = "password LIKE 'hmac-bcrypt:%:$2b$04$%'";

fn every_scheme_signs_in_and_is_rehashed(backend: Backend) {
    let workspace = Workspace::on(backend);
    let lines = KNOWN.map(|(name, hash)| json!({ "username": name, "passwordHash": hash }));
    let all = i64::try_from(KNOWN.len()).unwrap();
    assert_eq!(
        workspace.succeed(&[], &lines),
        format!("{all} accounts read: {all} added, 0 already exist, 0 refused\n")
    );
    assert_eq!((workspace.count(IMPORTED), workspace.count(OURS)), (all, 0));
    let node = workspace.workdir.serve(&[]);
    for (done, (name, hash)) in (0..).zip(KNOWN) {
        for wrong in ["correct hors", "Correct horse", "correct horse ", hash] {
            assert_eq!(status(&node, name, wrong), 401, "{name} {wrong:?}");
        }
        let verbatim = format!("username = '{name}' AND password = 'imported:{hash}'");
        assert_eq!(workspace.count(&verbatim), 1, "{name}: a failure changes nothing");
        assert_eq!(status(&node, name, PASSWORD), 200, "{name}");
        assert_eq!((workspace.count(IMPORTED), workspace.count(OURS)), (all - done - 1, done + 1), "{name}");
        assert_eq!((status(&node, name, PASSWORD), status(&node, name, "correct hors")), (200, 401), "{name}");
    }
}

fn an_imported_pin_hash_signs_in(backend: Backend) {
    let workspace = Workspace::on(backend);
    let hash = "$2b$04$QM4nx3yHSjBAgjdGKthR6.nGgSRfkowAHTrcF8BpehyJE.2JWjDTG";
    workspace.succeed(&[], &[json!({ "name": "Till 3", "pinHash": hash, "role": "CASHIER" })]);
    let node = workspace.workdir.serve(&[]);
    let status = |pin: &str| node.post("/pin/auth/login", &json!({ "name": "till 3", "pin": pin })).status;
    assert_eq!([status("4712"), status("4711"), status("4711"), status("4712")], [401, 200, 200, 401]);
    assert_eq!(workspace.count("pin LIKE 'hmac-bcrypt:%' AND password IS NULL"), 1);
}

fn a_bcrypt_password_over_72_bytes_signs_in_and_is_checked_whole_afterwards(backend: Backend) {
    let workspace = Workspace::on(backend);
    let hash = "$2b$04$M84C77.KhaphXmwr3lqBQe0zGjCBkiXsnf.GGGbEayNOfKcRasnva";
    workspace.succeed(&[], &[json!({ "username": "emily", "passwordHash": hash })]);
    let node = workspace.workdir.serve(&[]);
    // bcrypt read 72 bytes, so the rest of the password was never part of the hash.
    let long = "x".repeat(72) + " and what nobody read";
    assert_eq!(status(&node, "emily", &"x".repeat(71)), 401);
    assert_eq!(status(&node, "emily", &long), 200);
    assert_eq!([status(&node, "emily", &"x".repeat(72)), status(&node, "emily", &long)], [401, 200]);
}

fn a_decomposed_password_signs_in_and_is_normalized_afterwards(backend: Backend) {
    let workspace = Workspace::on(backend);
    let hash = "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$YSdJA43qKl+MO2jsxUO9Yd7hMLPE1OHkYpP6mNhG/Ik";
    workspace.succeed(&[], &[json!({ "username": "emily", "passwordHash": hash })]);
    let node = workspace.workdir.serve(&[]);
    let (composed, decomposed) = ("caf\u{e9} noir", "cafe\u{301} noir");
    assert_eq!(status(&node, "emily", "cafe noir"), 401);
    assert_eq!(status(&node, "emily", decomposed), 200);
    assert_eq!([status(&node, "emily", composed), status(&node, "emily", decomposed)], [200, 200]);
}

fn a_password_change_accepts_an_imported_current_password(backend: Backend) {
    let workspace = Workspace::on(backend);
    let node = workspace.workdir.serve(&[]);
    // The sign-in was by PIN, so the password hash is still the imported one.
    let pin = "$2b$04$QM4nx3yHSjBAgjdGKthR6.nGgSRfkowAHTrcF8BpehyJE.2JWjDTG";
    workspace.succeed(&[], &[json!({ "username": "emily", "passwordHash": KNOWN[4].1, "pinHash": pin })]);
    let by_pin = node.post("/auth/login", &json!({ "username": "emily", "pin": "4711", "tokens": "body" })).json();
    assert_eq!(workspace.count(IMPORTED), 1);
    let change = |access: &str, current: &str| {
        let body = json!({ "currentPassword": current, "newPassword": "quiet-harbour-lantern" }).to_string();
        node.send(&Request::new("POST", "/auth/change-password").json(&body).bearer(access))
    };
    let access = by_pin["accessToken"].as_str().unwrap();
    assert_eq!(change(access, "correct hors").status, 403);
    let changed = change(access, PASSWORD);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!([status(&node, "emily", PASSWORD), status(&node, "emily", "quiet-harbour-lantern")], [401, 200]);
    assert_eq!((workspace.count(IMPORTED), workspace.count(OURS)), (0, 1));
}
