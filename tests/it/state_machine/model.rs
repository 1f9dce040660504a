//! The sessions and revocations of two accounts as the protocol's description has them, in memory and without a token's
//! inside: what each token is worth now, and what each act changes. It knows no table, no view and no node.

pub type Seconds = i64;

pub const ACCESS_LIFE: Seconds = 900;
pub const IDLE_LIFE: Seconds = 8 * 3600;
pub const SESSION_LIFE: Seconds = 20 * 3600;
const GRACE: Seconds = 10;
const SKEW: Seconds = 5;
const DAY: Seconds = 86_400;

pub const PASSWORDS: [&str; 3] = ["quiet-harbour-lantern", "another-harbour-lantern", "third-harbour-lantern"];
pub const ROLES: [&str; 2] = ["USER", "ADMIN"];

#[derive(Debug, Clone)]
pub struct Account {
    /// None until it is registered.
    pub id: Option<i64>,
    pub name: String,
    pub password: usize,
    pub role: usize,
    pub is_active: bool,
}

/// What ended a session, as far as it makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A sign-out, its owner, a change of secret, an operator, or a stolen token.
    Ended,
    /// A sign-out everywhere.
    Everywhere,
    /// A sign-in that brought its tokens.
    Replaced,
}

#[derive(Debug)]
pub struct Session {
    pub account: usize,
    pub id: String,
    pub generation: i64,
    /// Tokens of lower generations were replaced by a change of secret.
    pub bar: i64,
    /// When a token of the current generation was first presented.
    pub confirmed: Option<Seconds>,
    pub rotated_at: Seconds,
    pub idle_end: Seconds,
    pub end: Seconds,
    pub over: Option<(End, Seconds)>,
}

/// A token that was given out.
#[derive(Debug)]
pub struct Token {
    pub session: usize,
    pub generation: i64,
    pub from: Seconds,
    pub until: Seconds,
    pub text: String,
}

/// What a client holds: places in `access` and `refresh`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jar {
    pub access: Option<usize>,
    pub refresh: Option<usize>,
}

/// What becomes of a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    Rotates,
    /// The same successor again.
    Repeats,
    /// It has leaked: the session ends.
    Reuse,
    /// Its session is over for good.
    Over,
    /// No good, and that says nothing about the session.
    Refused,
    /// Another sign-in took the session's place; its cookies are in the browser now.
    Replaced,
}

/// What becomes of a sign-out everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Everywhere {
    Ends(usize),
    /// It was done before with this session's tokens.
    Done,
    Refused,
    /// The description leaves it open: the idle end is past, or the row is so old that it may be gone.
    Open(usize),
}

#[derive(Debug)]
pub struct Model {
    pub accounts: [Account; 2],
    pub sessions: Vec<Session>,
    pub access: Vec<Token>,
    pub refresh: Vec<Token>,
    pub jars: [Jar; 3],
    /// The latest time that any clock has shown: a clean-up may have run then.
    pub latest: Seconds,
}

impl Model {
    pub fn new(names: [String; 2], now: Seconds) -> Self {
        let account = |name| Account { id: None, name, password: 0, role: 0, is_active: true };
        Self {
            accounts: names.map(account),
            sessions: vec![],
            access: vec![],
            refresh: vec![],
            jars: [Jar::default(); 3],
            latest: now,
        }
    }

    /// How far back the clock may be set: clean-ups wait a day, and promise nothing beyond it.
    pub fn earliest(&self) -> Seconds {
        self.latest - DAY + 3600
    }

    /// Genuine, and not from further ahead than clocks may differ.
    fn is_readable(token: &Token, now: Seconds) -> bool {
        token.from <= now + SKEW
    }

    /// Whether an access token is believed.
    pub fn is_live(&self, access: usize, now: Seconds) -> bool {
        let token = &self.access[access];
        let session = &self.sessions[token.session];
        let in_time = Self::is_readable(token, now) && now < token.until;
        in_time && session.over.is_none() && token.generation >= session.bar
    }

    /// Whether the session's row may have been cleaned away.
    fn may_be_gone(&self, session: &Session) -> bool {
        let end = session.over.map_or(session.end, |(_, at)| at.min(session.end));
        end < self.latest - DAY
    }

    pub fn spend(&self, refresh: usize, now: Seconds) -> Spent {
        let token = &self.refresh[refresh];
        let session = &self.sessions[token.session];
        if !Self::is_readable(token, now) {
            return Spent::Refused;
        }
        if token.until <= now {
            return Spent::Over;
        }
        match session.over {
            Some((End::Replaced, _)) if self.may_be_gone(session) => return Spent::Over,
            Some((End::Replaced, _)) => return Spent::Replaced,
            Some(_) => return Spent::Over,
            None if session.end <= now || session.idle_end <= now => return Spent::Over,
            None => {}
        }
        if token.generation < session.bar {
            return Spent::Refused;
        }
        if token.generation == session.generation {
            return Spent::Rotates;
        }
        let in_grace = session.confirmed.is_none_or(|at| now <= at + GRACE);
        if token.generation == session.generation - 1 && in_grace { Spent::Repeats } else { Spent::Reuse }
    }

    /// The sessions that presented tokens name: a live-in-time access token's, then a genuine refresh token's of any age.
    pub fn resolve_refresh_token(&self, jar: Jar, now: Seconds) -> Vec<(usize, i64)> {
        let access = jar.access.map(|at| &self.access[at]).filter(|token| now < token.until);
        let refresh = jar.refresh.map(|at| &self.refresh[at]);
        let readable = access.into_iter().chain(refresh).filter(|token| Self::is_readable(token, now));
        let mut named: Vec<(usize, i64)> = readable.map(|token| (token.session, token.generation)).collect();
        named.dedup_by_key(|(session, _)| *session);
        named
    }

    pub fn everywhere(&self, jar: Jar, now: Seconds) -> Everywhere {
        let Some((at, generation)) = self.resolve_refresh_token(jar, now).first().copied() else {
            return Everywhere::Refused;
        };
        let session = &self.sessions[at];
        match session.over {
            Some((End::Everywhere, _)) if self.may_be_gone(session) => Everywhere::Open(at),
            Some((End::Everywhere, _)) => Everywhere::Done,
            Some(_) => Everywhere::Refused,
            None if generation < session.bar || session.end <= now => Everywhere::Refused,
            None if session.idle_end <= now => Everywhere::Open(at),
            None => Everywhere::Ends(at),
        }
    }

    /// The live sessions of an account.
    pub fn list(&self, account: usize, now: Seconds) -> Vec<&Session> {
        let lives = |session: &&Session| session.over.is_none() && now < session.idle_end && now < session.end;
        self.sessions.iter().filter(|session| session.account == account).filter(lives).collect()
    }

    /// What a check of a live access token leaves behind: proof that its generation arrived.
    pub fn receive(&mut self, access: usize, now: Seconds) {
        let token = &self.access[access];
        let session = &mut self.sessions[token.session];
        if token.generation == session.generation && session.confirmed.is_none() {
            session.confirmed = Some(now);
        }
    }

    pub fn begin(&mut self, account: usize, id: &str, now: Seconds) -> usize {
        let end = now + SESSION_LIFE;
        self.sessions.push(Session {
            account,
            id: id.to_owned(),
            generation: 0,
            bar: 0,
            confirmed: None,
            rotated_at: now,
            idle_end: end.min(now + IDLE_LIFE),
            end,
            over: None,
        });
        self.sessions.len() - 1
    }

    pub fn rotate(&mut self, session: usize, now: Seconds) {
        let session = &mut self.sessions[session];
        session.generation += 1;
        session.confirmed = None;
        session.rotated_at = now;
        session.idle_end = session.end.min(now + IDLE_LIFE);
    }

    pub fn end(&mut self, session: usize, why: End, now: Seconds) {
        self.sessions[session].over.get_or_insert((why, now));
    }

    pub fn end_all_but(&mut self, account: usize, stays: Option<usize>, why: End, now: Seconds) {
        for at in 0..self.sessions.len() {
            if self.sessions[at].account == account && stays != Some(at) {
                self.end(at, why, now);
            }
        }
    }
}
