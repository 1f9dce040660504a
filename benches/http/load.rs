//! Load generator for requests that depend on the previous answer: many connections on one thread. Closed: every client
//! sends its next request after the answer. Paced: requests are due at fixed times and a late one counts from when it
//! was due, so that a stalling server cannot slow down its own measurement (coordinated omission).

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::machine::Pinned;
use super::witness::Span;

/// How long to wait for the last answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers that take longer are recorded one by one.
const LONG: Duration = Duration::from_millis(2);

/// A client, which builds each request from the answers before.
pub trait Client {
    /// The whole of the next request.
    fn request(&mut self, to: &mut Vec<u8>);
    /// Handles the answer; head and body as text.
    fn answer(&mut self, status: u16, head: &str, body: &str);
}

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each client immediately after its answer.
    Closed,
    /// This many a second, by any idle client.
    Rate(f64),
}

/// The outcome of a drive.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Times of the answers in microseconds, by status.
    pub micros: BTreeMap<u16, Vec<u32>>,
    /// Connections that failed during a request.
    pub broken: u64,
    /// When the slow answers were sent and received, on a clock shared with other processes.
    pub slow: Vec<Span>,
    /// From the first answer to the last.
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Outcome {
    /// How many answers had this status.
    pub fn count(&self, status: u16) -> usize {
        self.micros.get(&status).map_or(0, Vec::len)
    }

    /// Answers a second, between the first and the last: a few long ones are counted right.
    pub fn rate(&self) -> f64 {
        let all: usize = self.micros.values().map(Vec::len).sum();
        let span = self.first.zip(self.last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        if all > 1 && span > 0.0 { (all - 1) as f64 / span } else { f64::NAN }
    }

    /// The time in microseconds that this part of the answers with a status did not exceed.
    pub fn percentile(&self, status: u16, part: f64) -> f64 {
        let mut times = self.micros.get(&status).cloned().unwrap_or_default();
        times.sort_unstable();
        let at = (times.len() as f64 * part).ceil() as usize;
        times.get(at.saturating_sub(1)).map_or(f64::NAN, |micros| f64::from(*micros))
    }

    /// The longest time of an answer with this status, in microseconds.
    pub fn worst(&self, status: u16) -> f64 {
        self.micros.get(&status).and_then(|times| times.iter().max()).map_or(f64::NAN, |micros| f64::from(*micros))
    }

    /// Stops the benchmark unless every answer had one of these statuses.
    pub fn must_be(&self, statuses: &[u16]) {
        let others: Vec<(u16, usize)> = self.micros.iter().map(|(status, times)| (*status, times.len())).collect();
        let fine = others.iter().all(|(status, _)| statuses.contains(status));
        assert!(fine && self.broken == 0, "answers by status: {others:?}, {} connections broke", self.broken);
    }

    fn note(&mut self, status: u16, due: Instant) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        let took = now - due;
        if took >= LONG {
            self.slow.push(Span::that_took(took));
        }
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.micros.entry(status).or_default().push(micros);
    }
}

struct Line<C> {
    client: C,
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// When the request that is under way was due.
    due: Option<Instant>,
}

struct Driver<C> {
    address: SocketAddr,
    poll: Poll,
    lines: Vec<Line<C>>,
    idle: VecDeque<usize>,
    outcome: Outcome,
}

/// Drives the clients for this time, on this core or on any, and returns them with their state.
pub fn drive<C: Client>(
    address: SocketAddr,
    core: Option<usize>,
    clients: Vec<C>,
    pace: Pace,
    seconds: f64,
) -> (Outcome, Vec<C>) {
    let _pinned = core.map(Pinned::to);
    let mut driver = Driver::connect(address, clients);
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds);
    match pace {
        Pace::Closed => driver.run_closed(end),
        Pace::Rate(rate) => driver.run_paced(began, end, Duration::from_secs_f64(1.0 / rate)),
    }
    // Wait for requests in flight: the server has already received them.
    while driver.idle.len() < driver.lines.len() && end.elapsed() < PATIENCE {
        driver.turn(Some(Duration::from_millis(50)));
    }
    (driver.outcome, driver.lines.into_iter().map(|line| line.client).collect())
}

impl<C: Client> Driver<C> {
    fn connect(address: SocketAddr, clients: Vec<C>) -> Self {
        let poll = Poll::new().unwrap();
        let mut lines = Vec::new();
        for (at, client) in clients.into_iter().enumerate() {
            let stream = open(&poll, address, at);
            lines.push(Line { client, stream, input: vec![], output: vec![], due: None });
        }
        let idle = (0..lines.len()).collect();
        Self { address, poll, lines, idle, outcome: Outcome::default() }
    }

    fn run_closed(&mut self, end: Instant) {
        while Instant::now() < end {
            while let Some(at) = self.idle.pop_front() {
                self.send(at, Instant::now());
            }
            self.turn(Some(Duration::from_millis(20)));
        }
    }

    fn run_paced(&mut self, began: Instant, end: Instant, every: Duration) {
        let mut due = began;
        loop {
            let now = Instant::now();
            if now >= end {
                return;
            }
            while due <= now {
                let Some(at) = self.idle.pop_front() else { break };
                self.send(at, due);
                due += every;
            }
            // A sleep takes longer than requested; below a millisecond polling is more precise.
            let wait = due.saturating_duration_since(now);
            let wait = wait.saturating_sub(Duration::from_millis(1));
            self.turn(Some(if self.idle.is_empty() { Duration::from_millis(1) } else { wait }));
        }
    }

    fn send(&mut self, at: usize, due: Instant) {
        let line = &mut self.lines[at];
        line.output.clear();
        line.input.clear();
        line.client.request(&mut line.output);
        line.due = Some(due);
        if line.stream.write_all(&line.output).is_err() {
            // The server closes idle connections.
            self.reconnect(at);
            let line = &mut self.lines[at];
            if line.stream.write_all(&line.output).is_err() {
                self.give_up(at);
            }
        }
    }

    fn turn(&mut self, wait: Option<Duration>) {
        let mut events = Events::with_capacity(256);
        if let Err(why) = self.poll.poll(&mut events, wait) {
            assert!(why.kind() == io::ErrorKind::Interrupted, "{why}");
        }
        for event in &events {
            self.read(event.token().0);
        }
    }

    fn read(&mut self, at: usize) {
        let mut buffer = [0; 16_384];
        loop {
            let line = &mut self.lines[at];
            match line.stream.read(&mut buffer) {
                Ok(0) if line.due.is_some() => return self.give_up(at),
                Ok(0) => return self.reconnect(at),
                Ok(bytes) => {
                    line.input.extend_from_slice(&buffer[..bytes]);
                    if bytes < buffer.len() {
                        break;
                    }
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) if line.due.is_some() => return self.give_up(at),
                Err(_) => return self.reconnect(at),
            }
        }
        let line = &mut self.lines[at];
        let Some(due) = line.due else { return };
        let text = String::from_utf8_lossy(&line.input);
        if let Some((status, head, body)) = whole(&text) {
            line.due = None;
            self.outcome.note(status, due);
            line.client.answer(status, head, body);
            self.idle.push_back(at);
        }
    }

    fn give_up(&mut self, at: usize) {
        self.outcome.broken += 1;
        self.lines[at].due = None;
        self.idle.push_back(at);
        self.reconnect(at);
    }

    fn reconnect(&mut self, at: usize) {
        let _ = self.poll.registry().deregister(&mut self.lines[at].stream);
        self.lines[at].stream = open(&self.poll, self.address, at);
    }
}

/// Connected before it is made non-blocking: the load begins on established connections.
fn open(poll: &Poll, address: SocketAddr, at: usize) -> TcpStream {
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(at), Interest::READABLE).unwrap();
    stream
}

/// An answer that is complete: its status, its head and its body.
fn whole(text: &str) -> Option<(u16, &str, &str)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    (body.len() >= length.unwrap_or(0)).then_some((status, head, body))
}

/// The same request again and again.
pub struct Same(pub String);

impl Same {
    /// A GET with these header lines.
    pub fn get(path: &str, lines: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n"))
    }

    /// A POST of JSON.
    pub fn post(path: &str, body: &str) -> Self {
        let head = "Host: localhost\r\nContent-Type: application/json";
        Self(format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}

impl Client for Same {
    fn request(&mut self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.0.as_bytes());
    }

    fn answer(&mut self, _: u16, _: &str, _: &str) {}
}

/// Refreshes one session after the other, or signs out of it.
pub struct Visitor<I> {
    path: &'static str,
    tokens: I,
}

impl<I: Iterator<Item = String>> Visitor<I> {
    /// One that refreshes these sessions, each once: a generation that was made a moment ago does not rotate.
    pub fn refreshing(tokens: I) -> Self {
        Self { path: "/auth/refresh", tokens }
    }

    /// One that leaves these sessions, by their refresh tokens.
    pub fn leaving(tokens: I) -> Self {
        Self { path: "/auth/logout", tokens }
    }
}

impl<I: Iterator<Item = String>> Client for Visitor<I> {
    fn request(&mut self, to: &mut Vec<u8>) {
        let token = self.tokens.next().expect("more sessions in the database: this machine is faster than expected");
        let head =
            format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nCookie: refreshToken=", self.path);
        to.extend_from_slice(format!("{head}{token}\r\n\r\n").as_bytes());
    }

    fn answer(&mut self, _: u16, _: &str, _: &str) {}
}
