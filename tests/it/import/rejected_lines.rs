//! Rejected lines: an import reports line and reason, and never the secret.

use serde_json::json;

use super::{PASSWORD, SOME_HASH, Workspace, someone, status};
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    every_rejected_line_is_reported_with_its_reason_and_without_its_secret,
    hashes_of_excessive_cost_are_rejected_without_being_computed,
    a_binary_or_overlong_line_affects_no_other,
    plain_text_secrets_are_imported_only_when_allowed,
    an_unreadable_file_is_reported,
);

/// A line and the reason for its rejection, after its identifier if it has one. HASH stands for a valid hash, LONG for
/// 1,025 letters.
const REFUSED: [(&str, &str); 32] = [
    (r#"{"username":"a1","passwordHash":"canary$42""#, r#"it is not valid JSON (in "passwordHash", column 43)"#),
    ("[1]", "it must be an object"),
    (
        r#"{"username":"a3","password":"canary$42","password":"canary$42"}"#,
        r#"a member appears twice (in "password", column "#,
    ),
    (r#"{"passwordHash":"HASH"}"#, "email is missing; one of email, username is required"),
    (
        r#"{"username":"a5","passwordHash":"canary$42"}"#,
        "(a5) passwordHash must be a password hash of a scheme that docs/import.md lists",
    ),
    (r#"{"username":"a6","pasword":"canary$42"}"#, "(a6) pasword is not a field of an account"),
    (r#"{"username":"canary 42","passwordHash":"HASH"}"#, "username may hold letters"),
    (r#"{"email":"a8@mail","passwordHash":"HASH"}"#, "email must be an email address"),
    (r#"{"username":"a9","role":"two words"}"#, "(a9) role must be up to 64 letters"),
    (r#"{"username":"b1","status":"gone"}"#, "(b1) status must be active, inactive, locked or suspended"),
    (r#"{"username":"b2","createdAt":"yesterday"}"#, "(b2) createdAt must be a time like"),
    (r#"{"username":"b3","createdAt":"2999-01-01T00:00:00Z"}"#, "(b3) createdAt must be a time between 1970 and now"),
    (r#"{"username":"d1","updatedAt":"1969-12-31T23:59:59Z"}"#, "(d1) updatedAt must be a time between 1970 and now"),
    (r#"{"username":"d2","lastSignIn":"2999-01-01T00:00:00Z"}"#, "(d2) lastSignIn must be a time between 1970 and now"),
    (r#"{"username":"b4","id":0}"#, "(b4) id must be a number from 1 to 4503599627370496"),
    (r#"{"username":"d3","id":-7}"#, "(d3) id must be a number from 1 to 4503599627370496"),
    (r#"{"username":"d4","id":4503599627370497}"#, "(d4) id must be a number from 1 to 4503599627370496"),
    (r#"{"username":"b5","id":"7"}"#, "(b5) id must be a whole number"),
    (r#"{"username":"b6","pin":"12"}"#, "(b6) pin must be 4 to 12 digits"),
    (r#"{"username":"b7","password":""}"#, "(b7) password must not be empty"),
    (
        r#"{"username":"b8","password":"canary$42","passwordHash":"HASH"}"#,
        "(b8) passwordHash must be omitted if the plain secret is given",
    ),
    (
        r#"{"username":"d5","pin":"271828","pinHash":"HASH"}"#,
        "(d5) pinHash must be omitted if the plain secret is given",
    ),
    (
        r#"{"username":"d6","mustChangePassword":true}"#,
        "(d6) mustChangePassword must be omitted if there is no password",
    ),
    (r#"{"username":"b9","permissions":["a b"]}"#, "(b9) permissions must be a list of words"),
    (r#"{"username":"c1","image":"javascript:canary"}"#, "(c1) image must be an http or https URL"),
    (r#"{"username":"c2","profile":["canary"]}"#, "(c2) profile must be an object"),
    (r#"{"username":"c3","uuid":"canary"}"#, "(c3) uuid must be a uuid"),
    (r#"{"username":42,"email":"c4@mail.example","firstName":"a\nb"}"#, "(c4@mail.example) username must be text"),
    (r#"{"username":"c5","password":"LONG"}"#, "(c5) password must have at most 1024 characters"),
    (
        r#"{"username":"c7","pinHash":"HASH","mustChangePassword":true}"#,
        "(c7) mustChangePassword must be omitted if there is no password",
    ),
    (
        r#"{"username":"c8","passwordHash":"HASH","mustChangePassword":"yes"}"#,
        "(c8) mustChangePassword must be true or false",
    ),
    (r#"{"username":"c6","lastName":"a\u0000b"}"#, "(c6) lastName must be text without control characters"),
];

fn every_rejected_line_is_reported_with_its_reason_and_without_its_secret(backend: Backend) {
    let workspace = Workspace::on(backend);
    let whole = |(line, _): &(&str, &str)| line.replace("HASH", SOME_HASH).replace("LONG", &"x".repeat(1025));
    let mut lines: Vec<String> = REFUSED.iter().map(whole).collect();
    lines.push(someone("fit").to_string());
    let ran = workspace.import_text(&["--plain-secrets"], &lines);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let mut report = ran.stdout.lines();
    for (number, (line, expected)) in (1..).zip(REFUSED) {
        let expected = match expected.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
            Some((name, why)) => format!("line {number} ({name}): refused: {why}"),
            None => format!("line {number}: refused: {expected}"),
        };
        let output = report.next().unwrap_or_default();
        assert!(output.starts_with(&expected), "{line}\n  {output}\n  {expected}");
    }
    let all = REFUSED.len();
    assert_eq!(report.next(), Some(&*format!("{} accounts read: 1 added, 0 already exist, {all} refused", all + 1)));
    assert_eq!(ran.stderr, format!("doorward: {all} of {} accounts were refused\n", all + 1));
    let output = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!output.contains("canary") && !output.contains("seasalt") && !output.contains("xxxx"), "{output}");
    assert_eq!((workspace.count("username = 'fit'"), workspace.count("TRUE")), (1, 1));
}

fn hashes_of_excessive_cost_are_rejected_without_being_computed(backend: Backend) {
    let workspace = Workspace::on(backend);
    let hashes = [
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHRzYWx0$ZYYzdXh79iJ8hhQqe654Q5M4G+AzwYWF",
        "$scrypt$ln=24,r=8,p=1$937vHYMQYkwJwVjr3dt7jw$tgpW1IQpu71N5J4+RROQ4FK1X2+i+8wHR8SeEH/t3X0",
        "scrypt$1048576$seasalt$8$1$vsF1MWQL1vJXDApgjYRuO8AWAYXwebFmaDKkcOnQQf7zn2oP4lknTRsNFXwA+xnT6V6NhveCgCif59+5/Im0rw==",
        "pbkdf2_sha256$4294967295$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=",
        "$2b$31$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2",
    ];
    let lines: Vec<_> =
        (0..).zip(hashes).map(|(n, hash)| json!({ "username": format!("u{n}"), "passwordHash": hash })).collect();
    let ran = workspace.import(&[], &lines);
    // Verifying any of them would take minutes, and the command is given 30 s to end.
    assert_eq!(
        ran.stdout.matches("passwordHash must be a hash that one sign-in can check").count(),
        hashes.len(),
        "{ran:?}"
    );
    assert_eq!((ran.status.code(), workspace.count("TRUE")), (Some(1), 0));
}

fn a_binary_or_overlong_line_affects_no_other(backend: Backend) {
    let workspace = Workspace::on(backend);
    let long = json!({ "username": "long", "profile": { "x": "y".repeat(200_000) } }).to_string();
    let deep = "[".repeat(10_000);
    let mut file = b"\xef\xbb\xbf".to_vec();
    for line in [
        someone("first").to_string().as_bytes(),
        b"",
        b"{\"username\":\"\xff\xfe\"}",
        b"\0\0\0",
        long.as_bytes(),
        deep.as_bytes(),
        b"  \r",
    ] {
        file.extend_from_slice(line);
        file.extend_from_slice(b"\r\n");
    }
    file.extend_from_slice(someone("last").to_string().as_bytes());
    std::fs::write(workspace.workdir.file("broken.jsonl"), file).unwrap();
    let ran = workspace.workdir.run(&["import", "broken.jsonl"]);
    let output: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(output.len(), 5, "{ran:?}");
    assert!(
        output[0].starts_with("line 3: refused: it is not valid JSON")
            && output[1].starts_with("line 4: refused: it is not valid JSON"),
        "{output:?}"
    );
    assert_eq!(output[2], "line 5: refused: it is longer than 64 KiB");
    assert!(output[3].starts_with("line 6: refused: it is not valid JSON"), "{output:?}");
    assert_eq!(output[4], "6 accounts read: 2 added, 0 already exist, 4 refused");
    assert_eq!(workspace.count("username IN ('first', 'last')"), 2);
}

fn plain_text_secrets_are_imported_only_when_allowed(backend: Backend) {
    let workspace = Workspace::on(backend);
    // Common, short, equal to the user name: the password exists, so it is accepted.
    let lines = [
        json!({ "username": "emily", "password": "emily" }),
        json!({ "username": "bob", "password": "123456" }),
        json!({ "name": "Till 4", "pin": "0000" }),
    ];
    let ran = workspace.import(&[], &lines);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    for line in [
        "line 1 (emily): refused: password must be left out without --plain-secrets",
        "line 3 (till 4): refused: pin must be left out without --plain-secrets",
    ] {
        assert!(ran.stdout.contains(line), "{ran:?}");
    }
    assert_eq!(workspace.count("TRUE"), 0);
    let output = workspace.succeed(&["--plain-secrets"], &lines);
    assert!(output.contains("the file contains plain secrets: delete it after the import"), "{output}");
    assert_eq!(workspace.count("password LIKE 'hmac-bcrypt:%' OR pin LIKE 'hmac-bcrypt:%'"), 3);
    let node = workspace.workdir.serve(&[]);
    assert_eq!(
        [status(&node, "emily", "emily"), status(&node, "bob", "123456"), status(&node, "bob", PASSWORD)],
        [200, 200, 401]
    );
    assert_eq!(node.post("/pin/auth/login", &json!({ "name": "Till 4", "pin": "0000" })).status, 200);
}

fn an_unreadable_file_is_reported(backend: Backend) {
    let workspace = Workspace::on(backend);
    let absent = workspace.workdir.run(&["import", "absent.jsonl"]);
    assert!(
        !absent.status.success() && absent.stderr.starts_with("doorward: absent.jsonl cannot be read: "),
        "{absent:?}"
    );
    std::fs::write(workspace.workdir.file("users.json"), "[{\"username\":\"a\"},\n {\"password\":\"canary\"").unwrap();
    let cut = workspace.workdir.run(&["import", "--format", "flat", "users.json"]);
    assert_eq!(cut.stderr, "doorward: users.json cannot be read: the file ends within an object (line 2)\n", "{cut:?}");
    let role = workspace.workdir.run(&["import", "users.json", "--role", "two words"]);
    assert!(!role.status.success() && role.stderr.contains("is not a valid role"), "{role:?}");
    assert_eq!(workspace.count("TRUE"), 0);
}
