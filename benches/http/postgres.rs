//! A throwaway PostgreSQL with durable commits, as in production, and pgbench. It is in a folder of its own and listens
//! on a Unix socket there.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::machine;

/// Starts the server, reports it, and stops it when its standard input closes: however this program ends.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
"$1/initdb" -D "$2/data" -U doorward -A trust -E UTF8 --locale=C -N </dev/null >"$2/log" 2>&1
taskset -c "$3" "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses='' -c max_connections=100 \
    -c shared_buffers=512MB -c max_wal_size=4GB </dev/null >>"$2/log" 2>&1 &
server=$!
until "$1/pg_isready" -q -h "$2" || ! kill -0 "$server" 2>/dev/null; do sleep 0.05; done
if kill -0 "$server" 2>/dev/null; then echo ready; else cat "$2/log"; fi
cat >/dev/null
kill -INT "$server"
wait "$server"
cd / && rm -rf "$2"
"#;

/// A running server.
pub struct Cluster {
    folder: PathBuf,
    watchdog: Child,
}

/// The result of pgbench.
#[derive(Debug, Clone, Copy)]
pub struct Drive {
    /// Transactions a second.
    pub rate: f64,
}

fn binaries() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = Path::new("/usr/lib/postgresql")
        .read_dir()
        .expect("PostgreSQL is missing; see scripts/bench")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is missing; see scripts/bench").1
}

/// Its version.
pub fn version() -> String {
    let output = Command::new(binaries().join("postgres")).arg("-V").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// User and group to run the server as when we are root, which it refuses.
fn unprivileged(folder: &Path) -> Option<(u32, u32)> {
    if folder.metadata().unwrap().uid() != 0 {
        return None;
    }
    let id = |which: &str| {
        let output = Command::new("id").args([which, "postgres"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("there is no user postgres")
    };
    Some((id("-u"), id("-g")))
}

impl Cluster {
    /// Starts one on this core. Not under the target folder, which its user may be unable to reach, and because a
    /// socket's path must be short.
    pub fn start(core: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("doorward-bench-").tempdir_in("/var/tmp").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "doorward-bench"]).arg(binaries()).arg(folder.path()).arg(core.to_string());
        command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        if let Some((user, group)) = unprivileged(folder.path()) {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
            command.uid(user).gid(group);
        }
        let mut watchdog = command.spawn().unwrap();
        let mut word = String::new();
        BufReader::new(watchdog.stdout.take().unwrap()).read_line(&mut word).unwrap();
        assert_eq!(word.trim(), "ready", "PostgreSQL does not start");
        Self { folder: folder.keep(), watchdog }
    }

    /// The URL of a database.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://doorward@/{name}?host={}", self.folder.display())
    }

    /// The URL of a new, empty database.
    pub fn new_database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("new{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url(&name)
    }

    /// Runs SQL; what it printed.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(binaries().join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "doorward", "-h"]).arg(&self.folder);
        let mut child = psql.args(["-d", database]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{sql}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a pgbench script with so many connections on the load's core.
    pub fn pgbench(&self, database: &str, script: &str, connections: usize, seconds: f64) -> Drive {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let mut pgbench = machine::on_core(Some(machine::load_core()), binaries().join("pgbench").to_str().unwrap());
        pgbench.args(["-n", "-j", "1", "-M", "prepared", "-U", "doorward", "-h"]).arg(&self.folder);
        pgbench.args(["-c", &connections.to_string(), "-T", &format!("{:.0}", seconds.ceil()), "-f"]);
        let output = pgbench.arg(file.path()).arg(database).output().expect("pgbench is missing; see scripts/bench");
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        let failed = text.lines().any(|line| line.starts_with("number of failed") && !line.contains(": 0 "));
        assert!(output.status.success() && !failed, "{text}{}", String::from_utf8_lossy(&output.stderr));
        Drive { rate: rate.unwrap_or_else(|| panic!("pgbench: {text}")) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}
