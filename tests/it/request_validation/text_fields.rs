//! Text fields: no text that a database, a header or a log line mishandles, none that passes for another account's
//! name, and none of unbounded length.

use serde_json::{Value, json};

use super::{CONFIRM, Fixture, problem, registration, routes_with_a_body};
use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, code, on_both_backends};

on_both_backends!(
    each_field_error_has_the_code_of_its_rule,
    blanks_around_an_identifier_do_not_count,
    no_text_field_accepts_control_characters_or_unbounded_length,
    lone_surrogates_are_refused,
    unusual_texts_cause_no_server_error,
    a_profile_returns_exactly_what_it_was_given,
    a_new_identifier_has_no_invisible_bidi_or_mixed_script_letters,
    a_lookalike_of_a_name_is_that_name,
    unusual_secrets_are_checked_and_break_nothing,
);

fn fixture(backend: Backend) -> Fixture {
    Fixture::of_every_route(backend)
}

fn post(fixture: &Fixture, path: &str, body: &Value) -> Response {
    fixture.send(&Request::new("POST", path).json(&body.to_string()))
}

/// Every request with this text in one of its fields except secrets, everything else being valid.
fn requests_with(fixture: &Fixture, text: &str) -> Vec<(String, Response)> {
    let mut answers = vec![];
    let mut note = |path: &str, field: &str, answer: Response| answers.push((format!("{path} {field}"), answer));
    let fields =
        ["email", "username", "name", "firstName", "lastName", "gender", "image", "phone", "deviceId", "deviceName"];
    for field in fields.into_iter().chain(["tokens"]) {
        // A unique name, so that a wrongly accepted request does not hide the next one's failure.
        let newcomer = uuid::Uuid::new_v4().simple().to_string();
        let mut body = registration(&json!({ "username": newcomer }));
        body[field] = json!(text);
        note("register", field, post(fixture, "/auth/register", &body));
    }
    for field in ["identifier", "email", "username", "name"] {
        note("login", field, post(fixture, "/auth/login", &json!({ field: text, "password": PASSWORD })));
    }
    for field in ["deviceId", "deviceName", "tokens"] {
        let body = json!({ "username": "emily", "password": PASSWORD, field: text });
        note("login", field, post(fixture, "/auth/login", &body));
    }
    for path in ["/auth/refresh", "/auth/logout", "/auth/logout-all"] {
        note(path, "refreshToken", post(fixture, path, &json!({ "refreshToken": text })));
    }
    let confirm = routes_with_a_body().find(|route| route.path == CONFIRM).unwrap();
    for field in ["token", "deviceId", "deviceName", "tokens"] {
        let mut body = json!({ "token": "x", "password": PASSWORD });
        body[field] = json!(text);
        note(CONFIRM, field, fixture.send_to(confirm, |request| request.json(&body.to_string())));
    }
    for field in ["name", "firstName", "lastName", "gender", "image", "phone"] {
        let request = Request::new("PATCH", "/auth/me").bearer(&fixture.access);
        note("me", field, fixture.send(&request.json(&json!({ field: text }).to_string())));
    }
    answers
}

fn no_text_field_accepts_control_characters_or_unbounded_length(backend: Backend) {
    let fixture = fixture(backend);
    let mut faults = vec![];
    for (what, text) in [
        ("NUL", "\0".to_owned()),
        ("NUL inside", "a\0b".to_owned()),
        ("a line feed and a header", "a\r\nX-Evil: b".to_owned()),
        ("escape", "a\u{1b}[31mb".to_owned()),
        ("C1 control", "a\u{85}b".to_owned()),
        ("delete", "a\u{7f}b".to_owned()),
        ("10 kB", "x".repeat(10_000)),
        ("10 kB of four bytes each", "😀".repeat(2_500)),
    ] {
        for (field, answer) in requests_with(&fixture, &text) {
            if !(400..500).contains(&answer.status) {
                faults.push(format!("{what} in {field}: {}", answer.status));
            } else if answer.header("content-type") != Some("application/problem+json") {
                faults.push(format!("{what} in {field}: {:?}", answer.header("content-type")));
            }
        }
    }
    assert!(faults.is_empty(), "{} not refused:\n{}", faults.len(), faults.join("\n"));
    fixture.assert_nothing_changed();
}

fn lone_surrogates_are_refused(backend: Backend) {
    let fixture = fixture(backend);
    for field in ["username", "email", "password", "deviceId", "firstName"] {
        for escape in ["\\ud800", "a\\udc00b", "\\ud83dx", "\\udc00\\ud800"] {
            let body = format!("{{\"{field}\":\"{escape}\"}}");
            let answer = fixture.send(&Request::new("POST", "/auth/register").json(&body));
            assert_eq!((answer.status, code(&answer).as_str()), (400, "malformed_body"), "{body}");
            assert!(answer.text().contains(field), "{}", answer.text());
        }
    }
    fixture.assert_nothing_changed();
}

fn unusual_texts_cause_no_server_error(backend: Backend) {
    let fixture = fixture(backend);
    for (what, text) in [
        ("nothing", ""),
        ("white space", " \t "),
        ("SQL", "' OR '1'='1' --"),
        ("more SQL", "x'; DROP TABLE accounts; --"),
        ("a pattern", "%"),
        ("HTML", "<script>alert(1)</script>"),
        ("a script URL", "javascript:alert(1)"),
        ("a template", "${jndi:ldap://127.0.0.1/x}"),
        ("a path", "../../etc/passwd"),
        ("backslashes", "\\\\x\\u0000\\"),
        ("a byte order mark", "\u{feff}"),
        ("a noncharacter", "\u{ffff}"),
        ("the replacement character", "\u{fffd}"),
        ("right to left", "a\u{202e}b"),
        ("private use", "\u{f8ff}\u{10ffff}"),
        ("unassigned", "\u{e01f0}"),
        ("many combining marks", "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}"),
        ("one that grows when folded", "ﷺﷺﷺﷺﷺﷺﷺﷺﷺﷺ"),
        ("sharp s", "ßßßßßßßß"),
        ("dotted I", "İİİİ"),
    ] {
        for (field, answer) in requests_with(&fixture, text) {
            assert!(answer.status < 500, "{what} in {field}: {} {}", answer.status, answer.text());
            if answer.status >= 400 {
                code(&answer);
            }
        }
    }
    let me = fixture.send(&Request::new("GET", "/auth/me").bearer(&fixture.access));
    assert_eq!((me.status, me.json()["username"].as_str()), (200, Some("emily")));
}

fn a_profile_returns_exactly_what_it_was_given(backend: Backend) {
    let fixture = fixture(backend);
    let deep = json!({ "a": { "b": [1, -1.5, "ü", null, true, { "c": {} }] } });
    let long = "x".repeat(15_000);
    for profile in [
        json!({}),
        json!({ "nul": "a\0b", "\0": 1 }),
        json!({ "": "", "__proto__": { "role": "ADMIN" }, "role": "ADMIN" }),
        json!({ "emoji": "👩‍👩‍👧", "bidi": "\u{202e}" }),
        json!({ "big": u64::MAX, "small": i64::MIN, "tiny": 5e-324, "exact": 0.1 }),
        json!({ "long": long }),
        deep,
    ] {
        let request = Request::new("PATCH", "/auth/me").bearer(&fixture.access);
        let answer = fixture.send(&request.json(&json!({ "profile": profile }).to_string()));
        assert!([200, 422].contains(&answer.status), "{profile}: {} {}", answer.status, answer.text());
        let shown = fixture.send(&Request::new("GET", "/auth/me").bearer(&fixture.access)).json();
        if answer.status == 200 {
            assert_eq!(shown["profile"], profile);
        }
        assert_eq!((shown["role"].as_str(), shown["id"].as_i64()), (Some("USER"), Some(1)), "{profile}");
    }
}

fn a_new_identifier_has_no_invisible_bidi_or_mixed_script_letters(backend: Backend) {
    let fixture = fixture(backend);
    let names = [
        "new\u{200b}comer",
        "new\u{200d}comer",
        "new\u{2060}comer",
        "\u{feff}newcomer",
        "newcomer\u{ad}",
        "new\u{34f}comer",
        "newcomer\u{3164}",
        "newcomer\u{fe0f}",
        "new\u{e0041}comer",
        "newcomer\u{202e}",
        "\u{202a}newcomer",
        "\u{2066}newcomer\u{2069}",
        "new\u{200f}comer",
        "раypal",
        "gооgle",
        "αlice",
        "ecpаy",
        "newcomer\u{a0}x",
        "new\u{2003}comer",
        "newcomer\r\nx",
        "newcomer\0",
        "new\u{1f600}comer",
    ];
    for name in names {
        for field in ["username", "name"] {
            assert_field_refused(&fixture, field, name);
        }
        assert_field_refused(&fixture, "email", &format!("{name}@mail.example"));
        assert_field_refused(&fixture, "email", &format!("newcomer@{name}.example"));
    }
    for email in
        ["a@b", "@b.example", "a@", "a b@c.example", "a@b..example", "a@b.example\r\nBcc: x@y.example", "a@[127.0.0.1]"]
    {
        assert_field_refused(&fixture, "email", email);
    }
    fixture.assert_nothing_changed();
}

fn assert_field_refused(fixture: &Fixture, field: &str, text: &str) {
    let answer = post(fixture, "/auth/register", &registration(&json!({ field: text })));
    let (status, code, fields) = problem(&answer);
    assert_eq!((status, code.as_str()), (422, "invalid_fields"), "{field} {text:?}: {}", answer.text());
    assert_eq!(fields, [field], "{text:?}");
}

fn a_lookalike_of_a_name_is_that_name(backend: Backend) {
    let fixture = fixture(backend);
    for look_alike in ["Emily", "EMILY", "ｅｍｉｌｙ", "𝑒𝑚𝑖𝑙𝑦", "ⓔⓜⓘⓛⓨ", "e\u{1d50}ily"] {
        let answer = post(&fixture, "/auth/register", &json!({ "username": look_alike, "password": PASSWORD }));
        let refused = [(409, "identifier_taken"), (422, "invalid_fields")];
        assert!(refused.contains(&(answer.status, code(&answer).as_str())), "{look_alike}: {}", answer.text());
    }
    fixture.assert_nothing_changed();
}

/// A password may contain any character: it is hashed, never stored, shown or logged.
fn unusual_secrets_are_checked_and_break_nothing(backend: Backend) {
    let fixture = fixture(backend);
    for secret in ["\0", "a\0b", "quiet-harbour-lantern\0", "\u{1}\u{7f}", "😀", "x\r\ny", &"x".repeat(10_000)] {
        for body in [json!({ "username": "emily", "password": secret }), json!({ "username": "emily", "pin": secret })]
        {
            let answer = post(&fixture, "/auth/login", &body);
            assert!([401, 422, 429].contains(&answer.status), "{body}: {}", answer.text());
            code(&answer);
        }
        let change = json!({ "currentPassword": secret, "newPassword": "another-quiet-harbour" }).to_string();
        let answer = fixture.send(&Request::new("POST", "/auth/change-password").bearer(&fixture.access).json(&change));
        assert!((400..500).contains(&answer.status), "{change}: {}", answer.text());
        code(&answer);
    }
    let long = post(&fixture, "/auth/register", &registration(&json!({ "password": "x".repeat(10_000) })));
    assert_eq!(problem(&long), (422, "invalid_fields".to_owned(), vec!["password".to_owned()]));
    fixture.assert_nothing_changed();
    let nul = json!({ "username": "newcomer", "password": "quiet\0harbour\u{1}lantern" });
    if post(&fixture, "/auth/register", &nul).status == 201 {
        let cut = post(&fixture, "/auth/login", &json!({ "username": "newcomer", "password": "quiet" }));
        assert_eq!(cut.status, 401, "nothing is cut at NUL");
        assert_eq!(post(&fixture, "/auth/login", &nul).status, 200);
    }
}

/// Clients choose a text of their own by the code, and by the number that the rule names.
fn each_field_error_has_the_code_of_its_rule(backend: Backend) {
    let fixture = fixture(backend);
    let (long, control) = ("a".repeat(300), "a\u{7}b");
    for (field, value, code, limit) in [
        ("email", json!("x"), "not_an_email", None),
        ("username", json!("a b"), "not_a_name", None),
        ("username", json!("admin"), "reserved", None),
        ("username", json!(long), "too_long", Some(64)),
        ("password", json!("a"), "too_short", Some(8)),
        ("password", json!("password"), "too_common", None),
        ("password", json!(null), "required", None),
        ("image", json!("javascript:x"), "not_a_url", None),
        ("firstName", json!(1), "wrong_type", None),
        ("deviceName", json!(control), "control_character", None),
        ("role", json!("ADMIN"), "unknown_field", None),
        ("tokens", json!("both"), "wrong_type", None),
    ] {
        let answer = post(&fixture, "/auth/register", &registration(&json!({ field: value })));
        let shown = answer.json();
        let error = &shown["errors"][0];
        let found = (error["field"].as_str(), error["code"].as_str(), error["limit"].as_u64());
        assert_eq!(found, (Some(field), Some(code), limit), "{shown}");
        assert!(error["message"].as_str().is_some_and(|text| text.starts_with(field)), "{shown}");
    }
    let nameless = post(&fixture, "/auth/login", &json!({ "password": PASSWORD }));
    assert_eq!(nameless.json()["errors"][0]["code"], "one_required");
}

fn blanks_around_an_identifier_do_not_count(backend: Backend) {
    let service = backend.service().start();
    let send = |path: &str, body: &Value| Request::new("POST", path).json(&body.to_string()).send(service.address());
    let made =
        send("/auth/register", &json!({ "username": " bob\t", "email": " Bob@example.com ", "password": PASSWORD }));
    assert_eq!(made.status, 201, "{}", made.text());
    let user = &made.json()["user"];
    assert_eq!((&user["username"], &user["email"]), (&json!("bob"), &json!("Bob@example.com")));
    let taken = send("/auth/register", &json!({ "username": "bob ", "password": PASSWORD }));
    assert_eq!(code(&taken), "identifier_taken");
    for (path, body) in [
        ("/auth/login", json!({ "identifier": "bob ", "password": PASSWORD })),
        ("/auth/login", json!({ "email": "\u{a0}bob@example.com", "password": PASSWORD })),
        ("/flat/auth/login", json!({ "username": " bob", "password": PASSWORD })),
        ("/signin/api/v1/auths/sign-in", json!({ "email": "bob@example.com ", "password": PASSWORD })),
        ("/envelope/auth/login", json!({ "email": " bob@example.com", "password": PASSWORD })),
    ] {
        assert_eq!(send(path, &body).status, 200, "{path} {body}");
    }
    for (path, body) in [
        ("/envelope/auth/register", json!({ "email": " carol@example.com ", "password": PASSWORD })),
        (
            "/signin/api/v1/auths/sign-up",
            json!({ "email": "dan@example.com ", "password": PASSWORD, "first_name": "D", "last_name": "N" }),
        ),
    ] {
        assert!([200, 201].contains(&send(path, &body).status), "{path} {body}");
    }
}
