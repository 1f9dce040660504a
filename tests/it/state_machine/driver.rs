//! Driver: the nodes under test and the translation between them and the model (requests, clocks, cookies, tokens). It
//! reports disagreements in words. requests.rs builds the requests.

use std::collections::BTreeMap;

use doorward::clock::Timestamp;
use doorward::testing::TestService;
use serde_json::Value;

use super::actions::{Action, Step};
use super::model::{ACCESS_LIFE, Jar, Model, Seconds, Token};
use crate::multi_node::beside;
use crate::support::http::{Request, Response};
use crate::support::{Backend, Tokens, code, decode_jwt, register};

/// How far each node's clock is ahead of the one before.
const AHEAD: Seconds = 2;

/// How many of the newest access tokens a sweep checks.
const SWEPT: usize = 40;

pub type Verdict = Result<(), String>;

/// What an answer does to the browser's cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    Kept,
    Set,
    /// The access cookie alone.
    SetAccess,
    Cleared,
}

pub struct Machine {
    /// In reverse order: the first node's folder has the shared files.
    nodes: Vec<TestService>,
    now: Seconds,
    cases: usize,
    /// Tokens of another service.
    pub foreign: Tokens,
    pub model: Model,
    pub steps: usize,
    /// How often each outcome was expected of a token.
    pub tally: BTreeMap<String, usize>,
}

impl Machine {
    pub fn start(backend: Backend, nodes: usize) -> Self {
        let (builder, tables) = backend.service_and_tables();
        let timed = |builder: doorward::testing::Builder| {
            builder.set("REFRESH_TTL", "8h").set("SESSION_MAX_AGE", "20h").set("PASSWORD_MIN_LENGTH", "8")
        };
        let first = timed(builder).start();
        let now = first.clock().now().seconds();
        let others: Vec<TestService> = (1..nodes).map(|_| timed(beside(&first, &tables)).start()).collect();
        let mut nodes = others;
        nodes.push(first);
        let foreign = Tokens::in_jar_of(&register(&TestService::start(), "emily"));
        let model = Model::new(Self::names(0), now);
        Self { nodes, now, cases: 0, foreign, model, steps: 0, tally: BTreeMap::new() }
    }

    fn names(case: usize) -> [String; 2] {
        [format!("emily-{case}"), format!("bob-{case}")]
    }

    /// Runs a sequence on two new accounts, then checks every token once more.
    pub fn play(&mut self, steps: &[Step]) -> Verdict {
        self.cases += 1;
        self.model = Model::new(Self::names(self.cases), self.now);
        self.set_clocks(self.now);
        let both_register =
            [0, 1].map(|account| Action::Register { client: account, account, with_cookies: false, lost: false });
        let begin = both_register.map(|action| Step { node: 0, action });
        for (number, step) in begin.iter().chain(steps).enumerate() {
            self.steps += 1;
            self.act(*step).map_err(|why| format!("step {number}, {step:?}: {why}"))?;
        }
        self.sweep().map_err(|why| format!("the last look at access tokens: {why}"))?;
        for refresh in 0..self.model.refresh.len() {
            let node = refresh % self.nodes.len();
            self.respend(node, refresh)
                .map_err(|why| format!("the last spending of refresh token {refresh}: {why}"))?;
        }
        self.sweep().map_err(|why| format!("access tokens after that: {why}"))
    }

    pub fn count(&mut self, expected: &str) {
        *self.tally.entry(expected.to_owned()).or_default() += 1;
    }

    /// Every token by itself, at every node.
    pub fn sweep(&mut self) -> Verdict {
        let newest = self.model.access.len().saturating_sub(SWEPT);
        for access in newest..self.model.access.len() {
            for node in 0..self.nodes.len() {
                self.check(node, access)?;
            }
        }
        Ok(())
    }

    pub fn node(&self, node: usize) -> &TestService {
        &self.nodes[self.nodes.len() - 1 - node]
    }

    pub fn restart(&mut self, node: usize) {
        let at = self.nodes.len() - 1 - node;
        self.nodes[at].restart();
        self.model.forget(node);
    }

    /// The time by this node's clock.
    pub fn now_at(&self, node: usize) -> Seconds {
        self.now + AHEAD * i64::try_from(node).unwrap()
    }

    pub fn move_clocks(&mut self, by: Seconds) {
        self.set_clocks((self.now + by).max(self.model.earliest()));
    }

    fn set_clocks(&mut self, to: Seconds) {
        self.now = to;
        for node in 0..self.nodes.len() {
            self.node(node).clock().set(Timestamp::from_seconds(self.now_at(node)));
        }
        self.model.latest = self.model.latest.max(self.now_at(self.nodes.len() - 1));
    }

    /// Synchronises the other nodes, which would happen by itself a moment later.
    pub fn synchronize(&self) {
        for node in &self.nodes {
            node.core().sync().unwrap();
        }
    }

    /// A request with these of our cookies.
    pub fn send_request(&self, node: usize, method: &str, path: &str, jar: Jar, body: Option<&Value>) -> Response {
        let access = jar.access.map(|at| format!("accessToken={}", self.model.access[at].text));
        let refresh = jar.refresh.map(|at| format!("refreshToken={}", self.model.refresh[at].text));
        let cookies: Vec<String> = access.into_iter().chain(refresh).collect();
        let mut request = Request::new(method, path);
        if !cookies.is_empty() {
            request = request.cookie_header(&cookies.join("; "));
        }
        if let Some(body) = body {
            request = request.json(&body.to_string());
        }
        let answer = request.send(self.node(node).address());
        self.synchronize();
        answer
    }

    /// Adds the tokens of an answer after verifying their claims: of this session's current generation, from one of these
    /// times.
    pub fn take(&mut self, session: usize, tokens: &Tokens, from: &[Seconds]) -> Result<Jar, String> {
        let access = self.take_access(session, &tokens.access, self.model.sessions[session].generation, from)?;
        let kept = &self.model.sessions[session];
        let (refresh, claims) = read(&tokens.refresh, session)?;
        self.is_of_session(session, kept.generation, &refresh, &claims)?;
        same("the refresh token's times", (kept.rotated_at, kept.idle_end), (refresh.from, refresh.until))?;
        let of_generation = |token: &&Token| token.session == session && token.generation == kept.generation;
        if let Some(before) = self.model.refresh.iter().find(of_generation) {
            same("a generation's refresh token", &before.text, &refresh.text)?;
        }
        Ok(Jar { access: Some(access), refresh: Some(index_of(&mut self.model.refresh, refresh)) })
    }

    fn is_of_session(&self, session: usize, generation: i64, token: &Token, claims: &Value) -> Verdict {
        let kept = &self.model.sessions[session];
        let account = &self.model.accounts[kept.account];
        same("the session", kept.id.as_str(), claims["sid"].as_str().unwrap_or_default())?;
        same("the generation", generation, token.generation)?;
        same("the account", account.uuid.as_deref(), claims["sub"].as_str())
    }

    /// The same for an access token of this generation; its index.
    pub fn take_access(
        &mut self,
        session: usize,
        text: &str,
        generation: i64,
        from: &[Seconds],
    ) -> Result<usize, String> {
        let (access, claims) = read(text, session)?;
        self.is_of_session(session, generation, &access, &claims)?;
        let kept = &self.model.sessions[session];
        let account = &self.model.accounts[kept.account];
        same("the role", Some(super::model::ROLES[account.role]), claims["role"].as_str())?;
        if !from.contains(&access.from) {
            return Err(format!("an access token from {} and not from one of {from:?}", access.from));
        }
        same("the access token's end", kept.end.min(access.from + ACCESS_LIFE), access.until)?;
        Ok(index_of(&mut self.model.access, access))
    }

    /// Gives the client the answer, unless it is lost.
    pub fn deliver_answer(&mut self, client: usize, lost: bool, cookies: Cookies, jar: Jar) {
        match cookies {
            _ if lost => {}
            Cookies::Kept => {}
            Cookies::Set => self.model.jars[client] = jar,
            Cookies::SetAccess => self.model.jars[client].access = jar.access,
            Cookies::Cleared => self.model.jars[client] = Jar::default(),
        }
    }
}

/// The times, session and generation of a token, and all its claims.
fn read(text: &str, session: usize) -> Result<(Token, Value), String> {
    let claims = decode_jwt(text).1;
    let number = |name: &str| claims[name].as_i64().ok_or_else(|| format!("no {name} in {claims}"));
    let (generation, from, until) = (number("gen")?, number("iat")?, number("exp")?);
    Ok((Token { session, generation, from, until, text: text.to_owned() }, claims))
}

/// The token's index among those issued; equal texts share one.
fn index_of(known: &mut Vec<Token>, token: Token) -> usize {
    if let Some(at) = known.iter().position(|other| other.text == token.text) {
        return at;
    }
    known.push(token);
    known.len() - 1
}

#[expect(clippy::needless_pass_by_value, reason = "what is compared is mostly made for it")]
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, model: T, service: T) -> Verdict {
    if model == service { Ok(()) } else { Err(format!("{what}: the model says {model:?}, the service {service:?}")) }
}

/// Fails unless the answer has this status and does this to the cookies.
pub fn answered(answer: &Response, status: u16, cookies: Cookies) -> Verdict {
    let set = answer.set_cookies();
    let cleared = set.iter().filter(|cookie| cookie.is_cleared()).count();
    let done = match (set.len(), cleared) {
        (0, 0) => Cookies::Kept,
        (1, 0) => Cookies::SetAccess,
        (2, 0) => Cookies::Set,
        (2, 2) => Cookies::Cleared,
        other => return Err(format!("{other:?} cookies set and cleared")),
    };
    let says = || if answer.status < 400 { answer.text() } else { code(answer) };
    same("the answer", (status, cookies), (answer.status, done)).map_err(|why| format!("{why}: {}", says()))
}
