//! The real binary as a child process: a working folder of its own, a clean environment, output line by line, and a
//! limit for every wait.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Request, Response};
use crate::support::{Backend, is_soak, postgres, secret_scanner};

/// How long a start, a command or an exit may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Services under test log everything, so that a leaked secret is found.
const LOGS_ALL: [(&str, &str); 1] = [("RUST_LOG", "trace")];

/// A working folder, and the environment variables.
pub struct WorkDir {
    folder: Arc<tempfile::TempDir>,
    vars: Vec<(String, String)>,
    /// Shell commands to run before the child replaces the shell.
    before: &'static str,
    /// Whether a command that needs a database and keys finds them.
    prepares: bool,
    is_prepared: AtomicBool,
}

/// The outcome of a command.
#[derive(Debug)]
pub struct CommandOutput {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl WorkDir {
    /// A fresh folder like an operator's, but with a free port.
    pub fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self { folder, vars: vec![], before: "", prepares: true, is_prepared: AtomicBool::new(false) }
            .set("BIND", "127.0.0.1:0")
    }

    /// On this backend, with cheap hashes and a short shutdown.
    pub fn on(backend: Backend) -> Self {
        let quick = Self::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4").set("WORKERS", "2");
        // Behind a proxy it has no default.
        let quick = quick.set("SIGNUP", "true");
        // A stalled machine must not look like a database outage; tests of outages set the timeout themselves.
        let quick = quick.set("DATABASE_TIMEOUT", "20s");
        let quick = quick.set("DRAIN_DELAY", "0");
        match backend {
            Backend::Sqlite => quick,
            Backend::Postgres => quick.set("DATABASE_URL", postgres::new_database()),
        }
    }

    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if ["JWT_SECRET", "PEPPER", "METRICS_TOKEN"].contains(&name) {
            secret_scanner::used(name, &value);
        }
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.to_owned(), value));
        self
    }

    /// Shell commands to run before the child, which inherits their effects: limits, ignored signals.
    pub fn after(mut self, shell: &'static str) -> Self {
        self.before = shell;
        self
    }

    /// Commands find the folder as it is: without this, database and keys are created first, as by a service that ran before.
    pub fn unprepared(mut self) -> Self {
        self.prepares = false;
        self
    }

    /// Creates what a command needs and does not create.
    fn prepare_for(&self, arguments: &[&str]) {
        let needs = ["account", "audit", "import", "keys", "session"];
        let keys = self.get("KEYS_FILE").map_or_else(|| self.file("doorward.keys"), |path| self.file(path));
        let has_keys = keys.exists() || (self.get("JWT_SECRET").is_some() && self.get("PEPPER").is_some());
        let has_database = self
            .database_file()
            .map_or(self.is_prepared.load(Ordering::Relaxed) || keys.exists(), |file| file.exists());
        let is_needed = arguments.first().is_some_and(|command| needs.contains(command)) && !(has_keys && has_database);
        if self.prepares && is_needed && self.get("AUTO_MIGRATE") != Some("false") {
            self.spawn(&["migrate"], Stdio::null(), &[]).wait();
            self.is_prepared.store(true, Ordering::Relaxed);
        }
    }

    /// The value of a variable, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a variable that must be set.
    pub fn value(&self, name: &str) -> String {
        let found = self.vars.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("{name} is not set"), |(_, value)| value.clone())
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.run_with(arguments, "")
    }

    /// Runs a command to its end, with this on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> CommandOutput {
        let typed = arguments.iter().find(|argument| ["--password-stdin", "--pin-stdin"].contains(argument));
        if let Some(how) = typed {
            secret_scanner::used(how, input.trim_end());
        }
        self.prepare_for(arguments);
        let mut node = self.spawn(arguments, Stdio::piped(), &[]);
        // A command that reads nothing may have ended before it is written to.
        let _ = node.child.stdin.take().unwrap().write_all(input.as_bytes());
        let status = node.wait();
        CommandOutput { status, stdout: node.stdout(), stderr: node.stderr() }
    }

    /// Runs a command that must succeed; its output.
    pub fn succeed(&self, arguments: &[&str], input: &str) -> String {
        let ran = self.run_with(arguments, input);
        assert!(ran.status.success(), "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Starts a service and waits until it listens.
    pub fn serve(&self, arguments: &[&str]) -> Node {
        let mut node = self.spawn(arguments, Stdio::null(), &LOGS_ALL);
        node.wait_until_it_listens();
        node
    }

    /// Starts a service without waiting.
    pub fn begin(&self, arguments: &[&str]) -> Node {
        self.prepare_for(arguments);
        self.spawn(arguments, Stdio::null(), &[])
    }

    /// The SQLite file, if there is one.
    fn database_file(&self) -> Option<PathBuf> {
        match self.get("DATABASE_URL") {
            None => Some(self.file("doorward.db")),
            Some(url) => url.strip_prefix("sqlite://").map(|path| self.file(path)),
        }
    }

    fn spawn(&self, arguments: &[&str], stdin: Stdio, unless_set: &[(&str, &str)]) -> Node {
        let binary = env!("CARGO_BIN_EXE_doorward");
        let mut command = Command::new(if self.before.is_empty() { binary } else { "sh" });
        if !self.before.is_empty() {
            command.args(["-c", &format!("{} exec \"$0\" \"$@\"", self.before), binary]);
        }
        command.args(arguments).current_dir(self.path()).env_clear().env("PATH", search_path());
        command.envs(unless_set.iter().copied());
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        Node { child, stdout, stderr, address: None, rows: self.database_file(), _folder: Arc::clone(&self.folder) }
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell finds its tools there")]
pub fn search_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_unset| "/usr/local/bin:/usr/bin:/bin".to_owned())
}

/// The output of a child so far.
struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let theirs = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = vec![];
            while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                theirs.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}

/// A running child; killed when dropped.
pub struct Node {
    child: Child,
    stdout: Output,
    stderr: Output,
    address: Option<SocketAddr>,
    rows: Option<PathBuf>,
    /// The folder lives as long as the process: a service refuses to write to a file that is gone.
    _folder: Arc<tempfile::TempDir>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_to_the_end();
        // A second panic in a failing test would abort the whole suite.
        if !std::thread::panicking() && !is_soak() {
            self.search();
        }
    }
}

impl Node {
    /// Waits until it has printed its address, tables, keys and mounts.
    pub fn wait_until_it_listens(&mut self) {
        let outcome = until(PATIENCE, "listening on", || {
            let stdout = self.stdout();
            let announced = stdout.contains("\n  mounts ").then_some(&stdout);
            let line = announced
                .and_then(|reported| reported.lines().find_map(|line| line.strip_prefix("listening on http://")));
            let address = line.and_then(|line| line.trim().parse::<SocketAddr>().ok());
            (address.is_some() || !self.is_running()).then_some(address)
        });
        let address = outcome.unwrap_or_else(|| {
            let status = self.wait();
            panic!("it ended with {status}: {}{}", self.stdout(), self.stderr())
        });
        self.address = Some(address);
    }

    pub fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until its output contains this text; the output.
    pub fn stdout_with(&self, part: &str) -> String {
        until(PATIENCE, part, || Some(self.stdout()).filter(|reported| reported.contains(part)))
    }

    /// Waits until its log contains this text, which a thread of its own reads; the log.
    pub fn stderr_with(&self, part: &str) -> String {
        until(PATIENCE, part, || Some(self.stderr()).filter(|log| log.contains(part)))
    }

    pub fn send(&self, request: &Request) -> Response {
        request.send(self.address())
    }

    pub fn get(&self, path: &str) -> Response {
        self.send(&Request::new("GET", path))
    }

    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.send(&Request::new("POST", path).json(&body.to_string()))
    }

    /// Signs in; access and refresh token.
    pub fn sign_in(&self, username: &str, password: &str) -> (String, String) {
        let body = json!({ "username": username, "password": password, "tokens": "body" });
        let answer = self.post("/auth/login", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        (token("accessToken"), token("refreshToken"))
    }

    pub fn accepts(&self, access: &str) -> bool {
        let answer = self.send(&Request::new("GET", "/auth/me").bearer(access));
        assert!([200, 401].contains(&answer.status), "{} {}", answer.status, answer.text());
        answer.status == 200
    }

    /// Sends a signal to this child only.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success(), "no signal {name}");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended and its output is complete.
    pub fn wait(&mut self) -> ExitStatus {
        let status = until(PATIENCE, "the end of the process", || self.child.try_wait().unwrap());
        self.read_to_the_end();
        status
    }

    fn read_to_the_end(&mut self) {
        for output in [&mut self.stdout, &mut self.stderr] {
            if let Some(reader) = output.reader.take() {
                let _ = reader.join();
            }
        }
    }

    /// Fails if its output or database contains any secret of the suite.
    fn search(&self) {
        secret_scanner::assert_none_in_text("a node's standard output", self.stdout().as_bytes());
        secret_scanner::assert_none_in_text("a node's log", self.stderr().as_bytes());
        let Some(file) = self.rows.as_ref().filter(|_| self.address.is_some()) else { return };
        for part in ["", "-wal"] {
            let mut path = file.clone().into_os_string();
            path.push(part);
            secret_scanner::assert_none_in_rows("a node's database", &std::fs::read(path).unwrap_or_default());
        }
    }
}

/// Polls until there is a result; fails after `patience`.
pub fn until<T>(patience: Duration, what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = poll() {
            return answer;
        }
        assert!(began.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
