//! Throwaway PostgreSQL clusters, started from the installed binaries and ended with the test process, also when that is killed. All
//! tests share one, which trades durability for speed; a test that crashes, freezes or replaces its cluster starts one
//! of its own. Each listens only on a Unix socket in its own folder.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use diesel::sql_types::{Nullable, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query};

/// The shell between the test process and the server: it starts the server as its child, executes the commands that it
/// reads, and stops the server when its standard input closes. Only the test process holds the other end, so this
/// happens after an exit, an abort and a SIGKILL alike. Signals do not reach it: Ctrl-C must end the tests first.
///
/// `$1` is the folder of the binaries, `$2` the data folder, which it removes, `$3` whether commits are durable, `$4`
/// the folder of the cluster to follow as a standby, or nothing.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM PIPE
begin() {
    "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses='' -c max_connections=300 -c fsync=off \
        -c synchronous_commit="$3" -c full_page_writes=off -c autovacuum=off </dev/null >>"$2/log" 2>&1 &
    server=$!
    until "$1/pg_isready" -q -h "$2" </dev/null >/dev/null 2>&1 || ! kill -0 "$server" 2>/dev/null; do sleep 0.02; done
    if kill -0 "$server" 2>/dev/null; then echo ready; else cat "$2/log"; fi
}
end() {
    if [ -n "$server" ]; then kill -QUIT "$server"; wait "$server"; fi
    server=
}
# The server first: what is stopped starts no children.
all() {
    [ -n "$server" ] || return
    kill -s "$1" "$server"
    for child in $(ps -A -o pid= -o ppid= | awk -v parent="$server" '$2 == parent { print $1 }'); do
        kill -s "$1" "$child"
    done
}
if [ -z "$4" ]; then
    "$1/initdb" -D "$2/data" -U doorward -A trust -E UTF8 --locale=C -N </dev/null >"$2/log" 2>&1
else
    "$1/pg_basebackup" -D "$2/data" -h "$4" -U doorward -R -X stream -c fast -N </dev/null >"$2/log" 2>&1
fi
begin "$@"
while read -r order; do
    case $order in
        stop) end; echo done ;;
        start) begin "$@" ;;
        freeze) all STOP; echo done ;;
        thaw) all CONT; echo done ;;
    esac
done
all CONT
end
cd /
rm -rf "$2"
"#;

const MISSING: &str = "The tests need PostgreSQL's server binaries (initdb, postgres, pg_isready, pg_basebackup and psql in one folder) and found \
    none: get them with `apt-get install postgresql` or `brew install postgresql`, \
    or set DOORWARD_TEST_BACKENDS=sqlite to leave PostgreSQL out.";

static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();

/// A cluster, running or stopped by a test.
pub struct Cluster {
    binaries: PathBuf,
    folder: PathBuf,
    watchdog: Watchdog,
}

/// Keeps the pipe's write end open.
struct Watchdog {
    shell: Child,
    printed: Mutex<BufReader<ChildStdout>>,
}

thread_local! {
    /// The databases of the test on this thread.
    static OF_THE_TEST: RefCell<Vec<String>> = const { RefCell::new(vec![]) };
}

/// The URL of a fresh, empty database.
pub fn new_database() -> String {
    let url = shared().new_database();
    OF_THE_TEST.with_borrow_mut(|urls| urls.push(url.clone()));
    url
}

/// All rows of the databases that this thread has created since the last call, as JSON.
pub fn rows_of_the_test() -> String {
    OF_THE_TEST.take().iter().map(|url| all_rows(url)).collect()
}

/// All rows of all tables, as JSON.
pub fn all_rows(url: &str) -> String {
    // Not by psql, which is slow to start: this runs at the end of every test.
    let mut db = PgConnection::establish(url).unwrap_or_else(|why| panic!("{url}: {why}"));
    let mut command_and_wait = |query: &str| -> Vec<String> {
        let rows = sql_query(query).load::<Line>(&mut db).unwrap_or_else(|why| panic!("{query}: {why}"));
        rows.into_iter().filter_map(|row| row.line).collect()
    };
    let every_table = "SELECT string_agg(format('SELECT row_to_json(t)::text AS line FROM %I t', table_name), \
                       ' UNION ALL ') AS line FROM information_schema.tables WHERE table_schema = 'public'";
    let queries = command_and_wait(every_table);
    queries.iter().flat_map(|query| command_and_wait(query)).collect::<Vec<_>>().join("\n")
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Nullable<Text>)]
    line: Option<String>,
}

/// Runs SQL in a database, given by name or URL. Returns the rows, one a line, columns separated by `|`.
pub fn psql(database: &str, sql: &str) -> String {
    shared().psql(database, sql)
}

/// The shared cluster. A failed start is not retried: every test that needs it fails with the same message immediately.
pub fn shared() -> &'static Cluster {
    let started = CLUSTER.get_or_init(|| Cluster::start("off", None));
    started.as_ref().unwrap_or_else(|reason| panic!("{reason}"))
}

impl Cluster {
    /// A cluster that a test may crash: its commits are durable.
    pub fn own() -> Self {
        Self::start("on", None).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// An asynchronous streaming replica of it.
    pub fn standby(&self) -> Self {
        Self::start("on", Some(&self.folder)).unwrap_or_else(|reason| panic!("{reason}"))
    }

    fn start(waits: &str, follows: Option<&Path>) -> Result<Self, String> {
        let binaries = find_binaries().ok_or(MISSING)?;
        launch(binaries, waits, follows).map_err(|fault| format!("PostgreSQL does not start: {fault}"))
    }

    /// The URL of a fresh, empty database.
    pub fn new_database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // template0: no session can be connected to it, which would make the copy fail.
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        format!("postgres://doorward@/{name}?host={}", self.folder.display())
    }

    /// The server's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Like the function of this name, in this cluster; of a URL only the database counts.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.binaries.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "doorward", "-h"])
            .arg(&self.folder)
            .args(["-d", database_of(database), "-c", sql])
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|fault| panic!("psql does not start: {fault}"));
        assert!(output.status.success(), "{sql}\nin {database}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Kills all its processes, like a crash.
    pub fn crash(&self) {
        self.watchdog.command_and_wait("stop", "done");
    }

    /// Restarts it after a crash.
    pub fn start_again(&self) {
        self.watchdog.command_and_wait("start", "ready");
    }

    /// Freezes all its processes (SIGSTOP) until the guard is dropped.
    pub fn freeze(&self) -> Frozen<'_> {
        self.watchdog.command_and_wait("freeze", "done");
        Frozen(self)
    }
}

/// A frozen cluster.
pub struct Frozen<'a>(&'a Cluster);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.watchdog.command_and_wait("thaw", "done");
    }
}

/// The name of the database in a URL, or the name itself.
pub fn database_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else { return url };
    rest.split(['/', '?']).nth(1).unwrap_or_default()
}

fn launch(binaries: PathBuf, waits: &str, follows: Option<&Path>) -> io::Result<Cluster> {
    // Not TMPDIR, which may be deep: a socket's path has at most 107 bytes.
    let folder = tempfile::Builder::new().prefix("doorward-pg-").tempdir_in("/tmp")?;
    let mut command = Command::new("sh");
    command.args(["-c", WATCHDOG, "doorward-pg-watchdog"]).arg(&binaries).arg(folder.path()).arg(waits);
    command.arg(follows.unwrap_or(Path::new("")));
    command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A process group of its own: a kill of the tests' group leaves it to clean up.
    command.process_group(0);
    // The folder's owner is the current user; PostgreSQL refuses to run as root.
    if folder.path().metadata()?.uid() == 0 {
        let (user, group) = unprivileged()?;
        chown(folder.path(), Some(user), Some(group))?;
        command.uid(user).gid(group);
    }
    let mut shell = command.spawn()?;
    let folder = folder.keep();
    let Some(stdout) = shell.stdout.take() else { return Err(io::Error::other("no pipe from the watchdog")) };
    let watchdog = Watchdog { shell, printed: Mutex::new(BufReader::new(stdout)) };
    watchdog.wait_for_reply("ready")?;
    Ok(Cluster { binaries, folder, watchdog })
}

impl Watchdog {
    fn command_and_wait(&self, order: &str, answer: &str) {
        let written = self.shell.stdin.as_ref().map(|mut pipe| writeln!(pipe, "{order}"));
        assert!(matches!(written, Some(Ok(()))), "the watchdog of PostgreSQL is gone");
        self.wait_for_reply(answer).unwrap_or_else(|printed| panic!("PostgreSQL, asked to {order}: {printed}"));
    }

    fn wait_for_reply(&self, word: &str) -> io::Result<()> {
        let mut printed = String::new();
        let mut pipe =
            self.printed.lock().map_err(|_poisoned| io::Error::other("another thread gave up on the watchdog"))?;
        pipe.read_line(&mut printed)?;
        if printed.trim_end() == word { Ok(()) } else { Err(io::Error::other(printed)) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let mut rest = String::new();
        if let Ok(mut pipe) = self.printed.lock() {
            let _ = pipe.read_to_string(&mut rest);
        }
        let _ = self.shell.wait();
    }
}

/// User and group to run the server as when we are root.
fn unprivileged() -> io::Result<(u32, u32)> {
    let id = |which, name| say(Command::new("id").args([which, name]))?.parse().ok();
    let both = |name| Some((id("-u", name)?, id("-g", name)?));
    both("postgres").or_else(|| both("nobody")).ok_or_else(|| io::Error::other("neither user postgres nor nobody"))
}

const BINARIES: [&str; 5] = ["initdb", "postgres", "pg_isready", "pg_basebackup", "psql"];

fn find_binaries() -> Option<PathBuf> {
    let debian = newest_first("/usr/lib/postgresql").into_iter().map(|version| version.join("bin"));
    let on_path = say(Command::new("sh").args(["-c", "command -v initdb"]))
        // A symbolic link leads to the folder with the other binaries.
        .and_then(|initdb| Some(Path::new(&initdb).canonicalize().ok()?.parent()?.to_owned()));
    let homebrew =
        ["/opt/homebrew/opt", "/usr/local/opt"].into_iter().flat_map(newest_first).map(|keg| keg.join("bin"));
    let others = ["/opt/homebrew/bin", "/usr/local/pgsql/bin"].map(PathBuf::from);
    debian
        .chain(on_path)
        .chain(homebrew)
        .chain(others)
        .find(|folder| BINARIES.iter().all(|binary| folder.join(binary).is_file()))
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

/// The output of a command, if it succeeds.
fn say(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
