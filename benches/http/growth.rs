//! Growth: whether anything gets slower as sessions accumulate, and whether their purge delays requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use doorward::clock::Clock;
use doorward::core::Core;
use doorward::core::session::caller::Client;
use doorward::core::session::refresh::request::RefreshRequest;
use doorward::core::session::{MountPolicies, TokenPolicy};
use doorward::secret::RefreshToken;
use doorward::settings::{Settings, TokenAlgorithm};

use super::check::{CHECK, Ground, timed};
use super::load::{self, Pace};
use super::node::Node;
use super::refresh::Crowd;
use super::report::{Goal, Report, Series, interleaved, number};
use super::seed::{Keys, Rows};
use super::{Plan, login, machine};

/// The small database: a tenth of the large one, since each refresh needs a session of its own.
fn few(plan: &Plan) -> u64 {
    plan.many / if plan.quick { 2 } else { 10 }
}

struct Grown {
    ground: Ground,
    node: Node,
    /// With cheap hashes, for the rows' part of a login.
    logins: Node,
    request: String,
    one: Crowd,
    many: Crowd,
}

impl Grown {
    fn new(plan: &Plan, sessions: u64) -> Self {
        let rows = Rows { sessions, ..Rows::default() };
        let ground = Ground::new(plan, &format!("growth-{sessions}"), TokenAlgorithm::Hs256, rows);
        let node = ground.place().serve();
        let logins = ground.place().cheap_hashes().serve();
        let request = login::account(&logins);
        let part = sessions / 8;
        let (one, many) = (Crowd::new(&ground.keys, 0..part, 1), Crowd::new(&ground.keys, part..sessions, 64));
        Self { ground, node, logins, request, one, many }
    }
}

/// A small against a large database, and then the purge.
pub fn measure(plan: &Plan, report: &mut Report) {
    let few = few(plan);
    let mut grown = [Grown::new(plan, few), Grown::new(plan, plan.many)];
    let (few, many) = (number(few as f64), number(plan.many as f64));
    let names = [format!("doorward, {few} sessions"), format!("doorward, {many} sessions")];
    let names = [names[0].as_str(), names[1].as_str()];
    let core = Some(machine::load_core());
    let mut cpu: Vec<Series> = names.iter().map(|name| Series::new(name)).collect();
    let short = plan.in_short_turns();
    let checks = interleaved(short.rounds, &names, |at| {
        let Grown { node, ground, .. } = &grown[at];
        let (drive, micros) = timed(&short, node, &node.url(CHECK), &ground.one);
        cpu[at].values.push(micros);
        drive.rate
    });
    let alone = interleaved(plan.rounds, &names, |at| {
        let Grown { node, one, .. } = &mut grown[at];
        one.refresh(node, plan.seconds).percentile(200, 0.5) / 1e3
    });
    let crowd = interleaved(plan.rounds, &names, |at| {
        let Grown { node, many, .. } = &mut grown[at];
        many.refresh(node, plan.seconds).rate()
    });
    let logins = interleaved(plan.rounds, &names, |at| {
        let visitors = login::visitors(&grown[at].request, 1);
        let (outcome, _) = load::drive(grown[at].logins.address, core, visitors, Pace::Closed, plan.seconds);
        outcome.must_be(&[200]);
        outcome.percentile(200, 0.5) / 1e3
    });
    report.note(&format!("{few} sessions beside {many}. Logins with bcrypt cost 4, so that rows show."));
    report.ratio(&format!("checks, {many} ÷ {few}"), &checks[1], &checks[0], Some(Goal::AtLeast(0.97)));
    report.ratio("the same by CPU time: the small one ÷ the grown one", &cpu[0], &cpu[1], Some(Goal::AtLeast(0.97)));
    report.ratio("median time of a refresh, 1 client", &alone[1], &alone[0], Some(Goal::AtMost(1.3)));
    report.ratio("refreshes, 64 clients", &crowd[1], &crowd[0], Some(Goal::AtLeast(1.0 / 1.3)));
    report.ratio("median time of a login at cost 4", &logins[1], &logins[0], Some(Goal::AtMost(1.3)));
    report.series("Checks", "requests/s", &checks);
    report.series("CPU time of a check", "µs", &cpu);
    report.series("Time of a refresh, 1 client", "ms", &alone);
    report.series("Refreshes, 64 clients", "refreshes/s", &crowd);
    report.series("Time of a login at cost 4", "ms", &logins);
    drop(grown);
    removal(plan, report);
}

/// Refreshes during the purge of a hundred thousand sessions.
fn removal(plan: &Plan, report: &mut Report) {
    let over = plan.many / 10;
    let rows = Rows { sessions: plan.many / 5, over, revocations: 0 };
    let ground = Ground::new(plan, "growth-over", TokenAlgorithm::Hs256, rows);
    let core = open(&ground);
    let mut alone = Waits::new(&core, &ground);
    let still = AtomicBool::new(true);
    let (beside, gone, took) = std::thread::scope(|scope| {
        let purge = scope.spawn(|| {
            let began = Instant::now();
            let gone = core.purge().unwrap();
            still.store(false, Ordering::Release);
            (gone, began.elapsed())
        });
        let beside = alone.refresh_until(|_| !still.load(Ordering::Acquire));
        let (gone, took) = purge.join().unwrap();
        (beside, gone, took)
    });
    // As long as with the purge: a disk that stalls now and then does so more often in a longer time.
    machine::settle();
    let free = alone.refresh_until(|began| began.elapsed() > took);
    assert_eq!(gone as u64, over);
    report.note(&format!(
        "Removal: {gone} sessions that were over went in {:.1} s, in portions without a pause, while one thread refreshed; \
         a running node rests 500 ms after a quarter of a second of them.",
        took.as_secs_f64()
    ));
    let worst = |waits: &[Duration]| waits.iter().max().map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3);
    report.figure("the longest refresh beside the removal", worst(&beside), "ms", Some(Goal::AtMost(50.0)));
    report.figure("the longest refresh without it, in as long a time", worst(&free), "ms", None);
    report.figure("sessions removed", gone as f64 / took.as_secs_f64(), "/s", None);
    let mut series = Series::new("doorward, refresh beside the removal");
    series.values = vec![worst(&beside)];
    report.series("Longest refresh beside the removal", "ms", &[series]);
}

fn open(ground: &Ground) -> Core {
    let folder = ground.folder();
    let vars: BTreeMap<String, String> = [
        ("DATABASE_URL", format!("sqlite://{}", folder.join("doorward.db").display())),
        ("KEYS_FILE", folder.join("bench.keys").display().to_string()),
        ("DATABASE_TIMEOUT", "20s".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    Core::open(&Settings::from_vars(&vars, &[]).unwrap(), Clock::system()).unwrap().0
}

/// Sessions that are refreshed once each, and the time of each refresh.
struct Waits<'a> {
    core: &'a Core,
    keys: &'a Keys,
    next: u64,
    policy: TokenPolicy,
}

impl<'a> Waits<'a> {
    fn new(core: &'a Core, ground: &'a Ground) -> Self {
        let policy = TokenPolicy {
            dialect: "native".to_owned(),
            access_ttl: Duration::from_secs(900),
            refresh_ttl: Duration::from_secs(30 * 86_400),
            rotates: true,
            revokes_on_rotation: false,
            opaque_refresh: false,
            access_ttl_max: Duration::from_secs(900),
            returns_refresh_token: true,
        };
        Self { core, keys: &ground.keys, next: 0, policy }
    }

    fn refresh_until(&mut self, is_over: impl Fn(&Instant) -> bool) -> Vec<Duration> {
        let (began, mut waits) = (Instant::now(), vec![]);
        while !is_over(&began) {
            let request = RefreshRequest {
                token: RefreshToken::new(self.keys.refresh(self.next)),
                asked: self.policy.clone(),
                access_ttl: None,
                policies: Arc::new(MountPolicies::new(vec![], self.policy.clone())),
                client: Client::operator(),
            };
            let asked = Instant::now();
            assert!(self.core.rotate_refresh_token(&request).unwrap().refresh_is_new);
            waits.push(asked.elapsed());
            self.next += 1;
        }
        waits
    }
}
