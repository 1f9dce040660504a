//! A throwaway PostgreSQL cluster, started from the installed binaries once per test process and gone with it,
//! however that process ends. It listens on a Unix socket in its own folder only, and it is as fast as one can be
//! that may lose everything. Which backends a test runs on is decided elsewhere.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The shell between the test process and the server: it starts the server as its own child and stops it when its
/// standard input closes. Only the test process holds the other end, so this happens after an exit, an abort and
/// a SIGKILL alike. Signals do not reach it: Ctrl-C must end the tests first.
///
/// `$1` is the folder of the binaries, `$2` the folder to live in and to remove.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM PIPE
"$1/initdb" -D "$2/data" -U doorward -A trust -E UTF8 --locale=C -N </dev/null >"$2/log" 2>&1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses='' -c max_connections=300 -c fsync=off \
    -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off </dev/null >>"$2/log" 2>&1 &
server=$!
until "$1/pg_isready" -q -h "$2" </dev/null >/dev/null 2>&1 || ! kill -0 "$server" 2>/dev/null; do sleep 0.02; done
if kill -0 "$server" 2>/dev/null; then echo ready; else cat "$2/log"; fi
read -r _
kill -QUIT "$server"
wait "$server"
cd /
rm -rf "$2"
"#;

const MISSING: &str = "The tests need PostgreSQL's server binaries (initdb, postgres, pg_isready and psql in one folder) and found \
    none: get them with `apt-get install postgresql` or `brew install postgresql`, \
    or set DOORWARD_TEST_BACKENDS=sqlite to leave PostgreSQL out.";

static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();

struct Cluster {
    binaries: PathBuf,
    folder: PathBuf,
    /// Holds the pipe's write end open for as long as the process lives.
    _watchdog: Child,
}

/// The URL of a fresh, empty database.
pub fn new_database() -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let name = format!("test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    // template0: nobody can be connected to it, which would make the copy fail.
    psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
    format!("postgres://doorward@/{name}?host={}", socket_dir().display())
}

/// The folder of the server's socket, for `host=`.
pub fn socket_dir() -> &'static Path {
    &cluster().folder
}

/// Runs SQL in a database, named by its name or its URL. Answers the rows, one a line, columns divided by `|`.
pub fn psql(database: &str, sql: &str) -> String {
    let cluster = cluster();
    let output = Command::new(cluster.binaries.join("psql"))
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "doorward", "-h"])
        .arg(&cluster.folder)
        .args(["-d", database, "-c", sql])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|fault| panic!("psql does not start: {fault}"));
    assert!(output.status.success(), "{sql}\nin {database}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A start that failed is not tried again: every test that needs it says the same at once.
fn cluster() -> &'static Cluster {
    let started = CLUSTER.get_or_init(|| {
        let binaries = find_binaries().ok_or(MISSING)?;
        start(binaries).map_err(|fault| format!("PostgreSQL does not start: {fault}"))
    });
    started.as_ref().unwrap_or_else(|reason| panic!("{reason}"))
}

fn start(binaries: PathBuf) -> io::Result<Cluster> {
    // Not TMPDIR, which may be deep: the path of a socket has 107 bytes at most.
    let folder = tempfile::Builder::new().prefix("doorward-pg-").tempdir_in("/tmp")?;
    let mut command = Command::new("sh");
    command.args(["-c", WATCHDOG, "doorward-pg-watchdog"]).arg(&binaries).arg(folder.path());
    command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A group of its own: what kills the tests by group leaves it to clean up.
    command.process_group(0);
    // The folder is ours, so its owner is who we are; PostgreSQL refuses to run as root.
    if folder.path().metadata()?.uid() == 0 {
        let (user, group) = unprivileged()?;
        chown(folder.path(), Some(user), Some(group))?;
        command.uid(user).gid(group);
    }
    let mut watchdog = command.spawn()?;
    let folder = folder.keep();
    wait_until_ready(&mut watchdog)?;
    Ok(Cluster { binaries, folder, _watchdog: watchdog })
}

fn wait_until_ready(watchdog: &mut Child) -> io::Result<()> {
    let Some(stdout) = watchdog.stdout.take() else { return Err(io::Error::other("no pipe from the watchdog")) };
    let mut stdout = BufReader::new(stdout);
    let mut said = String::new();
    stdout.read_line(&mut said)?;
    if said == "ready\n" {
        return Ok(());
    }
    drop(watchdog.stdin.take());
    stdout.read_to_string(&mut said)?;
    watchdog.wait()?;
    Err(io::Error::other(said))
}

/// User and group to run the server as when we are root.
fn unprivileged() -> io::Result<(u32, u32)> {
    let id = |which, name| say(Command::new("id").args([which, name]))?.parse().ok();
    let both = |name| Some((id("-u", name)?, id("-g", name)?));
    both("postgres").or_else(|| both("nobody")).ok_or_else(|| io::Error::other("neither user postgres nor nobody"))
}

fn find_binaries() -> Option<PathBuf> {
    let debian = newest_first("/usr/lib/postgresql").into_iter().map(|version| version.join("bin"));
    let on_path = say(Command::new("sh").args(["-c", "command -v initdb"]))
        // A link leads to the folder that has the others as well.
        .and_then(|initdb| Some(Path::new(&initdb).canonicalize().ok()?.parent()?.to_owned()));
    let homebrew =
        ["/opt/homebrew/opt", "/usr/local/opt"].into_iter().flat_map(newest_first).map(|keg| keg.join("bin"));
    let others = ["/opt/homebrew/bin", "/usr/local/pgsql/bin"].map(PathBuf::from);
    debian
        .chain(on_path)
        .chain(homebrew)
        .chain(others)
        .find(|folder| ["initdb", "postgres", "pg_isready", "psql"].iter().all(|binary| folder.join(binary).is_file()))
}

/// The subfolders of PostgreSQL versions: `15`, `9.6` or `postgresql@17`.
fn newest_first(folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = vec![];
    for entry in Path::new(folder).read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("postgresql@").unwrap_or(&name).split('.').map(str::parse).collect();
        if let Ok(version) = version {
            found.push((version, entry.path()));
        }
    }
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// What a command prints, if it succeeds.
fn say(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
