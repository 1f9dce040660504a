//! Model of the sessions and revocations of two accounts, as the protocol is documented, in memory: what each token is
//! worth now, and what each act changes. It knows no table and no cache; of the nodes, when each was first shown a
//! generation.

pub type Seconds = i64;

pub const ACCESS_LIFE: Seconds = 900;
pub const IDLE_LIFE: Seconds = 8 * 3600;
pub const SESSION_LIFE: Seconds = 20 * 3600;
pub const GRACE: Seconds = 30;
pub const LOST_AFTER: Seconds = 60;
const SKEW: Seconds = 5;
const DAY: Seconds = 86_400;

pub const PASSWORDS: [&str; 3] = ["quiet-harbour-lantern", "another-harbour-lantern", "third-harbour-lantern"];
pub const ROLES: [&str; 2] = ["USER", "ADMIN"];

#[derive(Debug, Clone)]
pub struct Account {
    /// None until it is registered.
    pub id: Option<i64>,
    pub uuid: Option<String>,
    pub name: String,
    pub password: usize,
    pub role: usize,
    pub is_active: bool,
}

/// The reason of a session's end, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A sign-out, its owner, or a stolen token.
    Ended,
    /// A sign-out everywhere with its own tokens.
    Everywhere,
    /// With all sessions of the account: a sign-out everywhere, a change of secret, an operator. Nothing is written to it.
    WithAccount,
    /// A sign-in that brought its tokens.
    Replaced,
}

#[derive(Debug)]
pub struct Session {
    pub account: usize,
    pub id: String,
    pub generation: i64,
    /// The generation below it that may still be presented.
    pub parent: Option<i64>,
    /// Tokens of lower generations were replaced by a password change.
    pub bar: i64,
    /// Access tokens of lower generations are dead: the ones since then take the place of a lost answer.
    pub dead_below: i64,
    /// When a token of the current generation was first presented, and when to each node.
    pub confirmed: Option<Seconds>,
    pub seen: [Option<Seconds>; 2],
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

/// The tokens that a client holds: indices into `access` and `refresh`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jar {
    pub access: Option<usize>,
    pub refresh: Option<usize>,
}

/// The outcome of a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spent {
    Rotates,
    /// A young generation: a new access token beside it.
    Stays,
    /// A replay: the same successor.
    Repeats,
    /// A new access token of the presented generation, beside its unconfirmed successor.
    Waits,
    /// The unconfirmed successor is void, and there is another.
    Replaces,
    /// Reuse: the session ends.
    Reuse,
    /// Its session has ended or expired.
    Over,
    /// Invalid, which says nothing about the session.
    Refused,
    /// Another sign-in replaced the session; the browser has its cookies.
    Replaced,
}

/// The outcome of a sign-out everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Everywhere {
    Ends(usize),
    /// It was already done with this session's tokens.
    Done,
    Refused,
    /// Unspecified: the row is so old that it may be purged. Without it, every session ends.
    Open(usize),
}

#[derive(Debug)]
pub struct Model {
    pub accounts: [Account; 2],
    pub sessions: Vec<Session>,
    pub access: Vec<Token>,
    pub refresh: Vec<Token>,
    pub jars: [Jar; 3],
    /// The latest time that any clock has shown: a purge may have run then.
    pub latest: Seconds,
}

impl Model {
    pub fn new(names: [String; 2], now: Seconds) -> Self {
        let account = |name| Account { id: None, uuid: None, name, password: 0, role: 0, is_active: true };
        Self {
            accounts: names.map(account),
            sessions: vec![],
            access: vec![],
            refresh: vec![],
            jars: [Jar::default(); 3],
            latest: now,
        }
    }

    /// How far back the clock may be set: purges lag a day behind, and promise nothing beyond it.
    pub fn earliest(&self) -> Seconds {
        self.latest - DAY + 3600
    }

    /// Genuine, and not issued further in the future than the clock skew.
    fn is_readable(token: &Token, now: Seconds) -> bool {
        token.from <= now + SKEW
    }

    /// Whether an access token is accepted.
    pub fn is_live(&self, access: usize, now: Seconds) -> bool {
        let token = &self.access[access];
        let session = &self.sessions[token.session];
        let in_time = Self::is_readable(token, now) && now < token.until;
        in_time && session.over.is_none() && token.generation >= session.bar.max(session.dead_below)
    }

    /// Whether the session's row may have been purged.
    fn may_be_gone(&self, session: &Session) -> bool {
        let marked = session.over.filter(|(why, _)| *why != End::WithAccount);
        let end = marked.map_or(session.end, |(_, at)| at.min(session.end));
        end < self.latest - DAY
    }

    pub fn spend(&self, refresh: usize, node: usize, now: Seconds) -> Spent {
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
        Self::spend_of_live(session, token.generation, node, now)
    }

    fn spend_of_live(session: &Session, presented: i64, node: usize, now: Seconds) -> Spent {
        if presented < session.bar {
            return Spent::Refused;
        }
        let (made, shown) = (session.rotated_at, session.confirmed.into_iter().chain(session.seen[node]).min());
        if presented == session.generation {
            let is_old = now > made + GRACE && shown.is_some_and(|at| now > at + 2 * GRACE);
            return if presented == 0 || is_old { Spent::Rotates } else { Spent::Stays };
        }
        match shown {
            _ if session.parent != Some(presented) => Spent::Reuse,
            Some(at) if now > at + GRACE => Spent::Reuse,
            Some(_) => Spent::Repeats,
            None if now <= made + LOST_AFTER => Spent::Repeats,
            None if now <= made + LOST_AFTER + 2 * GRACE => Spent::Waits,
            None => Spent::Replaces,
        }
    }

    /// The sessions that presented tokens may end: of an unexpired access token, then of a genuine refresh token of any age.
    /// A token that its live session has moved on from has no say.
    pub fn named_by(&self, jar: Jar, node: usize, now: Seconds) -> Vec<usize> {
        let access = jar.access.map(|at| &self.access[at]).filter(|token| now < token.until);
        let access = access.filter(|token| {
            let session = &self.sessions[token.session];
            session.over.is_some() || token.generation >= session.bar.max(session.dead_below)
        });
        let refresh = jar.refresh.map(|at| &self.refresh[at]).filter(|token| {
            let session = &self.sessions[token.session];
            let spent = Self::spend_of_live(session, token.generation, node, now);
            session.over.is_some() || !matches!(spent, Spent::Reuse | Spent::Refused)
        });
        let readable = access.into_iter().chain(refresh).filter(|token| Self::is_readable(token, now));
        let mut named: Vec<usize> = readable.map(|token| token.session).collect();
        named.dedup();
        named
    }

    pub fn everywhere(&self, jar: Jar, node: usize, now: Seconds) -> Everywhere {
        let Some(at) = self.named_by(jar, node, now).first().copied() else {
            return Everywhere::Refused;
        };
        let session = &self.sessions[at];
        match session.over {
            _ if self.may_be_gone(session) => Everywhere::Open(at),
            Some((End::Everywhere, _)) => Everywhere::Done,
            Some(_) => Everywhere::Refused,
            None if session.end <= now => Everywhere::Refused,
            None => Everywhere::Ends(at),
        }
    }

    /// The live sessions of an account.
    pub fn list(&self, account: usize, now: Seconds) -> Vec<&Session> {
        let lives = |session: &&Session| session.over.is_none() && now < session.idle_end && now < session.end;
        self.sessions.iter().filter(|session| session.account == account).filter(lives).collect()
    }

    /// The effect of a check of a live access token at a node: its generation is confirmed.
    pub fn receive(&mut self, access: usize, node: usize, now: Seconds) {
        let token = &self.access[access];
        let session = &mut self.sessions[token.session];
        if token.generation == session.generation && token.generation > 0 {
            session.seen[node].get_or_insert(now);
            session.confirmed.get_or_insert(now);
        }
    }

    /// A node has lost its memory.
    pub fn forget(&mut self, node: usize) {
        self.sessions.iter_mut().for_each(|session| session.seen[node] = None);
    }

    pub fn begin(&mut self, account: usize, id: &str, now: Seconds) -> usize {
        let end = now + SESSION_LIFE;
        self.sessions.push(Session {
            account,
            id: id.to_owned(),
            generation: 0,
            parent: None,
            bar: 0,
            dead_below: 0,
            confirmed: None,
            seen: [None; 2],
            rotated_at: now,
            idle_end: end.min(now + IDLE_LIFE),
            end,
            over: None,
        });
        self.sessions.len() - 1
    }

    pub fn rotate(&mut self, session: usize, parent: Option<i64>, now: Seconds) {
        let session = &mut self.sessions[session];
        session.generation += 1;
        session.parent = parent;
        (session.confirmed, session.seen) = (None, [None; 2]);
        session.rotated_at = now;
        session.idle_end = session.end.min(now + IDLE_LIFE);
    }

    pub fn end(&mut self, session: usize, why: End, now: Seconds) {
        let over = &mut self.sessions[session].over;
        if over.is_none_or(|(earlier, _)| earlier == End::WithAccount) {
            *over = Some((why, now));
        }
    }

    pub fn end_all_but(&mut self, account: usize, stays: Option<usize>, now: Seconds) {
        for at in 0..self.sessions.len() {
            if self.sessions[at].account == account && stays != Some(at) {
                self.end(at, End::WithAccount, now);
            }
        }
    }
}
