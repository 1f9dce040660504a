//! Bodies that are no JSON, JSON of another shape, fields that a request does not have, and too much of everything.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Body, CONFIRM, House, Route, assert_refused, problem, registration, routes_with_a_body};
use crate::support::http::{Request, Response, exchange_raw};
use crate::support::{Backend, code, on_both_backends};

on_both_backends!(
    malformed_json_is_reported_by_position_and_never_quoted,
    json_other_than_an_object_is_refused,
    undocumented_fields_are_refused,
    every_field_of_the_wrong_type_is_named,
    a_duplicate_json_member_is_refused,
    deep_nesting_is_answered,
    a_body_over_16_kib_is_refused,
    a_body_of_16_kib_is_read,
    a_truncated_body_is_answered_or_dropped,
);

fn house(backend: Backend) -> House {
    House::of_every_route(backend)
}

const CANARY: &str = "canary-hunter2";

/// Bodies that no parser of JSON takes; the value of `password` must not come back.
fn malformed() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        r#"{"password":CANARY}"#,
        r#"{"password":"CANARY}"#,
        r#"{"password":"CANARY""#,
        r#"{"password":"CANARY",}"#,
        r#"{"password":"CANARY"}}"#,
        r#"{"password":"CANARY"} {"password":"CANARY"}"#,
        r#"{"password":"CANARY"}x"#,
        r"{'password':'CANARY'}",
        r#"{password:"CANARY"}"#,
        r#"{"password" "CANARY"}"#,
        r#"{"password":"CANARY" "x":1}"#,
        r#"{"password":"CANARY\x"}"#,
        r#"{"password":"CANARY\ud800"}"#,
        r#"{"password":"\udfffCANARY"}"#,
        r#"{"password":"CANARY\u00"}"#,
        r#"{"password":"CANARY", // a comment"#,
        r#"{"password":["CANARY"}"#,
        r#"{"password":NaN,"x":"CANARY"}"#,
        r#"{"password":01,"x":"CANARY"}"#,
        r#"{"password":+1}"#,
        r#"{"password":0x1}"#,
        r#"{"password":nul}"#,
        r#"{"password":True}"#,
        r#"{"password":"#,
        "{",
        "}",
        "password=CANARY",
        "CANARY",
        "\"CANARY",
        "{\"password\":\"CANARY\n\"}",
        "{\"password\":\"CANARY\0\"}",
        "\u{feff}{\"password\":\"CANARY\"}",
        " ",
    ]
    .map(|body| body.replace("CANARY", CANARY).into_bytes())
    .into();
    bodies.push([b"{\"password\":\"", CANARY.as_bytes(), b"\xff\xfe\"}"].concat());
    bodies.push([b"{\"password\":\"", CANARY.as_bytes(), b"\xed\xa0\x80\"}"].concat());
    bodies.push(CANARY.encode_utf16().flat_map(u16::to_le_bytes).collect());
    bodies
}

fn malformed_json_is_reported_by_position_and_never_quoted(backend: Backend) {
    let house = house(backend);
    for route in routes_with_a_body() {
        for body in malformed() {
            let answer = house.send_to(route, |request| request.body(Some("application/json"), body.clone()));
            let what = format!("{} {}: {}", route.path, String::from_utf8_lossy(&body), answer.text());
            assert_eq!(problem(&answer), (400, "malformed_body".to_owned(), vec![]), "{what}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("password") || detail.contains("line 1 column"), "{what}");
            assert!(!answer.text().contains(CANARY) && !answer.text().contains("hunter2"), "{what}");
        }
    }
    for route in routes_with_a_body().filter(|route| route.body == Body::Required) {
        let answer = house.send_to(route, |request| request.json(""));
        assert_eq!((answer.status, code(&answer).as_str()), (400, "malformed_body"), "{}: empty", route.path);
    }
    house.assert_nothing_changed();
}

fn json_other_than_an_object_is_refused(backend: Backend) {
    let house = house(backend);
    for route in routes_with_a_body() {
        let listed: Value = serde_json::from_str(route.json).unwrap();
        let listed = listed.as_object().unwrap().values().cloned().collect::<Vec<_>>();
        for body in [
            json!(listed),
            json!([]),
            json!([serde_json::from_str::<Value>(route.json).unwrap()]),
            json!(CANARY),
            json!(""),
            json!(1),
            json!(-1.5e300),
            json!(true),
            json!(null),
        ] {
            let answer = house.send_to(route, |request| request.json(&body.to_string()));
            assert_eq!((answer.status, code(&answer).as_str()), (422, "invalid_fields"), "{} {body}", route.path);
            assert!(!answer.text().contains(CANARY), "{}", answer.text());
        }
    }
    house.assert_nothing_changed();
}

fn undocumented_fields_are_refused(backend: Backend) {
    let house = house(backend);
    for route in routes_with_a_body() {
        for field in [
            "role",
            "rol",
            "roles",
            "is_admin",
            "isAdmin",
            "admin",
            "id",
            "uuid",
            "userId",
            "password_hash",
            "created_at",
            "createdAt",
            "updatedAt",
            "status",
            "permissions",
            "stats",
            "epoch",
            "emailVerified",
            "email_verified",
            "sub",
            "Password",
            "pass word",
            "",
            "__proto__",
            "constructor",
            "$where",
            "a\u{202e}b",
        ] {
            for value in [json!("ADMIN"), json!(1), json!(true), json!(null), json!({ "x": 1 })] {
                let mut body: Value = serde_json::from_str(route.json).unwrap();
                body[field] = value;
                let answer = house.send_to(route, |request| request.json(&body.to_string()));
                let (status, code, fields) = problem(&answer);
                assert_eq!((status, code.as_str()), (422, "invalid_fields"), "{} {field}", route.path);
                assert!(fields.contains(&field.to_owned()), "{} {field:?} {fields:?}", route.path);
            }
        }
    }
    house.assert_nothing_changed();
}

/// Every field of every request, by the type it has.
const TEXTS: [(&str, &[&str]); 8] = [
    ("/auth/register", &["email", "username", "password", "deviceId", "deviceName", "tokens"]),
    (CONFIRM, &["token", "password", "deviceId", "deviceName", "tokens"]),
    (
        "/auth/login",
        &["identifier", "email", "username", "name", "password", "pin", "deviceId", "deviceName", "tokens"],
    ),
    ("/auth/refresh", &["refreshToken", "tokens"]),
    ("/auth/logout", &["refreshToken"]),
    ("/auth/logout-all", &["refreshToken"]),
    ("/auth/me", &[]),
    ("/auth/change-password", &["currentPassword", "newPassword", "tokens"]),
];
const PROFILE: [&str; 6] = ["name", "firstName", "lastName", "gender", "image", "phone"];

fn every_field_of_the_wrong_type_is_named(backend: Backend) {
    let house = house(backend);
    let (texts, switches) = ([json!(1), json!(1.5), json!(true), json!(["x"]), json!({ "x": "x" })], json!("true"));
    for (path, fields) in TEXTS {
        let route = routes_with_a_body().find(|route| route.path == path).unwrap();
        let profile: &[&str] = if ["/auth/register", "/auth/me"].contains(&path) { &PROFILE } else { &[] };
        for field in fields.iter().chain(profile) {
            for odd in &texts {
                assert_names(&house, route, field, odd);
            }
        }
        if !profile.is_empty() {
            for odd in [json!("x"), json!(1), json!(true), json!([{}])] {
                assert_names(&house, route, "profile", &odd);
            }
        }
        if ["/auth/register", CONFIRM, "/auth/login"].contains(&path) {
            for odd in [switches.clone(), json!(1), json!([true]), json!({})] {
                assert_names(&house, route, "remember", &odd);
            }
        }
    }
    house.assert_nothing_changed();
}

fn assert_names(house: &House, route: &Route, field: &str, odd: &Value) {
    let mut body: Value = serde_json::from_str(route.json).unwrap();
    body[field] = odd.clone();
    let answer = house.send_to(route, |request| request.json(&body.to_string()));
    let (status, code, fields) = problem(&answer);
    let what = format!("{} {field} {odd}: {}", route.path, answer.text());
    assert_eq!((status, code.as_str()), (422, "invalid_fields"), "{what}");
    assert!(fields.contains(&field.to_owned()), "{what}");
}

fn a_duplicate_json_member_is_refused(backend: Backend) {
    let house = house(backend);
    for route in routes_with_a_body() {
        let inner = route.json.trim_end_matches('}');
        let (name, _) = inner.trim_start_matches('{').split_once(':').unwrap();
        let spelt = name.replacen(name.chars().nth(1).unwrap(), &format!("\\u{:04x}", name.as_bytes()[1]), 1);
        for body in [
            format!("{inner},{name}:\"{CANARY}\"}}"),
            format!("{inner},{name}:null}}"),
            format!("{inner},{spelt}:\"{CANARY}\"}}"),
            format!("{inner},\"profile\":{{\"a\":1,\"a\":2}}}}"),
            format!("{inner},\"profile\":{{\"a\":[{{\"b\":1,\"b\":1}}]}}}}"),
            format!("{inner},\"x\":1,\"x\":1}}"),
        ] {
            let answer = house.send_to(route, |request| request.json(&body));
            assert_eq!(problem(&answer), (400, "malformed_body".to_owned(), vec![]), "{} {body}", route.path);
            assert!(!answer.text().contains(CANARY), "{}", answer.text());
        }
    }
    house.assert_nothing_changed();
}

fn deep_nesting_is_answered(backend: Backend) {
    let house = house(backend);
    for depth in [200, 2000, 2700] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let (opened, closed) = (open.repeat(depth), close.repeat(depth));
            for route in routes_with_a_body() {
                for body in [format!("{opened}1{closed}"), opened.clone(), format!("{{\"profile\":{opened}1{closed}}}")]
                {
                    let answer = house.send_to(route, |request| request.json(&body));
                    assert_refused(&answer, &format!("{} {depth} of {open}", route.path));
                }
            }
        }
    }
    house.assert_nothing_changed();
    // What is taken can be shown again.
    for depth in 100..130 {
        let nested = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let request = Request::new("PATCH", "/auth/me").bearer(&house.access);
        let answer = house.send(&request.json(&format!("{{\"profile\":{nested}}}")));
        assert!([200, 400, 422].contains(&answer.status), "{depth}: {}", answer.status);
        let shown = house.send(&Request::new("GET", "/auth/me").bearer(&house.access));
        assert_eq!(shown.status, 200, "{depth}");
        if answer.status == 200 {
            assert!(shown.text().contains(&nested), "{depth}: {}", shown.text());
        }
    }
}

/// JSON that a route takes, with white space up to so many octets.
fn padded(json: &str, length: usize) -> String {
    format!("{json}{}", " ".repeat(length - json.len()))
}

fn chunked(house: &House, route: &Route, body: &str) -> String {
    let bearer =
        if route.is_protected() { format!("Authorization: Bearer {}\r\n", house.access) } else { String::new() };
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{bearer}\
         Transfer-Encoding: chunked\r\n\r\n",
        route.method, route.path
    );
    for chunk in body.as_bytes().chunks(1000) {
        let _ = write!(bytes, "{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
    }
    let answer = exchange_raw(house.address_of(route), (bytes + "0\r\n\r\n").as_bytes());
    String::from_utf8_lossy(&answer).into_owned()
}

fn a_body_over_16_kib_is_refused(backend: Backend) {
    let house = house(backend);
    for route in routes_with_a_body() {
        for length in [16 * 1024 + 1, 100_000] {
            let body = padded(route.json, length);
            let answer = house.send_to(route, |request| request.json(&body));
            assert_eq!(problem(&answer), (413, "body_too_large".to_owned(), vec![]), "{} {length}", route.path);
            let answer = chunked(&house, route, &body);
            assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
        }
        for declared in ["16385", "1000000000", "18446744073709551615", "99999999999999999999999", "-1", "+1", "1 1"] {
            // Only declared: the answer must not wait for what never comes.
            let request = |request: Request| request.json(route.json).header("Content-Length", declared);
            let answer = house.send_to(route, request);
            let expected = if declared.parse::<u64>().is_ok() && declared != "+1" { 413 } else { 400 };
            assert_eq!(answer.status, expected, "{} {declared}", route.path);
        }
    }
    house.assert_nothing_changed();
}

fn a_body_of_16_kib_is_read(backend: Backend) {
    let house = house(backend);
    for route in routes_with_a_body().filter(|route| route.path != "/auth/me") {
        let body = padded(route.json, 16 * 1024);
        let whole: Response = house.send_to(route, |request| request.json(&body));
        assert_ne!(whole.status, 413, "{}: {}", route.path, whole.text());
        assert!(!chunked(&house, route, &body).starts_with("HTTP/1.1 413 "), "{}", route.path);
    }
    let fields = registration(&json!({ "profile": { "about": "x".repeat(16_000) } })).to_string();
    let registered = house.send(&Request::new("POST", "/auth/register").json(&padded(&fields, 16 * 1024)));
    assert_eq!(registered.status, 201, "{}", registered.text());
}

/// The client hangs up in the middle, or says nonsense about its chunks.
fn a_truncated_body_is_answered_or_dropped(backend: Backend) {
    let house = house(backend);
    let head = "POST /auth/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    for rest in [
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        "Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ] {
        let answer = exchange_raw(house.service.address(), format!("{head}{rest}").as_bytes());
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{rest:?}: {answer}");
        house.assert_nothing_changed();
    }
}
