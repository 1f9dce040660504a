//! Account fields: every field of an account is imported, and omitted ones have defaults.

use serde_json::{Value, json};

use super::{PASSWORD, SOME_HASH, Workspace, login, me, someone, status};
use crate::support::http::Request;
use crate::support::{Backend, code, on_both_backends};

on_both_backends!(
    every_field_of_a_line_is_imported,
    omitted_fields_have_their_defaults,
    an_account_that_was_not_active_stays_so,
    a_temporary_password_is_imported_to_be_changed,
    standard_input_is_read_as_a_file,
);

fn every_field_of_a_line_is_imported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let shown = json!({
        "id": 42,
        "uuid": "0198c0de-0000-4000-8000-000000000042",
        "email": "Emily@Mail.example",
        "emailVerified": true,
        "username": "Emily",
        "name": "Emily O'Hara",
        "firstName": "Emily",
        "lastName": "O\u{2019}Hara",
        "gender": "female",
        "image": "https://mail.example/emily.png",
        "phone": "+1 555-0100",
        "role": "VENDOR",
        "permissions": ["till:open", "till:close"],
        "stats": { "orders": 12, "spent": 1.5 },
        "profile": { "age": 29, "address": { "city": "Springfield" }, "note": "a\u{0}b" },
        "status": "active",
        "createdAt": "2019-05-06T07:08:09.123Z",
        "updatedAt": "2020-05-06T05:08:09.000Z",
    });
    let mut line = shown.clone();
    line["status"] = "ACTIVE".into();
    line["updatedAt"] = "2020-05-06T07:08:09+02:00".into();
    line["lastSignIn"] = "2021-05-06T07:08:09Z".into();
    line["passwordHash"] = SOME_HASH.into();
    workspace.succeed(&[], &[line]);
    assert_eq!(workspace.count("last_sign_in_at = 1620284889000"), 1);
    let node = workspace.workdir.serve(&[]);
    let tokens = login(&node, "emily", PASSWORD).json();
    let mut me = me(&node, "", &tokens["accessToken"]);
    assert!(me["lastSignIn"].as_str().unwrap() > "2026", "{me}");
    me.as_object_mut().unwrap().remove("lastSignIn");
    assert_eq!(me, shown);
    for identifier in ["EMILY", "emily@mail.example", "emily o'hara"] {
        let answer = node.post("/auth/login", &json!({ "identifier": identifier, "password": PASSWORD }));
        assert_eq!(answer.status, 200, "{identifier}");
    }
}

fn omitted_fields_have_their_defaults(backend: Backend) {
    let mut workspace = Workspace::on(backend);
    workspace.workdir = workspace.workdir.set("SIGNUP_ROLE", "GUEST");
    workspace.succeed(&[], &[someone("one"), json!({ "username": "two", "role": "ADMIN", "passwordHash": null })]);
    workspace.succeed(&["--role", "MEMBER"], &[someone("three"), json!({ "username": "four", "role": "ADMIN" })]);
    for (name, role) in [("one", "GUEST"), ("two", "ADMIN"), ("three", "MEMBER"), ("four", "ADMIN")] {
        assert_eq!(workspace.count(&format!("username = '{name}' AND role = '{role}'")), 1, "{name}");
    }
    let rest = "NOT must_change_password AND status = 'active' AND stats = '{}' AND profile = '{}' AND permissions = '' AND NOT email_verified AND created_at = updated_at";
    assert_eq!(workspace.count(rest), 4);
    let node = workspace.workdir.serve(&[]);
    assert_eq!(
        [status(&node, "one", PASSWORD), status(&node, "two", ""), status(&node, "two", PASSWORD)],
        [200, 401, 401]
    );
}

fn an_account_that_was_not_active_stays_so(backend: Backend) {
    let workspace = Workspace::on(backend);
    let lines = ["inactive", "locked", "suspended"]
        .map(|word| json!({ "username": word, "status": word, "passwordHash": SOME_HASH }));
    workspace.succeed(&[], &lines);
    let node = workspace.workdir.serve(&[]);
    for word in ["inactive", "locked", "suspended"] {
        assert_eq!([status(&node, word, "wrong"), status(&node, word, PASSWORD)], [401, 403], "{word}");
    }
}

fn a_temporary_password_is_imported_to_be_changed(backend: Backend) {
    let workspace = Workspace::on(backend);
    let line =
        |name: &str, must: Value| json!({ "username": name, "passwordHash": SOME_HASH, "mustChangePassword": must });
    let plain = json!({ "username": "plain", "password": "for-one-day", "mustChangePassword": true });
    workspace.succeed(&["--plain-secrets"], &[line("hashed", json!(true)), line("free", json!(false)), plain]);
    assert_eq!(workspace.count("must_change_password"), 2);
    let node = workspace.workdir.serve(&[]);
    for (name, password) in [("hashed", PASSWORD), ("plain", "for-one-day")] {
        let tokens = login(&node, name, password).json();
        let access = tokens["accessToken"].as_str().unwrap();
        let refused = node.send(&Request::new("GET", "/auth/me").bearer(access));
        assert_eq!((refused.status, &*code(&refused)), (403, "password_change_required"), "{name}");
        let change = json!({ "currentPassword": password, "newPassword": "another-quiet-harbour" }).to_string();
        let changed = node.send(&Request::new("POST", "/auth/change-password").bearer(access).json(&change));
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert_eq!(me(&node, "", &changed.json()["accessToken"])["username"], name);
    }
    me(&node, "", &login(&node, "free", PASSWORD).json()["accessToken"]);
    assert_eq!(workspace.count("must_change_password"), 0);
}

fn standard_input_is_read_as_a_file(backend: Backend) {
    let workspace = Workspace::on(backend);
    let lines = format!("{}\n\n{}\n", someone("one"), someone("two"));
    let output = workspace.workdir.succeed(&["import", "-"], &lines);
    assert_eq!(output, "2 accounts read: 2 added, 0 already exist, 0 refused\n");
    let output = workspace.workdir.succeed(
        &["import", "-", "--format", "flat"],
        r#"{"users":[{"username":"three","password":"threepass"}],"total":1}"#,
    );
    assert!(output.starts_with("1 accounts read: 1 added"), "{output}");
    assert_eq!(workspace.count("TRUE"), 3);
}
