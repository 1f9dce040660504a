//! Alternatives that a user might choose instead, each set up as its own documentation says (benches/http/alternatives)
//! and installed from npm or PyPI on demand: how many checks a second each answers on the core that doorward has.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use doorward::settings::TokenAlgorithm;
use rustix::process::{Pid, Signal, kill_process};

use super::check::{CHECK, Ground, empty_url};
use super::node::cpu_micros;
use super::postgres::Cluster;
use super::report::{Goal, Report, Series, interleaved};
use super::seed::{self, Rows};
use super::{Plan, machine, pgo, wrk};

/// An alternative.
struct Alternative {
    name: &'static str,
    folder: &'static str,
    /// The argument of its server.
    argument: Option<&'static str>,
    /// The factor by which doorward must be faster.
    goal: Option<f64>,
    /// What it does less or more than a check of doorward.
    differs: &'static str,
}

const ALL: [Alternative; 4] = [
    Alternative {
        name: "Fastify + @fastify/jwt",
        folder: "fastify",
        argument: None,
        goal: Some(7.0),
        differs: "signature and expiry only; a token lives on after its logout",
    },
    Alternative {
        name: "better-auth, get-session",
        folder: "better-auth",
        argument: None,
        goal: Some(80.0),
        differs: "revocable immediately, by reading the session's row each time; passwords by scrypt",
    },
    Alternative {
        name: "better-auth, cookie cache",
        folder: "better-auth",
        argument: Some("cached"),
        goal: None,
        differs: "a signed cookie is accepted for 5 minutes, so a revocation takes effect up to 5 minutes later",
    },
    Alternative {
        name: "Django simplejwt",
        folder: "simplejwt",
        argument: None,
        goal: None,
        differs: "reads the user's row each time; its blacklist holds refresh tokens, so an access token outlives its \
                  logout; passwords by PBKDF2",
    },
];

/// Warm-up drives, which do not count.
const WARM_UP: usize = 5;

/// A server that answers checks.
struct Asked {
    name: &'static str,
    url: String,
    headers: PathBuf,
    process: u32,
}

impl Asked {
    /// A drive, and the CPU time of a check.
    fn drive(&self, plan: &Plan) -> (wrk::Drive, f64) {
        let before = cpu_micros(self.process);
        let drive = wrk::drive(plan, &self.url, &self.headers);
        (drive, (cpu_micros(self.process) - before) / drive.answers as f64)
    }
}

/// A running server.
struct Server {
    child: Child,
    url: String,
    headers: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, so that gunicorn ends its workers too.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Alternative {
    /// Its sources under the target folder, with dependencies; or why they are unavailable.
    fn install(&self, plan: &Plan) -> Result<PathBuf, String> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/http/alternatives").join(self.folder);
        let to = plan.folder.join("alternatives").join(self.folder);
        std::fs::create_dir_all(&to).unwrap();
        for file in from.read_dir().unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        let is_there = to.join("node_modules").exists() || to.join("venv/bin/gunicorn").exists();
        let install = match self.folder {
            _ if is_there => "true",
            "simplejwt" => "python3 -m venv venv && venv/bin/pip install --quiet -r requirements.txt",
            _ => "npm install --no-audit --no-fund --loglevel=error",
        };
        let output = Command::new("sh").args(["-c", install]).current_dir(&to).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(to) } else { Err(said.lines().last().unwrap_or(install).to_owned()) }
    }

    fn start(&self, folder: &Path, database: &str) -> Result<Server, String> {
        let (program, script) = match self.folder {
            "simplejwt" => (folder.join("venv/bin/python"), "serve.py"),
            _ => (PathBuf::from("node"), "server.mjs"),
        };
        let mut command = machine::on_core(Some(machine::server_core()), program.to_str().unwrap());
        command.arg(script).args(self.argument).current_dir(folder);
        command.env("DATABASE_URL", database).env("NODE_ENV", "production").stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| why.to_string())?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut find = |prefix: &str| lines.by_ref().find_map(|line| Some(line.strip_prefix(prefix)?.to_owned()));
        let (header, url) = (find("HEADER "), find("READY "));
        std::thread::spawn(move || lines.for_each(drop));
        let server = Server { child, url: url.unwrap_or_default(), headers: folder.join("headers") };
        std::fs::write(&server.headers, header.ok_or("it does not start")?).unwrap();
        wait_for(&server.url).map(|()| server)
    }
}

/// It has printed its address, and may not listen yet.
fn wait_for(url: &str) -> Result<(), String> {
    let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    for _ in 0..300 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(format!("no server listens at {address}"))
}

/// Starts the available ones; the table lists them and the unavailable ones.
fn start_all(plan: &Plan, report: &mut Report, cluster: &Cluster) -> Vec<(&'static Alternative, Server)> {
    let mut servers = vec![];
    for one in &ALL {
        let database = cluster.new_database();
        match one.install(plan).and_then(|folder| one.start(&folder, &database)) {
            Ok(server) => {
                report.note(&format!("{}: {}.", one.name, one.differs));
                servers.push((one, server));
            }
            Err(why) => report.note(&format!("{} is left out: {why}", one.name)),
        }
    }
    servers
}

/// Measures the available ones beside doorward.
pub fn measure(plan: &Plan, report: &mut Report) {
    let rows = Rows { sessions: seed::ACCOUNTS, revocations: if plan.quick { 1000 } else { 100_000 }, over: 0 };
    let ground = Ground::new(plan, "alternatives", TokenAlgorithm::Hs256, rows);
    let node = ground.serve_beside_nothing();
    // On wrk's core, which has time left while it drives these.
    let cluster = Cluster::start(machine::load_core());
    let servers = start_all(plan, report, &cluster);
    let theirs = servers.iter().map(|(one, server)| Asked {
        name: one.name,
        url: server.url.clone(),
        headers: server.headers.clone(),
        process: server.child.id(),
    });
    let by_pgo = pgo::program(plan).map(|program| ground.place().serve_program(&program));
    let ours = [
        ("doorward, 100,000 revocations", Some((&node, node.url(CHECK)))),
        ("empty handler", Some((&node, empty_url(&node)))),
    ];
    let by_pgo = ("doorward, by scripts/pgo", by_pgo.as_ref().map(|node| (node, node.url(CHECK))));
    let ours = ours.into_iter().chain([by_pgo]).filter_map(|(name, place)| {
        let (node, url) = place?;
        Some(Asked { name, url, headers: ground.one.clone(), process: node.id() })
    });
    let all: Vec<Asked> = theirs.chain(ours).collect();
    // Interpreters are slow until the hot code is compiled.
    for asked in all.iter().flat_map(|asked| std::iter::repeat_n(asked, WARM_UP)) {
        asked.drive(plan);
    }
    let names: Vec<&str> = all.iter().map(|asked| asked.name).collect();
    let mut p99: Vec<Series> = names.iter().map(|name| Series::new(name)).collect();
    let mut cpu = p99.clone();
    let rates = interleaved(plan.rounds, &names, |at| {
        let (drive, micros) = all[at].drive(plan);
        p99[at].values.push(drive.p99 / 1e3);
        cpu[at].values.push(micros);
        drive.rate
    });
    for (at, (one, _)) in servers.iter().enumerate() {
        compare(report, one, at, servers.len(), [&rates, &cpu]);
    }
    // The others answer in several processes.
    cpu.retain(|series| !series.name.starts_with("Django"));
    report.series("CPU time of a check", "µs", &cpu);
    report.series("Checks", "requests/s", &rates);
    report.series("p99 saturated", "ms", &p99);
}

/// Compares the alternative at this index with doorward, by rate and by CPU time.
fn compare(report: &mut Report, one: &Alternative, at: usize, ours: usize, [rates, cpu]: [&[Series]; 2]) {
    let goal = one.goal.map(Goal::AtLeast);
    report.ratio(&format!("doorward ÷ {}", one.name), &rates[ours], &rates[at], goal);
    if goal.is_none() {
        return;
    }
    report.ratio(&format!("the same by CPU time: {} ÷ doorward", one.name), &cpu[at], &cpu[ours], goal);
    if let (Some(by_pgo), Some(its_cpu)) = (rates.get(ours + 2), cpu.get(ours + 2)) {
        report.ratio(&format!("by scripts/pgo ÷ {}", one.name), by_pgo, &rates[at], goal);
        report.ratio(&format!("by CPU time: {} ÷ by scripts/pgo", one.name), &cpu[at], its_cpu, goal);
    }
    report.ratio(&format!("empty handler ÷ {}", one.name), &rates[ours + 1], &rates[at], None);
}
