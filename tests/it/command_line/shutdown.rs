//! Graceful shutdown on SIGTERM: load balancers see /readyz 503, running requests finish, and the process ends whatever
//! its clients do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::Request;
use crate::support::process::{Node, PATIENCE, WorkDir, until};
use crate::support::{Backend, PASSWORD, is_soak, on_both_backends};

on_both_backends!(a_draining_node_is_not_ready_and_still_answers, a_running_sign_in_finishes,);

/// Orchestrators kill at 10 s. Only the long job has the machine to itself, so only there the time is asserted; in the
/// ordinary run it is enough that the process ends while its clients hold on.
const STOP: Duration = Duration::from_secs(10);

fn assert_in_time(since: Instant) {
    assert!(!is_soak() || since.elapsed() < STOP, "it took {:?}", since.elapsed());
}

fn assert_stops(node: &mut Node, since: Instant) {
    let status = node.wait();
    assert_in_time(since);
    assert!(status.success(), "{status} {}", node.stderr());
}

fn a_draining_node_is_not_ready_and_still_answers(backend: Backend) {
    let workdir = WorkDir::on(backend).set("DRAIN_DELAY", "3");
    for signal in ["TERM", "INT"] {
        let mut node = workdir.serve(&["serve", "--demo"]);
        let (access, _) = node.sign_in("emilys", "emilyspass");
        assert_eq!(node.get("/readyz").status, 200);
        let began = Instant::now();
        node.signal(signal);
        let draining = until(Duration::from_millis(2500), "readyz to say 503", || {
            let answer = node.get("/readyz");
            (answer.status == 503).then_some(answer)
        });
        assert_eq!(draining.json()["stopping"], true, "{}", draining.text());
        assert!(draining.header("Retry-After").is_some_and(|after| after.parse::<u32>().is_ok()));
        assert_eq!(node.get("/healthz").status, 200, "it lives until it does not");
        assert!(node.accepts(&access), "and still answers");
        let kept = Request::new("GET", "/healthz").header("Connection", "keep-alive");
        assert_eq!(node.send(&kept).header("Connection"), Some("close"), "it ends kept connections");
        assert_stops(&mut node, began);
        assert!(began.elapsed() >= Duration::from_secs(3), "the delay is for load balancers to notice");
    }
}

fn a_running_sign_in_finishes(backend: Backend) {
    // A hash that is still running when the signal arrives.
    let workdir = WorkDir::on(backend).set("BCRYPT_COST", "11").set("WORKERS", "1").set("HASH_THREADS", "1");
    let mut node = workdir.serve(&["serve"]);
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let register = Request::new("POST", "/auth/register").json(&body);
    assert_eq!(node.send(&register).status, 201);
    let login = format!(
        "POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let running: Vec<TcpStream> = (0..3).map(|_| connect(&node, login.as_bytes())).collect();
    // The single worker accepts connections in order, so an answer to a later one proves that it has these.
    assert_eq!(node.get("/healthz").status, 200);
    let began = Instant::now();
    node.signal("TERM");
    for mut login in running {
        let mut answer = String::new();
        login.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        // In their exact spelling: the lower-cased device token may start like a JWT.
        let tokens = ["accessToken=eyJ", "refreshToken=eyJ"].map(|token| answer.matches(token).count());
        assert_eq!(tokens, [1, 1], "both tokens: {answer}");
    }
    assert_stops(&mut node, began);
}

fn connect(node: &Node, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

const HALF: &[u8] = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"username\":";

#[test]
fn a_half_sent_body_does_not_delay_the_shutdown() {
    let workdir = WorkDir::on(Backend::Sqlite).set("DRAIN_DELAY", "1");
    let mut node = workdir.serve(&[]);
    let held = [
        connect(&node, HALF),
        connect(&node, b"POST /auth/login HTTP/1.1\r\nHost"),
        connect(&node, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        connect(&node, b""),
    ];
    assert_eq!(node.get("/healthz").status, 200);
    let began = Instant::now();
    node.signal("TERM");
    assert_stops(&mut node, began);
    drop(held);
}

#[test]
fn a_client_that_never_stops_sending_does_not_delay_the_shutdown() {
    let workdir = WorkDir::on(Backend::Sqlite).set("DRAIN_DELAY", "4");
    let mut node = workdir.serve(&[]);
    let mut held = connect(&node, HALF);
    assert_eq!(node.get("/healthz").status, 200);
    let began = Instant::now();
    node.signal("TERM");
    until(PATIENCE, "the process to end under a client that sends", || {
        let _ = held.write_all(b" ");
        (!node.is_running()).then_some(())
    });
    assert_stops(&mut node, began);
}

#[test]
fn a_second_signal_stops_immediately() {
    let places = [(); 2].map(|()| WorkDir::on(Backend::Sqlite).set("DRAIN_DELAY", "4"));
    let [mut twice, mut once] = places.each_ref().map(|workdir| workdir.serve(&[]));
    twice.signal("TERM");
    until(PATIENCE, "the drain", || (twice.get("/readyz").status == 503).then_some(()));
    let began = Instant::now();
    once.signal("TERM");
    twice.signal("TERM");
    // Both were signalled at the same moment; the one that was signalled once is still in its delay.
    assert_stops(&mut twice, began);
    assert!(once.is_running(), "the second signal cut no delay short");
    assert_stops(&mut once, began);
}

/// A stalled or trickling body times out after 10 s, with or without a shutdown.
#[test]
fn a_stalled_body_is_answered_408_and_closed() {
    let workdir = WorkDir::on(Backend::Sqlite);
    let node = workdir.serve(&[]);
    let began = Instant::now();
    let mut held = connect(&node, HALF);
    let mut answer = String::new();
    // The connection is closed after the answer: a stalled client gets no second request on it.
    let _ = held.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_too_slow"), "{answer:?}");
    assert_in_time(began);
    assert_eq!(node.get("/healthz").status, 200);
}
