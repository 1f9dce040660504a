//! Each action as a request: what the model expects, what the service answers, and what changes in the model.

use doorward::core::{AccountId, AccountStatus};
use serde_json::{Value, json};

use super::actions::{Action, Step, With};
use super::driver::{Cookies, Machine, Verdict, answered, same};
use super::model::{End, Everywhere, Jar, PASSWORDS, ROLES, Seconds, Spent};
use crate::support::Tokens;
use crate::support::http::{Request, Response};

const STATUSES: [AccountStatus; 4] =
    [AccountStatus::Active, AccountStatus::Locked, AccountStatus::Inactive, AccountStatus::Suspended];

/// One request of a client at a node, at the node's time.
#[derive(Clone, Copy)]
struct Turn {
    node: usize,
    now: Seconds,
    client: usize,
    lost: bool,
}

impl Machine {
    pub fn act(&mut self, Step { node, action }: Step) -> Verdict {
        let now = self.now_at(node);
        let turn = |client, lost| Turn { node, now, client, lost };
        match action {
            Action::Register { client, account, with_cookies, lost } => {
                self.register(turn(client, lost), account, with_cookies)
            }
            Action::SignIn { client, account, right, with_cookies, lost } => {
                self.sign_in(turn(client, lost), account, right, with_cookies)
            }
            Action::Me { client } => self.me(turn(client, false)),
            Action::Check { pick } => newest(self.model.access.len(), pick).map_or(Ok(()), |at| self.check(node, at)),
            Action::Refresh { client, in_body, lost } => self.refresh(turn(client, lost), in_body),
            Action::Respend { pick } => {
                newest(self.model.refresh.len(), pick).map_or(Ok(()), |at| self.respend(node, at))
            }
            Action::Forge => self.forge(node),
            Action::SignOut { client, with, lost } => self.sign_out(turn(client, lost), with),
            Action::SignOutEverywhere { client, with } => self.sign_out_everywhere(turn(client, false), with),
            Action::ChangePassword { client, right, to, lost } => self.change_password(turn(client, lost), right, to),
            Action::List { client } => self.list(turn(client, false)),
            Action::End { client, pick } => {
                newest(self.model.sessions.len(), pick).map_or(Ok(()), |at| self.end(turn(client, false), at))
            }
            Action::Sweep => self.sweep(),
            around => self.apply_external(node, now, around),
        }
    }

    /// Actions of the operator, the clock and the machine.
    fn apply_external(&mut self, node: usize, now: Seconds, action: Action) -> Verdict {
        let core = self.node(node).core().clone();
        match action {
            Action::SetStatus { account, status } => {
                let id = self.model.accounts[account].id.expect("registered at the beginning");
                core.set_status(AccountId(id), STATUSES[status]).map_err(|why| why.to_string())?;
                self.model.accounts[account].is_active = status == 0;
                self.model.end_all_but(account, None, now);
            }
            Action::SetRole { account, role } => {
                let id = self.model.accounts[account].id.expect("registered at the beginning");
                core.set_role(AccountId(id), ROLES[role]).map_err(|why| why.to_string())?;
                self.model.accounts[account].role = role;
                self.model.end_all_but(account, None, now);
            }
            Action::CleanUp => drop(core.purge().map_err(|why| why.to_string())?),
            Action::Clock { by } => self.move_clocks(by),
            _ => self.restart(node),
        }
        self.synchronize();
        Ok(())
    }

    fn register(&mut self, turn: Turn, account: usize, with_cookies: bool) -> Verdict {
        let body = json!({ "username": self.model.accounts[account].name, "password": PASSWORDS[0] });
        let jar = if with_cookies { self.model.jars[turn.client] } else { Jar::default() };
        let answer = self.send_request(turn.node, "POST", "/auth/register", jar, Some(&body));
        if self.model.accounts[account].id.is_some() {
            return answered(&answer, 409, Cookies::Kept);
        }
        answered(&answer, 201, Cookies::Set)?;
        let user = &answer.json()["user"];
        let known = &mut self.model.accounts[account];
        (known.id, known.uuid) = (user["id"].as_i64(), user["uuid"].as_str().map(str::to_owned));
        self.enter(turn, account, jar, &answer)
    }

    fn sign_in(&mut self, turn: Turn, account: usize, right: bool, with_cookies: bool) -> Verdict {
        let known = &self.model.accounts[account];
        let password = PASSWORDS[if right { known.password } else { (known.password + 1) % PASSWORDS.len() }];
        let body = json!({ "username": known.name, "password": password });
        let may = known.is_active;
        let jar = if with_cookies { self.model.jars[turn.client] } else { Jar::default() };
        let answer = self.send_request(turn.node, "POST", "/auth/login", jar, Some(&body));
        match (right, may) {
            (false, _) => return answered(&answer, 401, Cookies::Kept),
            (true, false) => return answered(&answer, 403, Cookies::Kept),
            (true, true) => answered(&answer, 200, Cookies::Set)?,
        }
        self.enter(turn, account, jar, &answer)
    }

    /// A session began, and the ones that the client presented are replaced.
    fn enter(&mut self, turn: Turn, account: usize, brought: Jar, answer: &Response) -> Verdict {
        let user = &answer.json()["user"];
        let known = &self.model.accounts[account];
        same("who it is", (known.id, Some(known.name.as_str())), (user["id"].as_i64(), user["username"].as_str()))?;
        for session in self.model.named_by(brought, turn.node, turn.now) {
            self.model.end(session, End::Replaced, turn.now);
        }
        let tokens = tokens_in(answer);
        let id = crate::support::decode_jwt(&tokens.access).1["sid"].as_str().unwrap_or_default().to_owned();
        let session = self.model.begin(account, &id, turn.now);
        let jar = self.take(session, &tokens, &[turn.now])?;
        self.deliver_answer(turn.client, turn.lost, Cookies::Set, jar);
        Ok(())
    }

    fn me(&mut self, turn: Turn) -> Verdict {
        let jar = self.model.jars[turn.client];
        let answer = self.send_request(turn.node, "GET", "/auth/me", jar, None);
        self.check_identity(jar.access, turn.node, turn.now, &answer)
    }

    /// One access token by itself, as a bearer.
    pub fn check(&mut self, node: usize, access: usize) -> Verdict {
        let request = Request::new("GET", "/auth/me").bearer(&self.model.access[access].text);
        let answer = request.send(self.node(node).address());
        self.node(node).core().flush_confirmations().map_err(|why| why.to_string())?;
        let place = |why| format!("access token {access} at node {node}: {why}");
        self.check_identity(Some(access), node, self.now_at(node), &answer).map_err(place)
    }

    /// The answer names the token's account, or is a refusal.
    fn check_identity(&mut self, access: Option<usize>, node: usize, now: Seconds, answer: &Response) -> Verdict {
        let live = access.filter(|access| self.model.is_live(*access, now));
        self.count(if live.is_some() { "accepted" } else { "not accepted" });
        let Some(access) = live else { return answered(answer, 401, Cookies::Kept) };
        answered(answer, 200, Cookies::Kept)?;
        let user = answer.json();
        let account = &self.model.accounts[self.model.sessions[self.model.access[access].session].account];
        let who = (account.id, Some(account.name.as_str()), Some(ROLES[account.role]));
        same("who it is", who, (user["id"].as_i64(), user["username"].as_str(), user["role"].as_str()))?;
        self.model.receive(access, node, now);
        Ok(())
    }

    fn refresh(&mut self, turn: Turn, in_body: bool) -> Verdict {
        let jar = self.model.jars[turn.client];
        let Some(refresh) = jar.refresh else {
            let answer = self.send_request(turn.node, "POST", "/auth/refresh", jar, None);
            return answered(&answer, 401, Cookies::Kept);
        };
        let body = in_body.then(|| json!({ "refreshToken": self.model.refresh[refresh].text }));
        let cookies = if in_body { Jar::default() } else { jar };
        let answer = self.send_request(turn.node, "POST", "/auth/refresh", cookies, body.as_ref());
        let (done, jar) = self.spent(turn.node, refresh, in_body, &answer)?;
        // Tokens in the body are the client's as well; after a refusal it keeps what it had.
        let done = if in_body && answer.status == 200 { Cookies::Set } else { done };
        self.deliver_answer(turn.client, turn.lost, done, jar);
        Ok(())
    }

    /// Any refresh token by itself.
    pub fn respend(&mut self, node: usize, refresh: usize) -> Verdict {
        let alone = Jar { access: None, refresh: Some(refresh) };
        let answer = self.send_request(node, "POST", "/auth/refresh", alone, None);
        self.spent(node, refresh, false, &answer).map(drop)
    }

    fn spent(
        &mut self,
        node: usize,
        refresh: usize,
        in_body: bool,
        answer: &Response,
    ) -> Result<(Cookies, Jar), String> {
        let (now, session) = (self.now_at(node), self.model.refresh[refresh].session);
        let presented = self.model.refresh[refresh].generation;
        let verdict = self.model.spend(refresh, node, now);
        self.count(&format!("{verdict:?}"));
        let (status, cookies) = match verdict {
            Spent::Rotates | Spent::Repeats | Spent::Replaces => (200, Cookies::Set),
            Spent::Stays | Spent::Waits => (200, Cookies::SetAccess),
            Spent::Reuse | Spent::Over => (401, Cookies::Cleared),
            Spent::Refused | Spent::Replaced => (401, Cookies::Kept),
        };
        let cookies = if in_body { Cookies::Kept } else { cookies };
        answered(answer, status, cookies).map_err(|why| format!("{verdict:?}: {why}"))?;
        self.change_by(verdict, session, presented, now);
        if status == 401 {
            return Ok((cookies, Jar::default()));
        }
        let times = [now, self.model.sessions[session].rotated_at];
        if matches!(verdict, Spent::Stays | Spent::Waits) {
            let text = &self.model.refresh[refresh].text;
            same("the refresh token", in_body.then_some(text.as_str()), answer.json()["refreshToken"].as_str())?;
            let access = self.take_access(session, &token_in(answer, "accessToken"), presented, &times)?;
            return Ok((cookies, Jar { access: Some(access), refresh: Some(refresh) }));
        }
        Ok((cookies, self.take(session, &tokens_in(answer), &times)?))
    }

    fn change_by(&mut self, verdict: Spent, session: usize, presented: i64, now: Seconds) {
        match verdict {
            Spent::Rotates => self.model.rotate(session, Some(presented), now),
            Spent::Replaces => {
                self.model.rotate(session, Some(presented), now);
                let session = &mut self.model.sessions[session];
                session.dead_below = session.generation;
            }
            Spent::Stays => {
                self.model.sessions[session].confirmed.get_or_insert(now);
            }
            Spent::Reuse => self.model.end(session, End::Ended, now),
            Spent::Repeats | Spent::Waits | Spent::Over | Spent::Refused | Spent::Replaced => {}
        }
    }

    fn forge(&mut self, node: usize) -> Verdict {
        let mine = self.model.jars.iter().find_map(|jar| Some((jar.access?, jar.refresh?)));
        let text = |(access, refresh): (usize, usize)| {
            (self.model.access[access].text.clone(), self.model.refresh[refresh].text.clone())
        };
        let foreign = (self.foreign.access.clone(), self.foreign.refresh.clone());
        let swapped = mine.map(text).map(|(access, refresh)| (refresh, access));
        for (access, refresh) in [Some(foreign), swapped].into_iter().flatten() {
            let body = json!({ "refreshToken": refresh }).to_string();
            let bearer = |method, path| Request::new(method, path).bearer(&access);
            let requests = [
                Request::new("POST", "/auth/refresh").json(&body),
                bearer("GET", "/auth/me"),
                bearer("GET", "/auth/sessions"),
                bearer("POST", "/auth/logout").json(&body),
                bearer("POST", "/auth/logout-all").json(&body),
            ];
            for request in requests {
                let answer = request.send(self.node(node).address());
                answered(&answer, 401, Cookies::Kept).map_err(|why| format!("{request:?}: {why}"))?;
            }
        }
        Ok(())
    }

    fn sign_out(&mut self, turn: Turn, with: With) -> Verdict {
        let jar = part_of(self.model.jars[turn.client], with);
        let answer = self.send_request(turn.node, "POST", "/auth/logout", jar, None);
        let named = self.model.named_by(jar, turn.node, turn.now);
        let nothing = jar.access.is_none() && jar.refresh.is_none();
        if named.is_empty() && !nothing {
            return answered(&answer, 401, Cookies::Kept);
        }
        answered(&answer, 200, Cookies::Cleared)?;
        for session in named {
            self.model.end(session, End::Ended, turn.now);
        }
        self.deliver_answer(turn.client, turn.lost, Cookies::Cleared, Jar::default());
        Ok(())
    }

    fn sign_out_everywhere(&mut self, turn: Turn, with: With) -> Verdict {
        let jar = part_of(self.model.jars[turn.client], with);
        let answer = self.send_request(turn.node, "POST", "/auth/logout-all", jar, None);
        let verdict = self.model.everywhere(jar, turn.node, turn.now);
        match verdict {
            Everywhere::Ends(_) | Everywhere::Done => {}
            Everywhere::Open(_) if answer.status == 200 => {}
            Everywhere::Refused | Everywhere::Open(_) => return answered(&answer, 401, Cookies::Kept),
        }
        answered(&answer, 200, Cookies::Cleared)?;
        match verdict {
            Everywhere::Ends(session) => {
                self.model.end(session, End::Everywhere, turn.now);
                self.model.end_all_but(self.model.sessions[session].account, None, turn.now);
            }
            Everywhere::Open(session) if self.has_none_left(session) => {
                self.model.end_all_but(self.model.sessions[session].account, None, turn.now);
            }
            _ => {}
        }
        self.deliver_answer(turn.client, turn.lost, Cookies::Cleared, Jar::default());
        Ok(())
    }

    /// Whether the account of a session has no live one, as the service says.
    fn has_none_left(&self, session: usize) -> bool {
        let account = &self.model.accounts[self.model.sessions[session].account];
        let core = self.node(0).core();
        let uuid = core.find_account_by(&account.name).expect("it is there").uuid;
        crate::support::sessions_of(core, uuid).is_empty()
    }

    fn change_password(&mut self, turn: Turn, right: bool, to: usize) -> Verdict {
        let jar = self.model.jars[turn.client];
        let live = jar.access.filter(|access| self.model.is_live(*access, turn.now));
        let session = live.map(|access| self.model.access[access].session);
        let account = session.map_or(0, |session| self.model.sessions[session].account);
        let known = self.model.accounts[account].password;
        let current = if right { PASSWORDS[known] } else { "not-this-harbour-lantern" };
        let body = json!({ "currentPassword": current, "newPassword": PASSWORDS[to] });
        let answer = self.send_request(turn.node, "POST", "/auth/change-password", jar, Some(&body));
        let (Some(access), Some(session)) = (live, session) else { return answered(&answer, 401, Cookies::Kept) };
        self.model.receive(access, turn.node, turn.now);
        match (right, to == known) {
            (false, _) => return answered(&answer, 403, Cookies::Kept),
            (true, true) => return answered(&answer, 422, Cookies::Kept),
            (true, false) => answered(&answer, 200, Cookies::Set)?,
        }
        self.model.accounts[account].password = to;
        self.model.end_all_but(account, Some(session), turn.now);
        self.model.rotate(session, None, turn.now);
        self.model.sessions[session].bar = self.model.sessions[session].generation;
        let jar = self.take(session, &tokens_in(&answer), &[turn.now])?;
        self.deliver_answer(turn.client, turn.lost, Cookies::Set, jar);
        Ok(())
    }

    fn list(&mut self, turn: Turn) -> Verdict {
        let jar = self.model.jars[turn.client];
        let answer = self.send_request(turn.node, "GET", "/auth/sessions", jar, None);
        let Some(access) = jar.access.filter(|access| self.model.is_live(*access, turn.now)) else {
            return answered(&answer, 401, Cookies::Kept);
        };
        answered(&answer, 200, Cookies::Kept)?;
        self.model.receive(access, turn.node, turn.now);
        let own = &self.model.sessions[self.model.access[access].session];
        let shown = |session: &Value| (session["id"].as_str().map(str::to_owned), session["current"] == true);
        let mut list: Vec<_> = answer.json()["sessions"].as_array().into_iter().flatten().map(shown).collect();
        let live = self.model.list(own.account, turn.now);
        let mut expected: Vec<_> = live.iter().map(|one| (Some(one.id.clone()), one.id == own.id)).collect();
        list.sort();
        expected.sort();
        same("the sessions", expected, list)
    }

    fn end(&mut self, turn: Turn, target: usize) -> Verdict {
        let jar = self.model.jars[turn.client];
        let path = format!("/auth/sessions/{}", self.model.sessions[target].id);
        let answer = self.send_request(turn.node, "DELETE", &path, jar, None);
        let Some(access) = jar.access.filter(|access| self.model.is_live(*access, turn.now)) else {
            return answered(&answer, 401, Cookies::Kept);
        };
        self.model.receive(access, turn.node, turn.now);
        let (own, aim) = (self.model.access[access].session, &self.model.sessions[target]);
        if aim.account != self.model.sessions[own].account {
            return answered(&answer, 404, Cookies::Kept);
        }
        let listed = self.model.list(aim.account, turn.now).iter().any(|session| session.id == aim.id);
        // Ending an ended session may be a success or a 404.
        if !listed && answer.status == 404 {
            return answered(&answer, 404, Cookies::Kept);
        }
        let cookies = if own == target { Cookies::Cleared } else { Cookies::Kept };
        answered(&answer, 200, cookies)?;
        self.model.end(target, End::Ended, turn.now);
        self.deliver_answer(turn.client, turn.lost, cookies, Jar::default());
        Ok(())
    }
}

/// The index counted back from the newest, wrapping around.
fn newest(length: usize, pick: usize) -> Option<usize> {
    (length > 0).then(|| length - 1 - pick % length)
}

fn part_of(jar: Jar, with: With) -> Jar {
    Jar {
        access: jar.access.filter(|_| matches!(with, With::Both | With::Access)),
        refresh: jar.refresh.filter(|_| matches!(with, With::Both | With::Refresh)),
    }
}

/// The tokens of an answer, in cookies or in the body.
fn tokens_in(answer: &Response) -> Tokens {
    Tokens { access: token_in(answer, "accessToken"), refresh: token_in(answer, "refreshToken") }
}

fn token_in(answer: &Response, name: &str) -> String {
    let (cookies, body) = (answer.set_cookies(), answer.json());
    let set = cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.clone());
    set.or_else(|| body[name].as_str().map(str::to_owned)).unwrap_or_else(|| panic!("no {name} in {body}"))
}
