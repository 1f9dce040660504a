//! A doorward node, or this program as a server, as a child process on its own core; ended when dropped.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::machine;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    vars: Vec<(String, String)>,
    core: Option<usize>,
}

/// A running child.
pub struct Node {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// The address of the empty handler of this program as a server.
    pub empty: Option<SocketAddr>,
}

impl Place {
    /// In this folder, with its keys and database, on the server's core; without rate limits by address.
    pub fn new(folder: &Path) -> Self {
        let place = Self { folder: folder.to_owned(), vars: vec![], core: Some(machine::server_core()) };
        let place = place.set("BIND", "127.0.0.1:0").set("KEYS_FILE", "bench.keys").set("RUST_LOG", "error");
        let place = place.set("THROTTLE_REFRESHES", "1000000000/1m").set("THROTTLE_SIGN_UPS", "1000000000/1m");
        // The tokens of a run are used in all its rounds.
        place.set("ACCESS_TTL", "12h").set("DATABASE_TIMEOUT", "20s").set("DRAIN_DELAY", "0")
    }

    /// With this setting.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the cheapest hashes, so that the rest is measured.
    pub fn cheap_hashes(self) -> Self {
        self.set("TEST_MODE", "true").set("BCRYPT_COST", "4")
    }

    /// On this core, or on every one.
    pub fn on(mut self, core: Option<usize>) -> Self {
        self.core = core;
        self
    }

    /// Starts the service itself.
    pub fn serve(&self) -> Node {
        self.serve_program(Path::new(env!("CARGO_BIN_EXE_doorward")))
    }

    /// Starts the service as it was built there.
    pub fn serve_program(&self, program: &Path) -> Node {
        self.start(program, "serve")
    }

    /// Starts this program as a server: doorward, and beside it a handler with an empty answer of as many headers.
    pub fn serve_beside_nothing(&self) -> Node {
        self.start(&std::env::current_exe().unwrap(), "--serve")
    }

    /// The child, not yet listening.
    pub fn spawn(&self, program: &Path, argument: &str) -> Child {
        let mut command = machine::on_core(self.core, program.to_str().unwrap());
        command.arg(argument).current_dir(&self.folder).env_clear().envs(self.vars.iter().cloned());
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.spawn().unwrap()
    }

    fn start(&self, program: &Path, argument: &str) -> Node {
        let mut child = self.spawn(program, argument);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut find = |prefix: &str| {
            let line = lines.by_ref().find_map(|line| line.strip_prefix(prefix).map(ToOwned::to_owned));
            line.and_then(|address| address.trim().parse().ok())
        };
        let (address, empty) = match argument {
            "serve" => (find("listening on http://"), None),
            _ => (find("doorward "), find("empty ")),
        };
        let address = address.unwrap_or_else(|| panic!("{} does not start", program.display()));
        // Later output must be read, or the child would block.
        std::thread::spawn(move || lines.for_each(drop));
        Node { child, address, empty }
    }
}

impl Node {
    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How long its threads have been on a core so far, in microseconds: what else runs there does not count.
    pub fn cpu_micros(&self) -> f64 {
        cpu_micros(self.id())
    }

    /// Its resident memory in MB.
    pub fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Stops it as an operator does, and waits.
    pub fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Sends a single request.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.address, method, path, headers, body).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// How long a process's threads have been on a core so far, in microseconds.
pub fn cpu_micros(process: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let times = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    times.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e3
}

/// Ends a child and waits for it.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The answer to a single request.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

/// One request on a connection of its own.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| write!(text, "{name}: {value}\r\n").unwrap());
    if !body.is_empty() {
        write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()).unwrap();
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, _) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Ok(Answer {
        status: status.ok_or(std::io::ErrorKind::InvalidData)?,
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
    })
}

/// The time until the first 200.
pub fn first_success(address: SocketAddr, path: &str) -> Duration {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if ask(address, "GET", path, &[], "").is_ok_and(|answer| answer.status == 200) {
            return began.elapsed();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("{path} at {address} never answered 200");
}
