//! The samples and what their sources show as the answer. An answer is like the one shown if it has the same keys and the
//! same constants, and something of its kind wherever an example is shown.

use std::path::Path;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::client::parsed;

/// Where each sample stands in its source.
pub const ORIGINS: [(&str, &str); 22] = [
    ("000-1-login.js", "source 000, line 9"),
    ("000-2-me.js", "source 000, line 12"),
    ("000-3-refresh.js", "source 000, line 18"),
    ("001-1-signup.js", "source 001, lines 24 to 45"),
    ("001-2-signin.js", "source 001, lines 98 to 116"),
    ("001-3-refresh.js", "source 001, lines 166 to 180"),
    ("002-1-sign-in.sh", "source 002, lines 1 to 10"),
    ("002-2-sign-in.sh", "source 002, lines 33 to 42"),
    ("002-3-login.ts", "source 002, lines 65 to 105"),
    ("002-4-with-email.ts", "source 002, lines 106 to 110"),
    ("002-5-with-username.ts", "source 002, lines 111 to 115"),
    ("002-6-bearer.txt", "source 002, line 132"),
    ("003-1-login.sh", "source 003, lines 17 to 28"),
    ("003-2-refresh.sh", "source 003, lines 44 to 46"),
    ("003-3-logout.sh", "source 003, lines 57 to 59"),
    ("004-1-register.sh", "source 004, lines 2 to 7"),
    ("004-2-login.sh", "source 004, lines 37 to 43"),
    ("004-3-refresh-token.sh", "source 004, lines 73 to 77"),
    ("004-4-logout.sh", "source 004, lines 105 to 109"),
    ("004-5-logout-all.sh", "source 004, lines 128 to 129"),
    ("004-6-me.sh", "source 004, lines 144 to 145"),
    ("004-7-change-password.sh", "source 004, lines 173 to 179"),
];

/// What stands in a sample, and what is put in its place.
pub type Placeholders<'a> = &'a [(&'a str, &'a str)];

/// The folder of samples and answers.
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/client_samples"))
}

/// A sample, with its placeholders filled; each of them must stand there.
pub fn sample(name: &str, placeholders: Placeholders) -> String {
    let (_, origin) = ORIGINS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("whence is {name}?"));
    filled(name, placeholders, origin)
}

/// The answer that a source shows.
pub fn shown(name: &str, placeholders: Placeholders) -> Value {
    parsed(&filled(name, placeholders, "an answer"))
}

fn filled(name: &str, placeholders: Placeholders, origin: &str) -> String {
    let text = std::fs::read_to_string(folder().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    placeholders.iter().fold(text, |text, (example, value)| {
        assert!(text.contains(example), "{name} ({origin}) has no {example:?}");
        text.replace(example, value)
    })
}

/// Fails unless an answer is like the one shown.
pub fn assert_like(shown: &Value, got: &Value) {
    let mut faults = vec![];
    compare(shown, got, "", &mut faults);
    assert!(faults.is_empty(), "{}\nshown: {shown}\ngot:   {got}", faults.join("\n"));
}

fn compare(shown: &Value, got: &Value, at: &str, faults: &mut Vec<String>) {
    let alike = match (shown, got) {
        (Value::Object(shown), Value::Object(fields)) if !shown.is_empty() => {
            let more = shown.contains_key("...");
            for (name, shown) in shown.iter().filter(|(name, _)| *name != "...") {
                match fields.get(name) {
                    Some(got) => compare(shown, got, &format!("{at}/{name}"), faults),
                    None => faults.push(format!("{at}/{name} is shown and not there")),
                }
            }
            let unknown = fields.keys().filter(|name| !more && !shown.contains_key(*name));
            faults.extend(unknown.map(|name| format!("{at}/{name} is not shown")));
            return;
        }
        // `{}` and `[{}]` stand for what the page does not spell out.
        (Value::Object(_), Value::Object(_)) => true,
        (Value::Array(shown), Value::Array(items)) if *shown == [serde_json::json!({})] => !items.is_empty(),
        (Value::String(example), Value::Number(_)) => example == "<number>",
        (Value::String(example), Value::String(text)) => is_like(example, text),
        _ => shown == got,
    };
    if !alike {
        faults.push(format!("{at}: {shown} is shown, {got} came"));
    }
}

fn is_like(example: &str, text: &str) -> bool {
    match example {
        "string" | "<string>" => true,
        "..." => is_jwt(text),
        _ if example.starts_with("eyJ") => is_jwt(text),
        _ if is_uuid(example) => is_uuid(text),
        _ if is_time(example) => is_time(text),
        _ => example == text,
    }
}

fn is_jwt(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    parts.len() == 3 && text.starts_with("eyJ") && parts.iter().all(|part| !part.is_empty() && part.chars().all(plain))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

fn is_time(text: &str) -> bool {
    text.ends_with('Z') && OffsetDateTime::parse(text, &Rfc3339).is_ok()
}
