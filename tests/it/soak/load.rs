//! Mixed load at a steady pace: accounts sign up or in, check, refresh and sign out, each session on one connection.
//! Every answer is counted; soak.rs asserts the counts.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::{KeptConnection, Request, Response};
use crate::support::rng::Rng;
use crate::support::{PASSWORD, Tokens};

/// Refreshes in a session, and checks between two refreshes.
const REFRESHES: usize = 4;
const LOOKS: usize = 4;

/// The requests, and the times and statuses of their answers.
#[derive(Debug, Default)]
pub struct Answers {
    pub statuses: BTreeMap<(&'static str, u16), usize>,
    pub micros: BTreeMap<&'static str, Vec<u64>>,
    pub broken_connections: usize,
}

impl Answers {
    pub fn add(&mut self, other: Self) {
        self.broken_connections += other.broken_connections;
        other.statuses.into_iter().for_each(|(what, count)| *self.statuses.entry(what).or_default() += count);
        other.micros.into_iter().for_each(|(what, times)| self.micros.entry(what).or_default().extend(times));
    }
}

/// One client, with this pause between two requests.
pub struct Walker {
    number: usize,
    people: usize,
    rng: Rng,
    pace: Duration,
    next: Instant,
    answers: Answers,
}

impl Walker {
    pub fn new(number: usize, rng: Rng, pace: Duration) -> Self {
        Self { number, people: 0, rng, pace, next: Instant::now(), answers: Answers::default() }
    }

    pub fn walk(mut self, address: SocketAddr, stop: &AtomicBool) -> Answers {
        while !stop.load(Ordering::Relaxed) {
            if self.live(address, stop).is_err() {
                self.answers.broken_connections += 1;
            }
        }
        self.answers
    }

    /// From sign-in to sign-out; a tenth never sign out.
    fn live(&mut self, address: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
        let mut line = KeptConnection::open(address)?;
        let Some(mut tokens) = self.enter(&mut line)? else { return Ok(()) };
        for _ in 0..REFRESHES {
            for _ in 0..LOOKS {
                self.send_request(&mut line, "me", Request::new("GET", "/auth/me").bearer(&tokens.access))?;
            }
            let body = json!({ "refreshToken": tokens.refresh }).to_string();
            let answer = self.send_request(&mut line, "refresh", Request::new("POST", "/auth/refresh").json(&body))?;
            let Some(successor) = tokens_in(&answer) else { return Ok(()) };
            tokens = successor;
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if self.rng.below(10) > 0 {
            let body = json!({ "refreshToken": tokens.refresh }).to_string();
            self.send_request(&mut line, "sign-out", Request::new("POST", "/auth/logout").json(&body))?;
            self.send_request(&mut line, "me after sign-out", Request::new("GET", "/auth/me").bearer(&tokens.access))?;
        }
        Ok(())
    }

    /// Every fourth signs up.
    fn enter(&mut self, line: &mut KeptConnection) -> io::Result<Option<Tokens>> {
        let is_new = self.people == 0 || self.rng.below(4) == 0;
        let who = if is_new { self.people } else { self.rng.below(self.people) };
        let name = format!("emily{}x{who}", self.number);
        let body = json!({ "username": name, "password": PASSWORD, "tokens": "body" }).to_string();
        self.people = self.people.max(who + 1);
        let (what, path) = if is_new { ("sign-up", "/auth/register") } else { ("sign-in", "/auth/login") };
        Ok(tokens_in(&self.send_request(line, what, Request::new("POST", path).json(&body))?))
    }

    fn send_request(
        &mut self,
        line: &mut KeptConnection,
        what: &'static str,
        request: Request,
    ) -> io::Result<Response> {
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        // Requests that the machine delayed are not made up for: bursts are another test.
        self.next = began + self.pace;
        let answer = line.send(request)?;
        *self.answers.statuses.entry((what, answer.status)).or_default() += 1;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap();
        self.answers.micros.entry(what).or_default().push(took);
        Ok(answer)
    }
}

fn tokens_in(answer: &Response) -> Option<Tokens> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let token = |name: &str| Some(body[name].as_str()?.to_owned());
    Some(Tokens { access: token("accessToken")?, refresh: token("refreshToken")? })
}
