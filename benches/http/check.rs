//! Cost of a check: beside an empty handler in the same process, at first sight and later, by algorithm, at half load,
//! and through nginx.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

use doorward::settings::TokenAlgorithm;

use super::load::{self, Pace, Same};
use super::node::{self, Node, Place};
use super::report::{Goal, Report, Series, interleaved};
use super::seed::{self, Keys, Rows};
use super::server::EMPTY_HEADERS;
use super::{Plan, machine, oha, wrk};

/// The endpoint that proxies use.
pub const CHECK: &str = "/auth/verify";

/// Revocations in the cache.
const REVOCATIONS: u64 = 100_000;

/// A folder with keys and a database, and the cookies that wrk sends.
pub struct Ground {
    folder: PathBuf,
    /// The signing keys.
    pub keys: Arc<Keys>,
    /// A header file with a single token.
    pub one: PathBuf,
}

impl Ground {
    /// A new folder of this name.
    pub fn new(plan: &Plan, name: &str, algorithm: TokenAlgorithm, rows: Rows) -> Self {
        let folder = plan.folder.join("work").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let keys = Arc::new(Keys::write(&folder, algorithm));
        seed::sqlite(&folder.join("doorward.db"), rows);
        let one = keys.access_cookies(&folder, 1);
        Self { folder, keys, one }
    }

    /// The settings of a node.
    pub fn place(&self) -> Place {
        Place::new(&self.folder)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The node beside the empty handler, which answers with the headers that a check has.
    pub fn serve_beside_nothing(&self) -> Node {
        let cookie = format!("accessToken={}", self.keys.access(0, 0));
        let answer = self.place().serve().ask("GET", CHECK, &[("Cookie", &cookie)], "");
        assert_eq!(answer.status, 200, "{answer:?}");
        // What actix adds to every answer it adds to the empty one as well.
        let added = ["content-length", "date", "connection"];
        let ours = answer.headers.iter().filter(|(name, _)| !added.contains(&name.as_str()));
        let lines: Vec<String> = ours.map(|(name, value)| format!("{name}: {value}")).collect();
        self.place().set(EMPTY_HEADERS, &lines.join("\n")).serve_beside_nothing()
    }
}

/// A drive, and the node's CPU time a request.
pub fn timed(plan: &Plan, node: &Node, url: &str, cookies: &Path) -> (wrk::Drive, f64) {
    let before = node.cpu_micros();
    let drive = wrk::drive(plan, url, cookies);
    (drive, (node.cpu_micros() - before) / drive.answers as f64)
}

/// The URL of the empty handler.
pub fn empty_url(node: &Node) -> String {
    format!("http://{}{CHECK}", node.empty.unwrap())
}

/// Measures all of it.
pub fn measure(plan: &Plan, report: &mut Report) {
    let rows = Rows { sessions: seed::ACCOUNTS, revocations: if plan.quick { 1000 } else { REVOCATIONS }, over: 0 };
    let ground = Ground::new(plan, "check", TokenAlgorithm::Hs256, rows);
    let none = Ground::new(plan, "check-none", TokenAlgorithm::Hs256, Rows { revocations: 0, ..rows });
    report.note(&format!(
        "`wrk -t1 -c{}` on the last core, a server with one worker on the first; GET {CHECK} with the cookie, the empty \
         handler with the same header lines. In the same process: one actix by itself, the other with doorward in it.",
        wrk::CONNECTIONS
    ));
    let rate = seen(plan, report, &ground, &none);
    half_load(plan, report, &ground, rate);
    through_nginx(plan, report, &ground);
    first_sight(plan, report, rows);
}

/// A token that the node has verified before. Returns the rate of the slower of the two.
fn seen(plan: &Plan, report: &mut Report, ground: &Ground, bare: &Ground) -> f64 {
    let (node, without) = (ground.serve_beside_nothing(), bare.serve_beside_nothing());
    let names = ["empty handler", "doorward, 100,000 revocations", "doorward, no revocation"];
    let urls = [empty_url(&node), node.url(CHECK), without.url(CHECK)];
    let nodes = [(&node, &ground.one), (&node, &ground.one), (&without, &bare.one)];
    let mut p99: Vec<Series> = names.iter().map(|name| Series::new(name)).collect();
    let mut cpu = p99.clone();
    let rates = interleaved(plan.rounds, &names, |at| {
        let (drive, micros) = timed(plan, nodes[at].0, &urls[at], nodes[at].1);
        p99[at].values.push(drive.p99);
        cpu[at].values.push(micros);
        drive.rate
    });
    report.ratio("check ÷ empty handler", &rates[1], &rates[0], Some(Goal::AtLeast(0.85)));
    report.ratio("check without revocations ÷ empty handler", &rates[2], &rates[0], None);
    report.ratio("the same by CPU time: empty handler ÷ check", &cpu[0], &cpu[1], Some(Goal::AtLeast(0.85)));
    report.series("CPU time of a request", "µs", &cpu);
    report.series("Checks", "requests/s", &rates);
    report.series("p99 saturated", "µs", &p99);
    rates[0].median().min(rates[1].median())
}

/// Latency at half of the rate of the slower of both.
fn half_load(plan: &Plan, report: &mut Report, ground: &Ground, rate: f64) {
    let node = ground.serve_beside_nothing();
    let line = std::fs::read_to_string(&ground.one).unwrap();
    let addresses = [node.empty.unwrap(), node.address];
    let short = plan.in_short_turns();
    let p99 = interleaved(short.rounds, &["empty handler", "doorward"], |at| {
        let clients = (0..wrk::CONNECTIONS).map(|_| Same::get(CHECK, line.trim())).collect();
        let core = Some(machine::load_core());
        let (outcome, _) = load::drive(addresses[at], core, clients, Pace::Rate(rate / 2.0), short.seconds);
        outcome.must_be(&[200]);
        outcome.percentile(200, 0.99)
    });
    report
        .note(&format!("Half load: {:.0} requests due a second for both, timed from when they were due.", rate / 2.0));
    report.ratio("p99 at half load ÷ empty handler's", &p99[1], &p99[0], Some(Goal::AtMost(1.5)));
    report.series("p99 at half load", "µs", &p99);
    let urls = [empty_url(&node), node.url(CHECK)];
    let by_oha = interleaved(plan.rounds, &["empty handler", "doorward"], |at| {
        oha::p99(plan, &urls[at], line.trim(), rate / 2.0).unwrap_or(f64::NAN)
    });
    if by_oha[0].median().is_nan() {
        report.note("oha is not there: half load has one driver only, our own.");
        return;
    }
    report.note(
        "oha (`-q`, `--latency-correction`) at the same pace, which on one core is more than half of the most it can send: its \
         own time is in both.",
    );
    report.ratio("p99 at half load by oha ÷ empty handler's", &by_oha[1], &by_oha[0], Some(Goal::AtMost(1.5)));
    report.series("p99 at half load by oha", "µs", &by_oha);
}

/// Tokens of each algorithm, each verified for the first time.
fn first_sight(plan: &Plan, report: &mut Report, rows: Rows) {
    let algorithms = [TokenAlgorithm::Hs256, TokenAlgorithm::EdDsa, TokenAlgorithm::Es256];
    let grounds: [(Ground, PathBuf); 3] = algorithms.map(|algorithm| {
        let ground = Ground::new(plan, &format!("check-{}", algorithm.as_str()), algorithm, rows);
        let tokens = if algorithm == TokenAlgorithm::Hs256 { 300_000 } else { 100_000 };
        let many = ground.keys.access_cookies(ground.folder(), if plan.quick { 2_000 } else { tokens });
        (ground, many)
    });
    let names = ["empty handler", "doorward, HS256", "doorward, EdDSA", "doorward, ES256"];
    let mut cpu = names.map(Series::new);
    let rates = interleaved(plan.rounds, &names, |at| {
        // A new node each time, with empty caches.
        let (ground, many) = &grounds[at.saturating_sub(1)];
        let node = ground.serve_beside_nothing();
        let url = if at == 0 { empty_url(&node) } else { node.url(CHECK) };
        let (drive, micros) = timed(plan, &node, &url, many);
        cpu[at].values.push(micros);
        drive.rate
    });
    report.note("First sight: a token is sent once; at over 150,000 checks a second some are sent twice.");
    report.ratio("first sight of HS256 ÷ empty handler", &rates[1], &rates[0], Some(Goal::AtLeast(0.65)));
    report.ratio("by CPU time: empty handler ÷ first sight of HS256", &cpu[0], &cpu[1], Some(Goal::AtLeast(0.65)));
    report.series("First sight, many tokens", "requests/s", &rates);
    report.series("CPU time of a request, first sight", "µs", &cpu);
    again(plan, report, &grounds.map(|(ground, _)| ground));
}

/// A token of each algorithm that its node has verified before.
fn again(plan: &Plan, report: &mut Report, grounds: &[Ground; 3]) {
    let nodes = grounds.each_ref().map(|ground| ground.place().serve());
    let names = ["doorward, HS256", "doorward, EdDSA", "doorward, ES256"];
    let mut cpu = names.map(Series::new);
    let short = plan.in_short_turns();
    let rates = interleaved(short.rounds, &names, |at| {
        let (drive, micros) = timed(&short, &nodes[at], &nodes[at].url(CHECK), &grounds[at].one);
        cpu[at].values.push(micros);
        drive.rate
    });
    for (name, at) in [("EdDSA", 1), ("ES256", 2)] {
        let goal = Some(Goal::AtLeast(0.97));
        report.ratio(&format!("{name} seen before ÷ HS256 seen before"), &rates[at], &rates[0], goal);
        report.ratio(&format!("by CPU time: HS256 ÷ {name}, seen before"), &cpu[0], &cpu[at], goal);
    }
    report.series("Seen before, by algorithm", "requests/s", &rates);
    report.series("CPU time of a request, seen before, by algorithm", "µs", &cpu);
}

/// nginx with auth_request in front of a small file.
struct Nginx {
    child: Child,
    port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        node::end(&mut self.child);
    }
}

impl Nginx {
    fn start(ground: &Ground, node: &Node) -> Self {
        let folder = ground.folder().join("nginx");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("page"), "a page\n").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = include_str!("nginx.conf").replace("FOLDER", folder.to_str().unwrap());
        let text = text
            .replace("CHECK", CHECK)
            .replace("PORT", &port.to_string())
            .replace("DOORWARD", &node.address.to_string());
        std::fs::write(folder.join("nginx.conf"), text.replace("EMPTY", &node.empty.unwrap().to_string())).unwrap();
        let path = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut nginx = machine::on_core(Some(machine::server_core()), path);
        let child = nginx.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "error.log"]).spawn().unwrap();
        let nginx = Self { child, port };
        node::first_success(([127, 0, 0, 1], port).into(), "/open");
        nginx
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn through_nginx(plan: &Plan, report: &mut Report, ground: &Ground) {
    let node = ground.serve_beside_nothing();
    let nginx = Nginx::start(ground, &node);
    let paths = ["/open", "/empty", "/guarded"];
    let names = ["nginx, no check", "nginx, empty check", "nginx, doorward"];
    let rates = interleaved(plan.rounds, &names, |at| wrk::drive(plan, &nginx.url(paths[at]), &ground.one).rate);
    report.note("nginx (one worker) and the server share the first core; benches/http/nginx.conf.");
    report.ratio("through nginx ÷ the same with an empty check", &rates[2], &rates[1], Some(Goal::AtLeast(0.9)));
    report.series("Through nginx", "requests/s", &rates);
}
