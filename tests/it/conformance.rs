//! The contracts of the dialects, as tables of what is sent and what must come back: conformance/<dialect>.json. This
//! file reads, sends and compares; what is right stands in the tables alone.
//!
//! A table is `{settings, shapes, cookies, scenarios: [{name, settings, rows}]}`; `<shape NAME>` stands for one of its
//! `shapes`, and its `cookies` hold for every row to this dialect that says nothing of its own. A scenario starts a
//! fresh service with the sample accounts. A row is `{note, advance, operator, send, expect, keep}`: `advance` ("61s")
//! moves the clock first, `operator` (`{account, status}`) gives an account another status first.
//!
//! In every string of a row `{{name}}` is what an earlier row kept under that name, `{{name|tampered}}` the same with
//! a changed signature, `{{x*20000}}` so many x. In the body expected, `<number>`, `<string>`, `<jwt>`, `<uuid>`,
//! `<timestamp>`, `<timestamp-s>`, `<any>`, `<differs from T>`, `<contains T>` and `<without T>` match by kind, all
//! else exactly; a body that is JSON must be called so.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use doorward::core::AccountStatus;
use doorward::testing::TestService;
use pattern::{compare, fits, shortened};
use serde::Deserialize;
use serde_json::Value;

use crate::support::http::{Request, Response, SetCookie};
use crate::support::{Backend, on_both_backends};

/// How many scenarios run at once.
const ABREAST: usize = 4;

on_both_backends!(
    the_flat_contract_holds,
    the_store_contract_holds,
    the_signin_contract_holds,
    the_pin_contract_holds,
    the_envelope_contract_holds,
);

fn the_flat_contract_holds(backend: Backend) {
    hold("flat", 45, backend);
}

fn the_store_contract_holds(backend: Backend) {
    hold("store", 30, backend);
}

fn the_signin_contract_holds(backend: Backend) {
    hold("signin", 25, backend);
}

fn the_pin_contract_holds(backend: Backend) {
    hold("pin", 25, backend);
}

fn the_envelope_contract_holds(backend: Backend) {
    hold("envelope", 40, backend);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default)]
    shapes: BTreeMap<String, Value>,
    cookies: Option<Vec<String>>,
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    rows: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "note")]
    _note: Option<String>,
    advance: Option<String>,
    operator: Option<Operator>,
    send: Sent,
    #[serde(default)]
    expect: Expected,
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operator {
    account: String,
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    method: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    json: Option<Value>,
    form: Option<String>,
    body: Option<String>,
    #[serde(rename = "type")]
    content_type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: Option<u16>,
    body: Option<Value>,
    cookies: Option<Vec<String>>,
    /// `null`: the header must not be there.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

/// Runs a dialect's table, and fails with every row that does not hold.
#[expect(clippy::print_stdout, reason = "how much was compared")]
fn hold(dialect: &str, least: usize, backend: Backend) {
    let started = Instant::now();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance").join(format!("{dialect}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{dialect}.json: {why}"));
    let table: Table = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{dialect}.json: {why}"));
    let rows = table.scenarios.iter().flat_map(|scenario| &scenario.rows);
    let count = rows.filter(|row| row["expect"]["status"].is_u64() && row["expect"].get("body").is_some()).count();
    let run = |scenario| Run::start(dialect, &table, scenario, backend).all();
    let faults: Vec<String> = table.scenarios.chunks(ABREAST).flat_map(|chunk| abreast(chunk, run)).collect();
    println!("{dialect} on {backend:?}: {count} answers compared in {:?}", started.elapsed());
    assert!(faults.is_empty(), "{} of {count} rows of {dialect} fail:\n\n{}", faults.len(), faults.join("\n"));
    assert!(count >= least, "{dialect}.json compares {count} answers, fewer than {least}");
}

/// What each scenario of a few says, all run at once: on PostgreSQL most of the time goes into new databases.
fn abreast<'a>(scenarios: &'a [Scenario], run: impl Fn(&'a Scenario) -> Vec<String> + Sync) -> Vec<String> {
    std::thread::scope(|scope| {
        let running: Vec<_> = scenarios.iter().map(|scenario| scope.spawn(|| run(scenario))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// A scenario under way.
struct Run<'a> {
    dialect: &'a str,
    table: &'a Table,
    scenario: &'a Scenario,
    service: TestService,
    kept: BTreeMap<String, String>,
}

impl<'a> Run<'a> {
    fn start(dialect: &'a str, table: &'a Table, scenario: &'a Scenario, backend: Backend) -> Self {
        let settings = table.settings.iter().chain(&scenario.settings);
        let builder = settings.fold(backend.service().demo(), |builder, (name, value)| builder.set(name, value));
        Self { dialect, table, scenario, service: builder.start(), kept: BTreeMap::new() }
    }

    /// Every row in order; what is wrong with each.
    fn all(mut self) -> Vec<String> {
        let mut faults = vec![];
        for (index, row) in self.scenario.rows.iter().enumerate() {
            let place = format!("{} / {:?} / row {index}", self.dialect, self.scenario.name);
            if let Err(fault) = self.one(row, &place) {
                let sent = format!("{} {}", row["send"]["method"], row["send"]["path"]).replace('"', "");
                faults.push(format!("{place} ({sent}):\n{fault}\n"));
            }
        }
        faults
    }

    fn one(&mut self, row: &Value, place: &str) -> Result<(), String> {
        let row = self.filled(row)?;
        let mut row: Row = serde_json::from_value(row).unwrap_or_else(|why| panic!("{place}: {why}"));
        if let Some(by) = &row.advance {
            self.service.advance(duration(by));
        }
        if let Some(operator) = &row.operator {
            self.set_status(operator);
        }
        let answer = row.send.request().send(self.service.address());
        if row.send.path.starts_with(&format!("/{}", self.dialect)) {
            row.expect.cookies = row.expect.cookies.or_else(|| self.table.cookies.clone());
        }
        let mut faults = row.expect.faults(&answer);
        for (name, from) in &row.keep {
            match found_in(&answer, from) {
                Some(value) => drop(self.kept.insert(name.clone(), value)),
                None => faults.push(format!("nothing to keep at {from}")),
            }
        }
        let got = || format!("got {} {}", answer.status, shortened(&answer.text()));
        if faults.is_empty() { Ok(()) } else { Err(format!("  {}\n  {}", faults.join("\n  "), got())) }
    }

    fn set_status(&self, operator: &Operator) {
        let status: AccountStatus = operator.status.parse().unwrap();
        let account = self.service.core().find_account_by(&operator.account).unwrap();
        self.service.core().set_status(account.id, status).unwrap();
    }

    /// The row with what earlier rows kept in its place.
    fn filled(&self, value: &Value) -> Result<Value, String> {
        let shape = |text: &str| self.table.shapes.get(text.strip_prefix("<shape ")?.strip_suffix('>')?);
        if let Some(shape) = value.as_str().and_then(shape) {
            return self.filled(shape);
        }
        Ok(match value {
            Value::String(text) => Value::String(self.filled_text(text)?),
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect::<Result<_, _>>()?,
            Value::Object(fields) => {
                let fill = |(name, value): (&String, &Value)| Ok((name.clone(), self.filled(value)?));
                fields.iter().map(fill).collect::<Result<_, String>>()?
            }
            other => other.clone(),
        })
    }

    fn filled_text(&self, text: &str) -> Result<String, String> {
        let Some((before, rest)) = text.split_once("{{") else { return Ok(text.to_owned()) };
        let (name, after) = rest.split_once("}}").unwrap_or_else(|| panic!("{text:?}: {{{{ without }}}}"));
        let kept = |name: &str| self.kept.get(name).ok_or_else(|| format!("  no row kept {name:?}"));
        let value = if let Some((unit, times)) = name.split_once('*') {
            unit.repeat(times.parse().unwrap_or_else(|why| panic!("{text:?}: {why}")))
        } else if let Some(name) = name.strip_suffix("|tampered") {
            tampered(kept(name)?)
        } else {
            kept(name)?.clone()
        };
        Ok(format!("{before}{value}{}", self.filled_text(after)?))
    }
}

impl Sent {
    fn request(&self) -> Request {
        let request = Request::new(&self.method, &self.path);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        match (&self.json, &self.form, &self.body) {
            (Some(json), None, None) => request.json(&json.to_string()),
            (None, Some(form), None) => request.body(Some("application/x-www-form-urlencoded"), form.as_bytes()),
            (None, None, Some(body)) => request.body(self.content_type.as_deref(), body.as_bytes()),
            (None, None, None) => request,
            _ => panic!("{} {} has two bodies", self.method, self.path),
        }
    }
}

impl Expected {
    fn faults(&self, answer: &Response) -> Vec<String> {
        let mut faults = vec![];
        if let Some(status) = self.status.filter(|status| *status != answer.status) {
            faults.push(format!("status: expected {status}, got {}", answer.status));
        }
        if let Some(body) = &self.body {
            self.compare_body(body, answer, &mut faults);
        }
        for (name, pattern) in &self.headers {
            let got = answer.headers_named(name).join(", ");
            match pattern {
                Some(pattern) if answer.header(name).is_none() || !fits(pattern, &got) => {
                    faults.push(format!("header {name}: expected {pattern:?}, got {got:?}"));
                }
                None if answer.header(name).is_some() => {
                    faults.push(format!("header {name}: expected none, got {got:?}"));
                }
                _ => {}
            }
        }
        let cookies = answer.set_cookies();
        if let Some(expected) = &self.cookies {
            compare_cookies(expected, &cookies, &mut faults);
        }
        // Common to all contracts: one line a name, values that every client can cut out.
        let names: BTreeSet<&str> = cookies.iter().map(|cookie| cookie.name.as_str()).collect();
        if names.len() != cookies.len() || cookies.iter().any(|cookie| cookie.value.contains('=')) {
            faults.push("cookies: a name twice, or = in a value".to_owned());
        }
        faults
    }

    fn compare_body(&self, pattern: &Value, answer: &Response, faults: &mut Vec<String>) {
        if pattern == "" {
            if !answer.body.is_empty() {
                faults.push("body: expected none".to_owned());
            }
            return;
        }
        match serde_json::from_slice(&answer.body) {
            Ok(body) => compare(pattern, &body, "", faults),
            Err(why) => faults.push(format!("body: expected {pattern}, got no JSON: {why}")),
        }
        if !self.headers.contains_key("content-type") && answer.header("content-type") != Some("application/json") {
            faults.push(format!("content-type: expected application/json, got {:?}", answer.header("content-type")));
        }
    }
}

/// The lines as a set, and each line's attributes as a set: browsers heed no order.
fn compare_cookies(expected: &[String], got: &[SetCookie], faults: &mut Vec<String>) {
    let mut left: Vec<&SetCookie> = got.iter().collect();
    for line in expected {
        match left.iter().position(|cookie| is_cookie(line, cookie)) {
            Some(place) => drop(left.remove(place)),
            None => faults.push(format!("cookies: expected {line:?}, not set")),
        }
    }
    faults.extend(left.iter().map(|cookie| format!("cookies: not expected, got {:?}", cookie.line)));
}

fn is_cookie(line: &str, cookie: &SetCookie) -> bool {
    let mut parts = line.split("; ");
    let pair = fits(parts.next().unwrap_or_default(), &format!("{}={}", cookie.name, cookie.value));
    let (mut expected, mut got): (Vec<&str>, Vec<&String>) = (parts.collect(), cookie.attributes.iter().collect());
    expected.sort_unstable();
    got.sort_unstable();
    pair && expected.len() == got.len() && expected.iter().zip(got).all(|(pattern, got)| fits(pattern, got))
}

/// What `body:/pointer`, `cookie:name` or `header:name` names in an answer.
fn found_in(answer: &Response, from: &str) -> Option<String> {
    let (kind, name) = from.split_once(':').unwrap_or_else(|| panic!("{from:?} names nothing to keep"));
    match kind {
        "body" => {
            let body: Value = serde_json::from_slice(&answer.body).ok()?;
            let value = body.pointer(name)?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        }
        "cookie" => answer.set_cookies().into_iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value),
        "header" => answer.header(name).map(str::to_owned),
        other => panic!("{other:?} is neither body, cookie nor header"),
    }
}

/// The token with another character in the middle of its last part: the signature of a JWT.
fn tampered(token: &str) -> String {
    let start = token.rfind('.').map_or(0, |dot| dot + 1);
    let middle = start + (token.len() - start) / 2 + 2;
    let other = if token[middle..].starts_with('a') { "b" } else { "a" };
    format!("{}{other}{}", &token[..middle], &token[middle + 1..])
}

fn duration(text: &str) -> Duration {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let read = |(unit, length): &(&str, u64)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()? * length);
    Duration::from_millis(units.iter().find_map(read).unwrap_or_else(|| panic!("{text:?} is no duration")))
}
