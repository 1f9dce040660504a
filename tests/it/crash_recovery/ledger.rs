//! Ledger of a client: each acknowledged act, and the one act whose answer is missing. client.rs acts, verify.rs
//! compares.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Tokens;
use crate::support::http::{Request, Response};

/// The `REFRESH_GRACE` of the service: the longest one allowed.
pub const GRACE: Duration = Duration::from_secs(60);

/// A session as its client knows it.
#[derive(Debug, Clone)]
pub struct Held {
    pub now: Tokens,
    /// The tokens before `now`.
    pub before: Option<Tokens>,
    since: Instant,
}

impl Held {
    pub fn new(now: Tokens) -> Self {
        Self { now, before: None, since: Instant::now() }
    }

    /// Takes the answer of a refresh: the next generation, or another access token of one that is too young to be rotated.
    pub fn move_on(&mut self, to: Tokens) {
        let former = std::mem::replace(&mut self.now, to);
        if former.refresh != self.now.refresh {
            self.before = Some(former);
            self.since = Instant::now();
        }
    }

    /// The tokens before, while the grace certainly lasts in which they are answered with their successor.
    pub fn repeatable(&self) -> Option<&Tokens> {
        self.before.as_ref().filter(|_| self.since.elapsed() < GRACE / 2)
    }
}

/// An account, and everything acknowledged to its owner.
#[derive(Debug)]
pub struct Person {
    pub name: String,
    pub password: String,
    /// The former password, which must never work again.
    pub former: Option<String>,
    pub sessions: Vec<Held>,
}

/// An act whose answer is missing: it happened or it did not.
#[derive(Debug)]
pub enum Doubt {
    SignUp(Person),
    SignIn,
    /// Of the session of this number.
    Refresh(usize),
    SignOut(usize),
    SignOutEverywhere,
    ChangePassword(String),
}

impl Doubt {
    pub fn name(&self) -> &'static str {
        match self {
            Self::SignUp(_) => "sign-up",
            Self::SignIn => "sign-in",
            Self::Refresh(_) => "refresh",
            Self::SignOut(_) => "sign-out",
            Self::SignOutEverywhere => "sign-out everywhere",
            Self::ChangePassword(_) => "change of password",
        }
    }
}

/// Everything that a client knows.
#[derive(Debug, Default)]
pub struct Ledger {
    pub people: Vec<Person>,
    /// The account that the client acts for, and its act in doubt.
    pub doubt: Option<(usize, Doubt)>,
    /// Sessions whose end was acknowledged since the last verification.
    pub ended: Vec<Held>,
    /// Those ended before that.
    pub ended_before: Vec<Held>,
    /// The number of acknowledged acts.
    pub acknowledged: usize,
}

/// The connection to a service that may be down or unavailable at any time.
#[derive(Debug, Clone, Copy)]
pub struct Wire(pub SocketAddr);

/// No answer, or a 503.
#[derive(Debug)]
pub struct Unanswered;

impl From<io::Error> for Unanswered {
    fn from(_gone: io::Error) -> Self {
        Self
    }
}

impl Wire {
    fn send(self, request: &Request) -> Result<Response, Unanswered> {
        let answer = request.try_send(self.0)?;
        assert_ne!(answer.status, 500, "{}", answer.text());
        if answer.status == 503 { Err(Unanswered) } else { Ok(answer) }
    }

    fn post(self, path: &str, body: &Value) -> Result<Response, Unanswered> {
        self.send(&Request::new("POST", path).json(&body.to_string()))
    }

    pub fn sign_up(self, person: &Person) -> Result<Response, Unanswered> {
        let body = json!({ "username": person.name, "password": person.password, "tokens": "body" });
        self.post("/auth/register", &body)
    }

    pub fn sign_in(self, name: &str, password: &str) -> Result<Response, Unanswered> {
        self.post("/auth/login", &json!({ "username": name, "password": password, "tokens": "body" }))
    }

    pub fn refresh(self, token: &str) -> Result<Response, Unanswered> {
        self.post("/auth/refresh", &json!({ "refreshToken": token }))
    }

    pub fn sign_out(self, token: &str) -> Result<Response, Unanswered> {
        self.post("/auth/logout", &json!({ "refreshToken": token }))
    }

    pub fn sign_out_everywhere(self, access: &str) -> Result<Response, Unanswered> {
        self.send(&Request::new("POST", "/auth/logout-all").bearer(access))
    }

    pub fn me(self, access: &str) -> Result<Response, Unanswered> {
        self.send(&Request::new("GET", "/auth/me").bearer(access))
    }

    pub fn change_password(self, by: &Tokens, old: &str, new: &str) -> Result<Response, Unanswered> {
        let body = json!({ "currentPassword": old, "newPassword": new }).to_string();
        self.send(&Request::new("POST", "/auth/change-password").bearer(&by.access).json(&body))
    }
}

/// The tokens of an answer that must be a success.
pub fn tokens_of(answer: &Response, status: u16) -> Tokens {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    let token = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
    Tokens { access: token("accessToken"), refresh: token("refreshToken") }
}
