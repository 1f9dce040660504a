//! Isolation: whether checks stay fast while logins take every core.

use doorward::settings::TokenAlgorithm;

use super::check::{CHECK, Ground};
use super::load::{self, Outcome, Pace};
use super::report::{Goal, Report, Series, interleaved};
use super::seed::{self, Rows};
use super::{Plan, login, wrk};

/// With and without logins, on all cores.
pub fn measure(plan: &Plan, report: &mut Report) {
    let rows = Rows { sessions: seed::ACCOUNTS, ..Rows::default() };
    let ground = Ground::new(plan, "isolation", TokenAlgorithm::Hs256, rows);
    let node = ground.place().on(None).serve();
    let request = login::account(&node);
    let url = node.url(CHECK);
    let names = ["doorward, checks alone", "doorward, checks beside logins"];
    let mut p99: Vec<Series> = names.iter().map(|name| Series::new(name)).collect();
    let mut logins = Series::new("doorward, logins beside checks");
    let rates = interleaved(plan.rounds, &names, |at| {
        let drive = std::thread::scope(|scope| {
            let beside = (at == 1).then(|| scope.spawn(|| storm(&node, &request, plan.seconds + 1.0)));
            if beside.is_some() {
                // Until every hashing thread has work.
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
            let drive = wrk::drive_on(None, plan.seconds, &url, &ground.one);
            if let Some(storm) = beside {
                logins.values.push(storm.join().unwrap().rate());
            }
            drive
        });
        p99[at].values.push(drive.p99 / 1e3);
        drive.rate
    });
    report.note(
        "Nothing is pinned: two workers, a hashing thread a core, wrk and 16 clients that sign in without pause share \
         all cores. wrk runs on them too, so checks alone are slower here than in the section on checks.",
    );
    report.figure("p99 of checks beside logins", p99[1].median(), "ms", Some(Goal::AtMost(10.0)));
    report.ratio("checks beside logins ÷ checks alone", &rates[1], &rates[0], Some(Goal::AtLeast(0.7)));
    report.series("Checks", "requests/s", &rates);
    report.series("p99", "ms", &p99);
    report.series("Logins meanwhile", "logins/s", &[logins]);
}

fn storm(node: &super::node::Node, request: &str, seconds: f64) -> Outcome {
    let (outcome, _) = load::drive(node.address, None, login::visitors(request, 16), Pace::Closed, seconds);
    outcome.must_be(&[200]);
    outcome
}
