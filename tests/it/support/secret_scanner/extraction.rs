//! Extraction of the secrets in requests and answers: members and fields named password, PIN or token in bodies, forms
//! and queries; cookie values; Authorization headers; every JWT.

use serde_json::Value;
use url::form_urlencoded;

use super::{Known, change};
use crate::support::http::Response;

/// Members and fields that contain names, in any contract.
const NAMES: [&str; 8] = ["username", "email", "name", "login", "identifier", "firstname", "lastname", "role"];

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let is_token = name.contains("token") && !["tokens", "tokentype", "token_type"].contains(&name.as_str());
    is_token || name == "rt" || name.ends_with("pin") || name.contains("password") || name.contains("secret")
}

/// Records the secrets of a request.
pub fn record_request(target: &str, headers: &[(Vec<u8>, Vec<u8>)], body: Option<&[u8]>) {
    change(|known| {
        fields(known, "a query", target.split_once('?').map_or("", |(_, query)| query).as_bytes());
        for (name, value) in headers {
            header(known, &String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
        }
        if let Some(body) = body {
            in_body(known, body);
        }
    });
}

/// Records the secrets of a raw request, as far as it can be parsed.
pub fn record_raw_request(bytes: &[u8]) {
    let (head, body) = halves(bytes);
    let target = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    record_request(target, &headers_of(&head), Some(body));
}

/// Records the secrets of an answer.
pub fn record_answer(answer: &Response) {
    change(|known| {
        for (name, value) in &answer.headers {
            header(known, name, value);
        }
        if answer.header("Content-Type").is_some_and(|kind| kind.contains("json")) {
            in_body(known, &answer.body);
        }
    });
}

/// Records the secrets of a raw answer.
pub fn record_raw_answer(bytes: &[u8]) {
    let (head, _) = halves(bytes);
    record_request("", &headers_of(&head), None);
}

fn halves(bytes: &[u8]) -> (Vec<String>, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]);
    (head.split("\r\n").map(ToOwned::to_owned).collect(), bytes.get(end + 4..).unwrap_or_default())
}

fn headers_of(head: &[String]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lines = head.iter().skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.into(), value.trim().into())).collect()
}

fn header(known: &mut Known, name: &str, value: &str) {
    match name.to_lowercase().as_str() {
        "authorization" => {
            let credential = value.split_once(' ').map_or(value, |(_, credential)| credential);
            known.add("an Authorization header", credential);
        }
        "cookie" => value.split(';').for_each(|pair| cookie(known, pair)),
        "set-cookie" => cookie(known, value.split(';').next().unwrap_or_default()),
        _ => jwt(known, value),
    }
}

/// Records a session cookie under any name, but not the redirect-loop guard's.
fn cookie(known: &mut Known, pair: &str) {
    if let Some((name, value)) = pair.split_once('=')
        && !name.ends_with("redirectCount")
    {
        known.add(format_args!("the cookie {}", name.trim()), value.trim());
    }
}

fn jwt(known: &mut Known, text: &str) {
    if text.starts_with("eyJ") && text.split('.').count() == 3 {
        known.add("a JWT", text);
    }
}

fn in_body(known: &mut Known, body: &[u8]) {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => member(known, "", &value),
        Err(_form_or_page) => fields(known, "a form", body),
    }
}

fn member(known: &mut Known, name: &str, value: &Value) {
    match value {
        Value::String(text) if is_secret(name) => known.add(format_args!("the member {name}"), text),
        Value::String(text) if NAMES.contains(&name.to_lowercase().as_str()) => known.add_name(text),
        Value::String(text) => jwt(known, text),
        Value::Array(items) => items.iter().for_each(|item| member(known, name, item)),
        Value::Object(members) => members.iter().for_each(|(name, value)| member(known, name, value)),
        _ => {}
    }
}

fn fields(known: &mut Known, place: &str, pairs: &[u8]) {
    for (name, value) in form_urlencoded::parse(pairs) {
        if is_secret(&name) {
            known.add(format_args!("{name} of {place}"), &value);
        } else if NAMES.contains(&name.to_lowercase().as_str()) {
            known.add_name(&value);
        }
    }
}
