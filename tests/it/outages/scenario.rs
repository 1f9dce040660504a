//! Outage scenario: one node with a live, a leaving and an ended session, and the assertions that must hold for them
//! during a database outage and after it.

use std::time::{Duration, Instant};

use diesel::{Connection, RunQueryDsl, SqliteConnection, dsl::sql, select, sql_types::BigInt};
use serde_json::json;

use crate::support::http::{Request, Response, SetCookie};
use crate::support::process::{Node, WorkDir, until};
use crate::support::{Backend, PASSWORD, is_soak, percentile, postgres, race};

/// Recovery takes at most 5 s; the rest is for a stalled machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// 2 s are promised; this is what the long job allows. In the ordinary run it is enough that every answer comes while the
/// outage lasts, which only ends after them: none has waited for its end.
const IN_TIME: Duration = Duration::from_secs(12);

const COUNTERS: &str = "a-token-for-the-counters";

/// Access token and refresh token of a session.
type Tokens = (String, String);

pub struct Scenario {
    what: &'static str,
    backend: Backend,
    workdir: WorkDir,
    node: Node,
    database: String,
    /// Stays signed in during the outage.
    live: Tokens,
    /// Signed in; its logout is refused during the outage.
    leaving: Tokens,
    /// Signed out before the outage.
    ended: Tokens,
}

fn body(username: &str) -> String {
    json!({ "username": username, "password": PASSWORD }).to_string()
}

fn cookies((access, refresh): &Tokens) -> String {
    format!("accessToken={access}; refreshToken={refresh}")
}

fn refresh(tokens: &Tokens) -> Request {
    Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={}", tokens.1))
}

fn logout(tokens: &Tokens) -> Request {
    Request::new("POST", "/auth/logout").cookie_header(&cookies(tokens))
}

fn check(tokens: &Tokens) -> Request {
    Request::new("GET", "/auth/me").bearer(&tokens.0)
}

impl Scenario {
    pub fn begin(what: &'static str, backend: Backend) -> Self {
        Self::begin_with(what, backend, &[])
    }

    pub fn begin_with(what: &'static str, backend: Backend, settings: &[(&str, &str)]) -> Self {
        Self::begin_at(what, backend, WorkDir::on(backend), settings)
    }

    /// Starts the node in a place with its own database file or settings.
    pub fn begin_at(what: &'static str, backend: Backend, workdir: WorkDir, settings: &[(&str, &str)]) -> Self {
        let mut workdir = workdir.set("DATABASE_TIMEOUT", "2s").set("METRICS_TOKEN", COUNTERS);
        // The log's lines are counted below, so the level is fixed.
        workdir = workdir.set("RUST_LOG", "info");
        let mut database = workdir.file("doorward.db").display().to_string();
        if backend == Backend::Postgres {
            database = postgres::new_database();
            workdir = workdir.set("DATABASE_URL", database.clone());
        }
        for (name, value) in settings {
            workdir = workdir.set(name, *value);
            if let Some(path) = value.strip_prefix("sqlite://") {
                path.clone_into(&mut database);
            }
        }
        let node = workdir.serve(&[]);
        let registered = node.send(&Request::new("POST", "/auth/register").json(&body("emily")));
        assert_eq!(registered.status, 201, "{}", registered.text());
        let [live, leaving, ended] = [(); 3].map(|()| node.sign_in("emily", PASSWORD));
        assert_eq!(node.send(&logout(&ended)).status, 200);
        Self { what, backend, workdir, node, database, live, leaving, ended }
    }

    /// The path of the SQLite file, or the PostgreSQL URL.
    pub fn database(&self) -> &str {
        &self.database
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn status(&self, method: &str, path: &str) -> u16 {
        self.node.send(&Request::new(method, path)).status
    }

    /// Requests that need a write.
    fn changes(&self) -> Vec<Request> {
        vec![
            Request::new("POST", "/auth/login").json(&body("emily")),
            Request::new("POST", "/auth/register").json(&body("late")),
            refresh(&self.live),
            logout(&self.leaving),
        ]
    }

    /// Sends all requests concurrently. Returns the answers and the time of the slowest 503.
    fn send(&self, requests: Vec<Request>) -> (Vec<Response>, Duration) {
        let (address, count) = (self.node.address(), requests.len());
        let answers = race(count, move |number| {
            let began = Instant::now();
            (requests[number].send(address), began.elapsed())
        });
        let mut times = vec![];
        for (answer, took) in &answers {
            if answer.status == 503 {
                assert_eq!(answer.header("retry-after"), Some("1"), "{}", answer.text());
                assert!(answer.set_cookies().is_empty(), "{}: cookies stay as they are", self.what);
                times.push(*took);
            }
        }
        let slowest = percentile(&mut times, 100);
        assert!(!is_soak() || slowest < IN_TIME, "{}: 503 after {slowest:?}", self.what);
        (answers.into_iter().map(|(answer, _)| answer).collect(), slowest)
    }

    /// A check is answered correctly or with 503, and liveness does not depend on the database.
    fn assert_checks_correct(&self) -> Duration {
        let probe = Request::new("GET", "/healthz");
        let (answers, slowest) = self.send(vec![check(&self.live), check(&self.ended), probe]);
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!([200, 503].contains(&statuses[0]), "{}: a live session: {statuses:?}", self.what);
        assert!([401, 503].contains(&statuses[1]), "{}: a session that was ended: {statuses:?}", self.what);
        assert_eq!(statuses[2], 200, "{}: /healthz", self.what);
        slowest
    }

    /// Asserts the answers while no write is possible.
    pub fn assert_writes_refused(&self) {
        let (answers, slowest) = self.send(self.changes());
        for answer in &answers {
            assert_eq!(answer.status, 503, "{}: {}", self.what, answer.text());
        }
        until(PATIENCE, "/readyz 503", || (self.status("GET", "/readyz") == 503).then_some(()));
        let checks = self.assert_checks_correct();
        assert_eq!(self.counter("doorward_database_available "), 0, "{}", self.what);
        self.say(&format!("503 within {slowest:?}, checks within {checks:?}"));
    }

    /// Asserts the answers while some writes succeed and others fail.
    pub fn assert_answers_correct(&self) {
        let mut requests = self.changes();
        // The last request would end a session if it succeeded, and must not.
        requests.truncate(3);
        let (answers, slowest) = self.send(requests);
        for answer in &answers {
            assert!([200, 201, 503].contains(&answer.status), "{}: {}", self.what, answer.text());
        }
        let checks = self.assert_checks_correct();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        self.say(&format!("{statuses:?}, 503 within {slowest:?}, checks within {checks:?}"));
    }

    /// Sends that many refreshes concurrently while no write is possible.
    pub fn assert_refreshes_refused(&self, count: usize) {
        let (answers, slowest) = self.send(vec![refresh(&self.live); count]);
        for answer in &answers {
            assert_eq!(answer.status, 503, "{}: {}", self.what, answer.text());
        }
        self.say(&format!("{count} concurrent refreshes: 503 within {slowest:?}"));
    }

    /// After the outage: the node recovers without intervention, sessions continue, and the logout that was refused
    /// succeeds.
    pub fn assert_recovered(&self) {
        let began = Instant::now();
        let login = Request::new("POST", "/auth/login").json(&body("emily"));
        until(PATIENCE, "a sign-in", || (self.node.send(&login).status == 200).then_some(()));
        let signed_in = began.elapsed();
        until(PATIENCE, "/readyz 200", || (self.status("GET", "/readyz") == 200).then_some(()));
        self.say(&format!("signs in again after {signed_in:?}, ready after {:?}", began.elapsed()));

        assert_eq!(self.node.send(&check(&self.live)).status, 200);
        let answer = self.node.send(&logout(&self.leaving));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.set_cookies().len() == 2 && answer.set_cookies().iter().all(SetCookie::is_cleared));
        for over in [&self.leaving, &self.ended] {
            assert_eq!((self.node.send(&check(over)).status, self.node.send(&refresh(over)).status), (401, 401));
        }
        assert_eq!(self.node.send(&refresh(&self.live)).status, 200, "the token of before is good");
        let late = self.node.send(&Request::new("POST", "/auth/register").json(&body("late"))).status;
        assert!([201, 409].contains(&late), "{late}");
        self.assert_nothing_is_half_done();
        self.assert_logged_and_counted();
    }

    fn assert_nothing_is_half_done(&self) {
        let strays = "SELECT count(*) FROM accounts WHERE id NOT IN (SELECT account_id FROM sessions)";
        assert_eq!(self.number(strays), 0, "an account without its first session");
        let ends = "SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL";
        let barred = "AND id NOT IN (SELECT session_id FROM revocations WHERE session_id IS NOT NULL)";
        assert_eq!(self.number(&format!("{ends} {barred}")), 0, "an end without its revocation");
        assert_eq!(self.number(ends), 2, "the sessions that were signed out, and no other");
        if self.backend == Backend::Sqlite {
            let faults = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
            assert_eq!(self.number(faults), 0);
            assert_eq!(self.number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
        }
    }

    /// The log has one line for the start and one for the end of each outage (of the read or the write path), and the
    /// counters agree.
    fn assert_logged_and_counted(&self) {
        // The log is read by a thread of its own, and the last line may come after the last response.
        let (begins, ends) = ("the database does not answer", "the database answers again");
        let log = until(PATIENCE, "the log's line of each end", || {
            Some(self.node.stderr()).filter(|log| log.matches(begins).count() == log.matches(ends).count())
        });
        let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
        let (began, ended) = (lines(begins), lines(ends));
        let failures = self.counter("doorward_database_errors_total{");
        self.say(&format!(
            "{} lines of log, {began} of a beginning, {ended} of an end; {failures} failures",
            log.lines().count()
        ));
        if failures > 0 {
            assert!(began >= 1 && began == ended, "{log}");
        }
        assert!(began <= 6 && log.lines().count() <= 30, "{log}");
        assert_eq!(self.counter("doorward_database_available "), 1);
    }

    /// The sum of the metrics whose lines start with this text.
    fn counter(&self, start: &str) -> i64 {
        let text = self.node.send(&Request::new("GET", "/metrics").bearer(COUNTERS)).text();
        let values = text.lines().filter(|line| line.starts_with(start)).filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<i64>().unwrap()).sum()
    }

    fn number(&self, query: &str) -> i64 {
        if self.backend == Backend::Postgres {
            return postgres::psql(&self.database, query).parse().unwrap();
        }
        let mut db = SqliteConnection::establish(&self.database).unwrap();
        select(sql::<BigInt>(&format!("({query})"))).get_result(&mut db).unwrap_or_else(|why| panic!("{query}: {why}"))
    }

    fn say(&self, what: &str) {
        crate::support::print_figure(&format!(
            "{} on {:?} in {}: {what}",
            self.what,
            self.backend,
            self.workdir.path().display()
        ));
    }
}
