//! Runs a sample as its reader would: bash what is for the shell, Node what is for a browser. What was answered is noted
//! beside the sample, by curl's own .curlrc and by browser.mjs, so that no line of it has to change.

use std::io::ErrorKind;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::search_path;

const BROWSER: &str = include_str!("browser.mjs");

/// What came of a sample.
#[derive(Debug)]
pub struct Seen {
    /// Of the last answer.
    pub status: u16,
    /// The `Set-Cookie` values of the last answer.
    pub cookies: Vec<String>,
    /// The body of the last answer; of a shell sample, what it printed.
    pub body: String,
    /// What the sample itself printed.
    pub printed: String,
    /// What it complained of; empty unless it failed.
    pub complaint: String,
    folder: TempDir,
}

impl Seen {
    /// The body, which is JSON.
    pub fn json(&self) -> Value {
        parsed(&self.body)
    }

    /// The text at a pointer of the body.
    pub fn text_at(&self, pointer: &str) -> String {
        let found = self.json().pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        found.unwrap_or_else(|| panic!("no text at {pointer}: {}", self.body))
    }

    /// The value that the answer gives a cookie, and its attributes.
    pub fn cookie(&self, name: &str) -> (String, Vec<String>) {
        let line = self.cookies.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let mut parts = line.unwrap_or_else(|| panic!("no cookie {name}: {self:?}")).split("; ").map(str::to_owned);
        (parts.next().unwrap_or_default(), parts.collect())
    }

    /// The names of the cookies that are set, in order.
    pub fn cookie_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.cookies.iter().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        names
    }

    /// The lines of a file that the sample left.
    pub fn lines_of(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// What the text says, which is JSON.
pub fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{text:?} is no JSON: {why}"))
}

/// Runs a shell sample with these variables exported.
pub fn bash(script: &str, vars: &[(&str, &str)]) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".curlrc"), "dump-header = \"head\"\n").unwrap();
    let ran = run("bash", &["-c", script], vars, &folder, "Get it with `apt-get install bash` or `brew install bash`.");
    let complaint = String::from_utf8_lossy(&ran.stderr).into_owned();
    let curl = "curl is needed: get it with `apt-get install curl` or `brew install curl`";
    assert!(ran.status.success(), "{curl}; or else: {complaint}\n{script}");
    let head = std::fs::read_to_string(folder.path().join("head")).unwrap_or_else(|why| panic!("{why}: {complaint}"));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let cookie = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("set-cookie").then(|| value.to_owned())
    };
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    Seen {
        status: status.unwrap_or_else(|| panic!("no status: {head:?}")),
        cookies: head.lines().filter_map(cookie).collect(),
        body: printed.clone(),
        printed,
        complaint: String::new(),
        folder,
    }
}

/// Runs a browser's sample in Node.
pub fn node(script: &str) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("browser.mjs"), BROWSER).unwrap();
    std::fs::write(folder.path().join("sample.mjs"), format!("import './browser.mjs';\n{script}")).unwrap();
    let how =
        "Get it with `apt-get install nodejs`, `brew install node` or from https://nodejs.org; version 20 or newer.";
    let ran = run("node", &["sample.mjs"], &[], &folder, how);
    let complaint = String::from_utf8_lossy(&ran.stderr).into_owned();
    let answers = std::fs::read_to_string(folder.path().join("answers")).unwrap_or_default();
    let last = answers.lines().last().unwrap_or_else(|| panic!("no answer: {complaint}\n{script}"));
    let last = parsed(last);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Seen {
        status: u16::try_from(last["status"].as_u64().unwrap()).unwrap(),
        cookies: last["cookies"].as_array().unwrap().iter().map(text).collect(),
        body: text(&last["body"]),
        printed: String::from_utf8_lossy(&ran.stdout).into_owned(),
        complaint: if ran.status.success() { String::new() } else { complaint },
        folder,
    }
}

fn run(program: &str, arguments: &[&str], vars: &[(&str, &str)], folder: &TempDir, how: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path()).env_clear().env("PATH", search_path());
    command.env("HOME", folder.path()).env("NO_PROXY", "*").envs(vars.iter().copied());
    command.output().unwrap_or_else(|why| match why.kind() {
        ErrorKind::NotFound => panic!("The samples of the sources run in {program}, which is not installed. {how}"),
        _ => panic!("{program} does not start: {why}"),
    })
}
