//! What a table expects of a body: values, and words in angle brackets that stand for a kind of value.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Compares a body with what is expected of it, keys exactly, and says every difference.
pub fn compare(pattern: &Value, got: &Value, at: &str, faults: &mut Vec<String>) {
    let same = match (pattern, got) {
        (Value::Object(pattern), Value::Object(fields)) => {
            let names: BTreeSet<&String> = pattern.keys().chain(fields.keys()).collect();
            for name in names {
                let at = format!("{at}/{name}");
                match (pattern.get(name), fields.get(name)) {
                    (Some(pattern), Some(got)) => compare(pattern, got, &at, faults),
                    (Some(pattern), None) => faults.push(format!("body {at}: expected {pattern}, not there")),
                    (None, got) => faults.push(format!("body {at}: not expected, got {}", got.unwrap_or(&Value::Null))),
                }
            }
            return;
        }
        (Value::Array(pattern), Value::Array(items)) if pattern.len() == items.len() => {
            let pairs = pattern.iter().zip(items).enumerate();
            pairs.for_each(|(index, (pattern, got))| compare(pattern, got, &format!("{at}/{index}"), faults));
            return;
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::String(pattern), got) => is_such(pattern, got),
        (pattern, got) => pattern == got,
    };
    if !same {
        let [pattern, got] = [pattern, got].map(|value| shortened(&value.to_string()));
        faults.push(format!("body {at}: expected {pattern}, got {got}"));
    }
}

/// Whether a value is of the kind that `<…>` names; a pattern without brackets stands for itself.
fn is_such(pattern: &str, got: &Value) -> bool {
    let Some(kind) = pattern.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) else { return got == pattern };
    let text = got.as_str();
    if let Some(other) = kind.strip_prefix("differs from ") {
        return text.is_some_and(|text| text != other);
    }
    if let Some(part) = kind.strip_prefix("contains ") {
        return text.is_some_and(|text| text.contains(part));
    }
    if let Some(part) = kind.strip_prefix("without ") {
        return text.is_some_and(|text| !text.contains(part));
    }
    match kind {
        "any" => true,
        "number" => got.is_number(),
        "string" => text.is_some(),
        "jwt" => text.is_some_and(is_jwt),
        "uuid" => text.is_some_and(|text| has_shape(text, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh")),
        "timestamp" => text.is_some_and(|text| has_shape(text, "dddd-dd-ddTdd:dd:dd.dddZ")),
        "timestamp-s" => {
            let shapes = ["dddd-dd-ddTdd:dd:ddZ", "dddd-dd-ddTdd:dd:dd.dddZ"];
            text.is_some_and(|text| shapes.iter().any(|shape| has_shape(text, shape)))
        }
        other => panic!("there is no pattern <{other}>"),
    }
}

fn is_jwt(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_base64 = |part: &&str| !part.is_empty() && part.chars().all(is_base64url);
    parts.len() == 3 && parts.iter().all(is_base64) && parts.iter().take(2).all(|part| part.starts_with("eyJ"))
}

/// `h`: a hexadecimal digit, `d`: a decimal digit, anything else: itself.
fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(c, shape): (char, char)| match shape {
        'h' => c.is_ascii_hexdigit(),
        'd' => c.is_ascii_digit(),
        other => c == other,
    };
    text.chars().count() == shape.len() && text.chars().zip(shape.chars()).all(fits)
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).filter_map(|from| text.get(from..)).any(|text| fits(rest, text))
}

/// So much of a text as a person reads.
pub fn shortened(text: &str) -> String {
    if text.len() > 800 { format!("{}…", text.chars().take(800).collect::<String>()) } else { text.to_owned() }
}

#[test]
fn a_pattern_matches_its_kind_and_nothing_else() {
    let cases: [(&str, Value, Value); 9] = [
        ("<number>", json!(1.5), json!("1")),
        ("<string>", json!(""), json!(1)),
        ("<jwt>", json!("eyJ0.eyJz.a-_9"), json!("eyJ0.eyJz.")),
        ("<uuid>", json!("01a1fdfa-4600-7fb8-bb26-f57905e72581"), json!("01a1fdfa46007fb8bb26f57905e72581")),
        ("<timestamp>", json!("2026-11-21T12:00:00.000Z"), json!("2026-11-21T12:00:00Z")),
        ("<timestamp-s>", json!("2026-11-21T12:00:00Z"), json!("2026-11-21T12:00:00+00:00")),
        ("<differs from x>", json!("y"), json!("x")),
        ("<contains x>", json!("axb"), json!("ab")),
        ("<without x>", json!("ab"), json!("axb")),
    ];
    for (pattern, such, other) in cases {
        assert!(is_such(pattern, &such), "{pattern} {such}");
        assert!(!is_such(pattern, &other), "{pattern} {other}");
    }
    let mut faults = vec![];
    compare(&json!({"a": [1, "x"], "b": null}), &json!({"a": [1.0, "x"], "b": null}), "", &mut faults);
    assert!(faults.is_empty(), "{faults:?}");
    compare(&json!({"a": [1, "x"], "b": null}), &json!({"a": [1], "c": null}), "", &mut faults);
    assert_eq!(faults.len(), 3, "the shorter array, the missing key and the extra one: {faults:?}");
}

#[test]
fn a_star_matches_any_text() {
    assert!(fits("a=*; b", "a=; b") && fits("*no-store*", "no-store, private") && fits("*", ""));
    assert!(!fits("a=*; b", "a=1; c") && !fits("no-store", "no-store, private"));
}
