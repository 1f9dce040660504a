//! Load shedding: requests beyond a pool's queue are refused immediately, checks stay fast meanwhile, and work of
//! disconnected clients is not done.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::outages::fault_injection::Lock;
use crate::support::http::Request;
use crate::support::process::{Node, WorkDir, until};
use crate::support::{Backend, PASSWORD, on_both_backends, percentile, race};

on_both_backends!(
    sign_ins_beyond_the_queue_are_shed_and_checks_stay_fast,
    secrets_of_disconnected_clients_are_not_hashed,
    sign_ins_that_waited_too_long_are_shed_with_retry_after,
    database_requests_beyond_the_queue_are_shed_and_the_rest_is_answered,
);

const PATIENCE: Duration = Duration::from_secs(60);

fn sign_in_body() -> String {
    json!({ "username": "emily", "password": PASSWORD }).to_string()
}

fn registered(workdir: &WorkDir) -> Node {
    let node = workdir.serve(&[]);
    assert_eq!(node.send(&Request::new("POST", "/auth/register").json(&sign_in_body())).status, 201);
    node
}

fn sign_ins_beyond_the_queue_are_shed_and_checks_stay_fast(backend: Backend) {
    let workdir = WorkDir::on(backend).set("BCRYPT_COST", "12").set("HASH_QUEUE", "8").set("HASH_THREADS", "2");
    // The checks below leave little of a small machine to the hashing threads.
    let node = registered(&workdir.set("HASH_QUEUE_TIME", "60s"));
    let (access, _) = node.sign_in("emily", PASSWORD);
    let address = node.address();
    let over = AtomicBool::new(false);
    let (answers, mut checks, mut health) = std::thread::scope(|scope| {
        let measure = |request: Request| {
            let over = &over;
            move || {
                let mut times = vec![];
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    assert_eq!(request.send(address).status, 200);
                    times.push(began.elapsed());
                }
                times
            }
        };
        let checks = scope.spawn(measure(Request::new("GET", "/auth/me").bearer(&access)));
        let health = scope.spawn(measure(Request::new("GET", "/healthz")));
        let answers = race(64, move |_| {
            let began = Instant::now();
            (Request::new("POST", "/auth/login").json(&sign_in_body()).send(address), began.elapsed())
        });
        over.store(true, Ordering::Relaxed);
        (answers, checks.join().unwrap(), health.join().unwrap())
    });
    let mut refused: Vec<Duration> = vec![];
    for (answer, took) in &answers {
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        if answer.status == 503 {
            assert_eq!((answer.header("retry-after"), answer.set_cookies().len()), (Some("1"), 0));
            refused.push(*took);
        }
    }
    // Threads of low priority may take their first jobs when the queue is full already: then only its eight are served.
    let signed_in = answers.len() - refused.len();
    assert!(signed_in >= 8 && refused.len() >= 20, "{signed_in} signed in, {} refused", refused.len());
    crate::support::print_figure(&format!(
        "{backend:?}, 64 sign-ins at cost 12: {signed_in} signed in, {} refused, the last after {:?}; \
         meanwhile /auth/me p99 {:?} of {}, /healthz p99 {:?} of {}",
        refused.len(),
        percentile(&mut refused, 100),
        percentile(&mut checks, 99),
        checks.len(),
        percentile(&mut health, 99),
        health.len(),
    ));
    let slowest_sign_in = answers.iter().map(|(_, took)| *took).max().unwrap();
    assert!(percentile(&mut refused, 50) < slowest_sign_in / 2, "refusals do not wait for hashes");
    assert!(percentile(&mut checks, 50) < slowest_sign_in / 4, "checks do not wait for hashes");
}

/// The first hashing thread.
#[cfg(target_os = "linux")]
fn hashing_thread(node: &Node) -> Option<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.id())).into_iter().flatten().flatten();
    let is_it = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "hash-0");
    tasks.map(|task| task.path()).find(is_it)
}

#[cfg(target_os = "linux")]
#[test]
fn hashing_threads_run_at_lower_priority() {
    let node = WorkDir::on(Backend::Sqlite).serve(&[]);
    let thread = until(PATIENCE, "the thread", || hashing_thread(&node));
    let nice = || {
        let stat = std::fs::read_to_string(thread.join("stat")).unwrap();
        // The thread name may contain anything, so fields are counted after it (proc_pid_stat(5)).
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(16)).and_then(|nice| nice.parse::<i32>().ok())
    };
    until(PATIENCE, "the thread's priority", || nice().filter(|nice| *nice >= 10));
}

/// What clients send behind a request: the line end that old ones add to a body, and what waits for the response.
const BEHIND: [&str; 5] = ["", "\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "GET /he", "\r\n\n\r\n"];

/// Sends a complete sign-in, and something behind it, without waiting for the answer. Each is for a name of its own: an account
/// has one place.
fn begin_sign_in(address: SocketAddr, number: u32) -> TcpStream {
    let behind = BEHIND[number as usize % BEHIND.len()];
    let is_one_piece = number.is_multiple_of(2);
    let mut stream = TcpStream::connect(address).unwrap();
    let body = json!({ "username": format!("name{number}"), "password": PASSWORD }).to_string();
    let head = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let pieces = if is_one_piece { vec![request + behind] } else { vec![request, behind.to_owned()] };
    pieces.iter().for_each(|piece| stream.write_all(piece.as_bytes()).unwrap());
    stream
}

fn secrets_of_disconnected_clients_are_not_hashed(backend: Backend) {
    const GONE: u32 = 40;
    // An address has a quarter of the queue.
    let workdir = WorkDir::on(backend).set("BCRYPT_COST", "12").set("HASH_QUEUE", "400").set("HASH_THREADS", "1");
    // The queue's time limit is off, so that no request is shed for waiting.
    let workdir = workdir.set("METRICS_TOKEN", "a-token-for-the-counters").set("HASH_QUEUE_TIME", "600s");
    let node = registered(&workdir);
    let before = hashes(&node);
    let held: Vec<TcpStream> = (0..GONE).map(|number| begin_sign_in(node.address(), number)).collect();
    // All but one or two that are being hashed wait in the queue; then their clients disconnect.
    until(PATIENCE, "a queue", || (waiting(&node, "hash") >= i64::from(GONE) - 10).then_some(()));
    for stream in held {
        let _ = stream.shutdown(Shutdown::Both);
    }
    node.sign_in("emily", PASSWORD);
    let spent = hashes(&node) - before;
    crate::support::print_figure(&format!(
        "{backend:?}: {GONE} sign-ins whose clients left and one that stayed took {spent} hashes"
    ));
    assert!(spent < i64::from(GONE) / 2, "{spent} hashes for {GONE} clients that left");
    assert_eq!(waiting(&node, "hash"), 0);
}

fn sign_ins_that_waited_too_long_are_shed_with_retry_after(backend: Backend) {
    let workdir = WorkDir::on(backend).set("BCRYPT_COST", "12").set("HASH_QUEUE", "100").set("HASH_THREADS", "1");
    let node = registered(&workdir.set("HASH_QUEUE_TIME", "1s"));
    let address = node.address();
    let answers = race(24, move |_| Request::new("POST", "/auth/login").json(&sign_in_body()).send(address));
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!served.is_empty() && !refused.is_empty(), "{} served, {} refused", served.len(), refused.len());
    for answer in &refused {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        assert!(answer.set_cookies().is_empty());
    }
    crate::support::print_figure(&format!("{backend:?}: {} served within a second of waiting", served.len()));
    node.sign_in("emily", PASSWORD);
}

/// Jobs that wait for a thread of this pool.
fn waiting(node: &Node, pool: &str) -> i64 {
    metric(node, &format!("doorward_queue_length{{pool=\"{pool}\"}}"))
}

/// Passwords hashed so far.
fn hashes(node: &Node) -> i64 {
    metric(node, "doorward_password_hash_seconds_count")
}

fn metric(node: &Node, name: &str) -> i64 {
    let metrics = node.send(&Request::new("GET", "/metrics").bearer("a-token-for-the-counters")).text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

fn database_requests_beyond_the_queue_are_shed_and_the_rest_is_answered(backend: Backend) {
    // The threads of one connection, and a queue of 128.
    const ALL: usize = 200;
    let threads = if backend == Backend::Sqlite { 4 } else { 1 };
    let room = threads + 128;
    let mut workdir = WorkDir::on(backend).set("DATABASE_CONNECTIONS", "1").set("DATABASE_TIMEOUT", "30s");
    let mut database = workdir.file("doorward.db").display().to_string();
    if backend == Backend::Postgres {
        database = crate::support::postgres::new_database();
        workdir = workdir.set("DATABASE_URL", database.clone());
    }
    let node = registered(&workdir);
    let (_, refresh) = node.sign_in("emily", PASSWORD);
    let address = node.address();
    let lock = Lock::take(&database);
    let (sender, receiver) = mpsc::channel();
    let asking: Vec<_> = (0..ALL)
        .map(|_| {
            let (sender, cookie) = (sender.clone(), format!("refreshToken={refresh}"));
            std::thread::spawn(move || {
                let began = Instant::now();
                let answer = Request::new("POST", "/auth/refresh").cookie_header(&cookie).send(address);
                sender.send((answer, began.elapsed())).unwrap();
            })
        })
        .collect();
    let mut times = vec![];
    for _ in 0..ALL - room {
        let (answer, took) = receiver.recv_timeout(PATIENCE).unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        times.push(took);
    }
    lock.release();
    let rest: Vec<u16> = (0..room).map(|_| receiver.recv_timeout(PATIENCE).unwrap().0.status).collect();
    asking.into_iter().for_each(|thread| thread.join().unwrap());
    crate::support::print_figure(&format!(
        "{backend:?}: {} refused, the last after {:?}",
        times.len(),
        percentile(&mut times, 100)
    ));
    // The threads may take their first jobs late.
    assert!(rest.iter().filter(|status| **status == 200).count() >= room - threads, "{rest:?}");
}
