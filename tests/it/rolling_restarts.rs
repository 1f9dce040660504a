//! Rolling restarts of two nodes behind a real nginx under load: no request fails.
//!
//! The procedure follows from nginx (the free one), which does not look at `/readyz`: it learns that a node is down when
//! a request to it fails, and rightly does not send a POST twice that may have arrived. So the node leaves nginx first
//! and stops then:
//!
//! 1. mark it `down` in the upstream's file and `nginx -s reload`;
//! 2. wait until nginx's old workers have exited (they finish their requests);
//! 3. SIGTERM, and wait for its end: running requests finish, and DRAIN_DELAY (1 s) covers those who skip step 2;
//! 4. start the new one, wait for `/readyz` to answer 200, remove the mark, reload.
//!
//! `proxy_next_upstream error timeout` covers a node that dies unannounced: another attempt goes to the other node if
//! nothing was sent yet or if the request may be repeated (GET, HEAD). Never `non_idempotent`: a repeated registration is
//! answered 409. The whole configuration is in rolling_restarts/nginx.rs.

mod nginx;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::process::{Node, PATIENCE, WorkDir, until};
use crate::support::{Backend, PASSWORD, is_soak, on_postgres, print_figure};
use nginx::Nginx;

on_postgres!(rolling_restarts_behind_nginx_fail_no_request);

const CLIENTS: usize = 4;

/// What the clients observed.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

fn rolling_restarts_behind_nginx_fail_no_request() {
    let rolls = if is_soak() { 50 } else { 3 };
    // The long job keeps the default delay; the short run shows that nothing depends on it.
    let delay = if is_soak() { "1s" } else { "0" };
    let workdir = WorkDir::on(Backend::Postgres).set("DRAIN_DELAY", delay).set("TRUSTED_PROXIES", "127.0.0.1/32");
    // All clients share an address.
    let workdir = workdir.set("THROTTLE_REFRESHES", "off");
    let mut nodes = [workdir.serve(&[]), workdir.serve(&[])];
    let mut nginx = Nginx::start(&marked(&nodes, None));
    let body = json!({ "username": "emily", "password": PASSWORD });
    assert_eq!(nodes[0].post("/auth/register", &body).status, 201);

    let (tally, address) = (Tally::default(), nginx.address());
    let began = Instant::now();
    std::thread::scope(|scope| {
        // However this ends, the clients stop.
        let _over = Over(&tally.over);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| Client::new(address, &tally).run())).collect();
        for _ in 0..rolls {
            for number in 0..nodes.len() {
                restart(&workdir, &mut nodes, number, &mut nginx);
            }
        }
        tally.over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let (answered, failures) = (tally.answered.into_inner(), tally.failures.into_inner().unwrap());
    print_figure(&format!(
        "{rolls} rolling restarts of two nodes behind nginx in {:?}: {answered} requests, {} failed",
        began.elapsed(),
        failures.len()
    ));
    assert!(failures.is_empty(), "{failures:#?}\n{}", nginx.log());
    assert!(answered > rolls * 20, "{answered} requests are no load");
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The upstream entries: the address, and whether it is marked down.
fn marked(nodes: &[Node; 2], down: Option<usize>) -> [(SocketAddr, bool); 2] {
    [0, 1].map(|number| (nodes[number].address(), down == Some(number)))
}

/// Restarts a node as an operator does. It returns on another port, as a container does.
fn restart(workdir: &WorkDir, nodes: &mut [Node; 2], number: usize, nginx: &mut Nginx) {
    nginx.reload(&marked(nodes, Some(number)));
    let node = &mut nodes[number];
    node.signal("TERM");
    let status = node.wait();
    assert!(status.success(), "{status} {}", node.stderr());
    *node = workdir.serve(&[]);
    until(PATIENCE, "readyz", || (node.get("/readyz").status == 200).then_some(()));
    nginx.reload(&marked(nodes, None));
}

/// A client that signs in once and refreshes, with short sessions of other accounts in between.
struct Client<'a> {
    address: SocketAddr,
    tally: &'a Tally,
    access: String,
    refresh: String,
}

impl<'a> Client<'a> {
    fn new(address: SocketAddr, tally: &'a Tally) -> Self {
        Self { address, tally, access: String::new(), refresh: String::new() }
    }

    fn run(mut self) {
        self.sign_in();
        for round in 1_usize.. {
            if self.tally.over.load(Ordering::Relaxed) {
                break;
            }
            let check = Request::new("GET", "/auth/me").bearer(&self.access);
            self.send_request("a check", &check);
            if round.is_multiple_of(3) {
                self.take("a refresh", "/auth/refresh", &json!({ "refreshToken": self.refresh }));
            }
            if round.is_multiple_of(20) {
                let body = json!({ "refreshToken": self.refresh }).to_string();
                self.send_request("a logout", &Request::new("POST", "/auth/logout").json(&body));
                self.sign_in();
            }
            // Leaves processor time to the restarts.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn sign_in(&mut self) {
        self.take("a sign-in", "/auth/login", &json!({ "username": "emily", "password": PASSWORD, "tokens": "body" }));
    }

    /// Requests tokens and keeps them.
    fn take(&mut self, what: &str, path: &str, body: &Value) {
        if let Some(shown) = self.send_request(what, &Request::new("POST", path).json(&body.to_string())) {
            for (token, name) in [(&mut self.access, "accessToken"), (&mut self.refresh, "refreshToken")] {
                shown[name].as_str().unwrap_or_default().clone_into(token);
            }
        }
    }

    fn send_request(&self, what: &str, request: &Request) -> Option<Value> {
        let failure = match request.try_send(self.address) {
            Ok(answer) if answer.status == 200 => {
                self.tally.answered.fetch_add(1, Ordering::Relaxed);
                return Some(answer.json());
            }
            Ok(answer) => format!("{what}: {} {}", answer.status, answer.text()),
            Err(fault) => format!("{what}: {fault}"),
        };
        self.tally.failures.lock().unwrap().push(failure);
        None
    }
}
