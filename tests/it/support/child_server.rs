//! A foreign server (nginx, chromedriver, …) as a child process in a folder of its own: started with its configuration,
//! ended with the test, also when that panics.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::{PATIENCE, search_path, until};

/// The server as a child of a shell that ends it when the test process is gone: `$1` is the log, the rest the command.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM PIPE
log=$1; shift
(trap - HUP INT TERM PIPE; exec "$@") </dev/null >>"$log" 2>&1 &
server=$!
while read -r line; do :; done
kill -TERM "$server"
wait "$server"
"#;

/// A running server.
pub struct Daemon {
    folder: tempfile::TempDir,
    address: SocketAddr,
    watchdog: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

impl Daemon {
    /// Starts it. `configure` writes its files into the folder, for the given address, and returns the command.
    pub fn start(name: &str, configure: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let mut printed = String::new();
        for _ in 0..5 {
            match Self::try_start(&configure) {
                Ok(daemon) => return daemon,
                Err(log) => printed = log,
            }
        }
        panic!("{name} does not start: {printed}")
    }

    fn try_start(configure: &impl Fn(&Path, SocketAddr) -> Command) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        // Most cannot report their port, so they are given one that was free just before.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let configured = configure(folder.path(), address);
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "doorward-watchdog"]).arg(folder.path().join("output.log"));
        command.arg(configured.get_program()).args(configured.get_args());
        command.envs(configured.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watchdog = command.spawn().unwrap();
        let daemon = Self { folder, address, watchdog };
        let listens = until(PATIENCE, "a server to listen", || {
            let listens = TcpStream::connect(address).is_ok();
            (listens || daemon.is_over()).then_some(listens)
        });
        if listens { Ok(daemon) } else { Err(daemon.log()) }
    }

    fn is_over(&self) -> bool {
        let log = self.log();
        ["[emerg]", "[ALERT]", "Address already in use", "Error: "].iter().any(|sign| log.contains(sign))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has written.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("output.log"), read("error.log")].concat()).into_owned()
    }
}

/// The path of the program, from PATH or the usual folders of servers.
pub fn find(name: &str, package: &str) -> PathBuf {
    let path = search_path();
    let folders = path.split(':').chain(["/usr/sbin", "/opt/homebrew/bin", "/usr/local/bin", "/usr/local/sbin"]);
    let found = folders.map(|folder| Path::new(folder).join(name)).find(|binary| binary.is_file());
    found.unwrap_or_else(|| {
        panic!("The test needs {name} and found none on PATH or in /usr/sbin: get it with `apt-get install {package}`.")
    })
}
