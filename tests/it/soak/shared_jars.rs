//! Browsers on a bad network: the tabs of each share its cookies, their requests and answers are late by up to almost half a
//! grace and sometimes lost, and the process is killed and restarted under them. None is signed out.
//!
//! What is promised is for messages that take less than the grace. Where the machine itself stalled a message for longer, what
//! became of that sign-in proves nothing: it is counted, and the browser signs in again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::{Request, Response};
use crate::support::process::{Node, WorkDir, until};
use crate::support::rng::Rng;
use crate::support::{Backend, PASSWORD, is_soak, on_both_backends, soak_number};

on_both_backends!(tabs_that_share_cookies_stay_signed_in_through_delays_losses_and_kills);

/// How many, unless `DOORWARD_TAB_BROWSERS` of the long job says otherwise: more make more refreshes in the same time.
const BROWSERS: usize = 10;
const TABS: usize = 5;

/// `REFRESH_GRACE`, short enough for many rotations.
const GRACE: Duration = Duration::from_secs(2);

/// How late the network makes a message, in milliseconds. The rest of the grace is for the machine.
const LATE: usize = 950;

/// How long a browser waits for a process that starts.
const SOON: Duration = Duration::from_secs(60);

/// Of a hundred messages. A request and its answer are two.
const LOST: usize = 5;

/// The longest pause of a tab, and the longest life of a process, in milliseconds.
const PAUSE: usize = 400;
const LIFE: usize = 6_000;

/// The cookies of one browser, and what happened to it.
#[derive(Default)]
struct Jar {
    /// How often it has signed in again.
    sign_in: usize,
    access: String,
    refresh: String,
    /// Each refresh token that it has held.
    seen: BTreeSet<String>,
    /// Sign-ins that were signed out, and how.
    signed_out: Vec<(usize, String)>,
    /// Sign-ins of which a message took longer than the grace.
    stalled: BTreeSet<usize>,
}

struct World {
    address: RwLock<SocketAddr>,
    jars: Vec<Mutex<Jar>>,
    refreshes: AtomicUsize,
    wanted: usize,
    answers: Mutex<BTreeMap<&'static str, usize>>,
}

impl World {
    fn count(&self, what: &'static str) {
        *self.answers.lock().unwrap().entry(what).or_default() += 1;
    }

    fn is_done(&self) -> bool {
        self.refreshes.load(Ordering::Relaxed) >= self.wanted
    }

    fn send(&self, request: &Request) -> Option<Response> {
        let address = *self.address.read().unwrap();
        let answer = request.try_send(address).ok().filter(|answer| answer.status < 500);
        if answer.is_none() {
            self.count("broken off");
        }
        answer
    }

    fn tab(&self, browser: usize, mut rng: Rng) {
        while !self.is_done() {
            std::thread::sleep(rng.moment(PAUSE));
            if rng.below(2) == 0 { self.refresh(browser, &mut rng) } else { self.check(browser, &mut rng) }
        }
    }

    fn check(&self, browser: usize, rng: &mut Rng) {
        let cookie = format!("accessToken={}", self.jars[browser].lock().unwrap().access);
        std::thread::sleep(rng.moment(LATE));
        let answer = self.send(&Request::new("GET", "/auth/me").cookie_header(&cookie));
        match answer.map(|answer| answer.status) {
            Some(200) => self.count("accepted"),
            Some(401) => self.count("expired"),
            Some(other) => panic!("a check is answered {other}"),
            None => {}
        }
    }

    fn refresh(&self, browser: usize, rng: &mut Rng) {
        let (sign_in, cookie) = {
            let jar = self.jars[browser].lock().unwrap();
            (jar.sign_in, format!("refreshToken={}", jar.refresh))
        };
        let sent = Instant::now();
        std::thread::sleep(rng.moment(LATE));
        if rng.below(100) < LOST {
            return self.count("request lost");
        }
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        let answer = self.send(&Request::new("POST", "/auth/refresh").cookie_header(&cookie));
        // The request was decided somewhere in between.
        if sent.elapsed() > GRACE {
            return self.stall(browser, sign_in);
        }
        let decided = Instant::now();
        std::thread::sleep(rng.moment(LATE));
        let Some(answer) = answer else { return };
        if rng.below(100) < LOST {
            return self.count("answer lost");
        }
        if decided.elapsed() > GRACE {
            return self.stall(browser, sign_in);
        }
        let mut jar = self.jars[browser].lock().unwrap();
        if jar.sign_in != sign_in {
            return self.count("of a former sign-in");
        }
        let stored = jar.store(&answer);
        self.count(stored);
        if stored == "signed out" {
            self.sign_in_again(browser, &mut jar);
        }
    }

    /// A message of this sign-in took longer than the grace.
    fn stall(&self, browser: usize, sign_in: usize) {
        let mut jar = self.jars[browser].lock().unwrap();
        jar.stalled.insert(sign_in);
        if jar.sign_in == sign_in {
            self.sign_in_again(browser, &mut jar);
        }
    }

    /// Tries until the process, which may be starting, answers.
    fn sign_in_again(&self, browser: usize, jar: &mut Jar) {
        let body = json!({ "username": format!("emily{browser}"), "password": PASSWORD });
        let request = Request::new("POST", "/auth/login").json(&body.to_string());
        let answer = until(SOON, "a sign-in", || self.send(&request).filter(|answer| answer.status == 200));
        jar.sign_in += 1;
        jar.store(&answer);
        self.count("signed in again");
    }
}

impl Jar {
    /// What a browser does with an answer to a refresh.
    fn store(&mut self, answer: &Response) -> &'static str {
        if answer.status != 200 {
            self.signed_out.push((self.sign_in, format!("{} {}", answer.status, answer.text())));
            return "signed out";
        }
        let mut done = "access token alone";
        for cookie in answer.set_cookies() {
            match cookie.name.as_str() {
                "accessToken" => self.access = cookie.value,
                "refreshToken" => {
                    done =
                        if self.seen.insert(cookie.value.clone()) { "both tokens, new" } else { "both tokens, again" };
                    self.refresh = cookie.value;
                }
                _ => {}
            }
        }
        done
    }
}

fn start(workdir: &WorkDir) -> Node {
    workdir.serve(&["serve"])
}

/// Kills and restarts the process until the tabs are done; the number of kills.
fn kill_and_restart(world: &World, workdir: &WorkDir, mut node: Node, rng: &mut Rng) -> (usize, Node) {
    let mut kills = 0;
    while !world.is_done() {
        std::thread::sleep(Duration::from_secs(1) + rng.moment(LIFE));
        // Dropping a node sends SIGKILL.
        drop(node);
        node = start(workdir);
        *world.address.write().unwrap() = node.address();
        kills += 1;
    }
    (kills, node)
}

fn tabs_that_share_cookies_stay_signed_in_through_delays_losses_and_kills(backend: Backend) {
    let wanted = soak_number("DOORWARD_TAB_REFRESHES", if is_soak() { 20_000 } else { 250 });
    let browsers = soak_number("DOORWARD_TAB_BROWSERS", BROWSERS);
    let workdir = WorkDir::on(backend).set("RUST_LOG", "warn").set("ACCESS_TTL", "3s");
    let workdir = workdir.set("REFRESH_GRACE", "2s").set("REFRESH_LOST_AFTER", "4s");
    let lifted = ["THROTTLE_FREE_FAILURES", "THROTTLE_SIGN_UPS", "THROTTLE_REFRESHES"];
    let workdir = lifted.into_iter().fold(workdir, |workdir, throttle| workdir.set(throttle, "off"));
    let (node, mut rng) = (start(&workdir), Rng::seeded("tabs"));
    let jars = (0..browsers).map(|browser| Mutex::new(sign_up(&node, browser))).collect();
    let (address, refreshes) = (RwLock::new(node.address()), AtomicUsize::new(0));
    let world = &World { address, jars, refreshes, wanted, answers: Mutex::default() };
    let began = Instant::now();
    let (kills, node) = std::thread::scope(|scope| {
        for tab in 0..browsers * TABS {
            let rng = rng.part();
            scope.spawn(move || world.tab(tab % browsers, rng));
        }
        kill_and_restart(world, &workdir, node, &mut rng)
    });
    let jars: Vec<_> = world.jars.iter().map(|jar| jar.lock().unwrap()).collect();
    let stalled: usize = jars.iter().map(|jar| jar.stalled.len()).sum();
    let sign_ins: usize = jars.iter().map(|jar| jar.sign_in + 1).sum();
    let tokens: usize = jars.iter().map(|jar| jar.seen.len()).sum();
    let time = began.elapsed();
    println!(
        "{backend:?}: {wanted} refreshes of {browsers} browsers with {TABS} tabs each in {time:.0?}, {kills} kills"
    );
    println!(
        "  {tokens} refresh tokens, {stalled} of {sign_ins} sign-ins stalled: {:?}",
        world.answers.lock().unwrap()
    );
    let is_proof = |jar: &Jar, sign_in: usize| !jar.stalled.contains(&sign_in);
    let lost: Vec<_> =
        jars.iter().flat_map(|jar| jar.signed_out.iter().filter(|(sign_in, _)| is_proof(jar, *sign_in))).collect();
    assert!(lost.is_empty(), "signed out: {lost:?}\n{}", node.stderr());
    assert!(tokens > browsers && kills > 0, "it rotated and was killed");
}

fn sign_up(node: &Node, browser: usize) -> Jar {
    let answer = node.post("/auth/register", &json!({ "username": format!("emily{browser}"), "password": PASSWORD }));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let cookie = |name: &str| {
        answer
            .set_cookies()
            .into_iter()
            .find(|cookie| cookie.name == name)
            .map(|cookie| cookie.value)
            .unwrap_or_default()
    };
    let (access, refresh) = (cookie("accessToken"), cookie("refreshToken"));
    Jar { access, refresh, ..Jar::default() }
}
