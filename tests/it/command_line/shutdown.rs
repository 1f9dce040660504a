//! SIGTERM: load balancers are told, running requests finish, and it is over in 10 s whatever the clients do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::Request;
use crate::support::process::{Node, Place, until};
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(a_draining_node_is_not_ready_and_still_answers, a_running_sign_in_finishes,);

/// Orchestrators kill at 10 s.
const STOP: Duration = Duration::from_secs(10);

fn assert_stops(node: &mut Node, since: Instant) {
    let status = node.wait();
    assert!(since.elapsed() < STOP, "it took {:?}", since.elapsed());
    assert!(status.success(), "{status} {}", node.stderr());
}

fn a_draining_node_is_not_ready_and_still_answers(backend: Backend) {
    let place = Place::on(backend).set("DRAIN_DELAY", "3");
    for signal in ["TERM", "INT"] {
        let mut node = place.serve(&["serve", "--demo"]);
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
        assert!(node.believes(&access), "and answers whoever still comes");
        let kept = Request::new("GET", "/healthz").header("Connection", "keep-alive");
        assert_eq!(node.send(&kept).header("Connection"), Some("close"), "nobody keeps a connection to it");
        assert_stops(&mut node, began);
        assert!(began.elapsed() >= Duration::from_secs(3), "the delay is for load balancers to notice");
    }
}

fn a_running_sign_in_finishes(backend: Backend) {
    // A hash that takes long enough to be in the middle of.
    let place = Place::on(backend).set("BCRYPT_COST", "11").set("WORKERS", "1").set("HASH_THREADS", "1");
    let mut node = place.serve(&["serve"]);
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let register = Request::new("POST", "/auth/register").json(&body);
    assert_eq!(node.send(&register).status, 201);
    let login = format!(
        "POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let running: Vec<TcpStream> = (0..3).map(|_| connect(&node, login.as_bytes())).collect();
    // The one worker takes connections in their order, so an answer to a later one says that it has these.
    assert_eq!(node.get("/healthz").status, 200);
    let began = Instant::now();
    node.signal("TERM");
    for mut login in running {
        let mut answer = String::new();
        login.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        // As they are written: the device's own, lower-cased, may begin as a token does.
        let tokens = ["accessToken=eyJ", "refreshToken=eyJ"].map(|token| answer.matches(token).count());
        assert_eq!(tokens, [1, 1], "both tokens: {answer}");
    }
    assert_stops(&mut node, began);
}

fn connect(node: &Node, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(crate::support::process::PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

const HALF: &[u8] = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"username\":";

#[test]
fn a_half_sent_body_does_not_delay_the_shutdown() {
    let place = Place::on(Backend::Sqlite).set("DRAIN_DELAY", "1");
    let mut node = place.serve(&[]);
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
    let place = Place::on(Backend::Sqlite).set("DRAIN_DELAY", "4");
    let mut node = place.serve(&[]);
    let mut held = connect(&node, HALF);
    assert_eq!(node.get("/healthz").status, 200);
    let began = Instant::now();
    node.signal("TERM");
    while node.is_running() && began.elapsed() < STOP + Duration::from_secs(5) {
        let _ = held.write_all(b" ");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_stops(&mut node, began);
}

#[test]
fn a_second_signal_stops_immediately() {
    let place = Place::on(Backend::Sqlite).set("DRAIN_DELAY", "4");
    let mut node = place.serve(&[]);
    let began = Instant::now();
    node.signal("TERM");
    until(STOP, "the drain", || (node.get("/readyz").status == 503).then_some(()));
    node.signal("TERM");
    assert_stops(&mut node, began);
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
}

/// A body that trickles or stops is given up in 10 s, whether anybody stops the service or not.
#[test]
fn a_stalled_body_is_closed_in_ten_seconds() {
    let place = Place::on(Backend::Sqlite);
    let node = place.serve(&[]);
    let began = Instant::now();
    let mut held = connect(&node, HALF);
    let mut answer = String::new();
    // An answer and an end: whoever stalls gets no second request on this connection.
    let _ = held.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_too_slow"), "{answer:?}");
    assert!(began.elapsed() < STOP, "it took {:?}", began.elapsed());
    assert_eq!(node.get("/healthz").status, 200);
}
