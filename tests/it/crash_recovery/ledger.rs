//! What a client has in writing: each answer that said yes, and the one act whose answer never came. How it acts is
//! client.rs's, what it must find again verify.rs's.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Tokens;
use crate::support::http::{Request, Response};

/// The `REFRESH_GRACE` that the service runs with: the longest there may be.
pub const GRACE: Duration = Duration::from_secs(60);

/// A session as its client holds it.
#[derive(Debug, Clone)]
pub struct Held {
    pub now: Tokens,
    /// Those that `now` succeeded.
    pub before: Option<Tokens>,
    since: Instant,
}

impl Held {
    pub fn new(now: Tokens) -> Self {
        Self { now, before: None, since: Instant::now() }
    }

    pub fn move_on(&mut self, to: Tokens) {
        self.before = Some(std::mem::replace(&mut self.now, to));
        self.since = Instant::now();
    }

    /// The tokens before, while the grace surely lasts in which they may be asked for their successor.
    pub fn repeatable(&self) -> Option<&Tokens> {
        self.before.as_ref().filter(|_| self.since.elapsed() < GRACE / 2)
    }
}

/// An account, and all that was acknowledged to its owner.
#[derive(Debug)]
pub struct Person {
    pub name: String,
    pub password: String,
    /// The password before, which must be wrong for ever.
    pub former: Option<String>,
    pub sessions: Vec<Held>,
}

/// An act whose answer never came: it happened or it did not.
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

/// Everything one client knows.
#[derive(Debug, Default)]
pub struct Ledger {
    pub people: Vec<Person>,
    /// The person that the client is busy with, and what is in doubt about it.
    pub doubt: Option<(usize, Doubt)>,
    /// Sessions whose end was acknowledged since the last look.
    pub ended: Vec<Held>,
    /// Those of before.
    pub buried: Vec<Held>,
    /// How many answers said yes.
    pub acknowledged: usize,
}

/// The wire, to a service that may be gone or unable at any time.
#[derive(Debug, Clone, Copy)]
pub struct Wire(pub SocketAddr);

/// No answer, or one that says that the service cannot tell.
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

/// The tokens of an answer that must have said yes.
pub fn tokens_of(answer: &Response, status: u16) -> Tokens {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    let token = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
    Tokens { access: token("accessToken"), refresh: token("refreshToken") }
}
