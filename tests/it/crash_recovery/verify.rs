//! After a crash: what was in doubt is one thing or the other and never half, and what was acknowledged is there. The
//! client's last facts are looked at one by one, earlier ones by samples.

use super::client::Client;
use super::ledger::{Doubt, Held, Ledger, Person, Unanswered, Wire, tokens_of};
use crate::support::Tokens;
use crate::support::http::Response;
use crate::support::process::{PATIENCE, until};

/// People and ended sessions of earlier cycles that each look takes up again.
const SAMPLE: usize = 4;

impl Client {
    /// Fails unless everything in the ledger is so.
    pub fn verify(&mut self, wire: Wire) {
        self.ledger.settle_doubt(wire);
        let people = self.ledger.people.len();
        let recent = people.saturating_sub(5)..people;
        let sampled: Vec<usize> = (0..SAMPLE).map(|_| self.dice.below(people)).collect();
        for who in recent.chain(sampled).filter(|who| *who < people) {
            self.ledger.people[who].assert_as_left(wire);
        }
        let ended = std::mem::take(&mut self.ledger.ended);
        ended.iter().for_each(|session| session.assert_dead(wire));
        self.ledger.buried.extend(ended);
        for _ in 0..SAMPLE.min(self.ledger.buried.len()) {
            let which = self.dice.below(self.ledger.buried.len());
            self.ledger.buried[which].assert_dead(wire);
        }
    }
}

/// The answer, asked for again while the service says that it cannot tell yet.
fn ask(question: impl Fn() -> Result<Response, Unanswered>) -> Response {
    until(PATIENCE, "an answer", || question().ok())
}

/// A yes or a no.
fn is_yes(answer: &Response) -> bool {
    assert!([200, 401].contains(&answer.status), "{} {}", answer.status, answer.text());
    answer.status == 200
}

fn believes(wire: Wire, access: &str) -> bool {
    is_yes(&ask(|| wire.me(access)))
}

fn lets_in(wire: Wire, name: &str, password: &str) -> Option<Held> {
    let answer = ask(|| wire.sign_in(name, password));
    is_yes(&answer).then(|| Held::new(tokens_of(&answer, 200)))
}

impl Held {
    pub fn assert_dead(&self, wire: Wire) {
        for tokens in [Some(&self.now), self.before.as_ref()].into_iter().flatten() {
            assert!(!believes(wire, &tokens.access), "an access token outlives its acknowledged end");
            let answer = ask(|| wire.refresh(&tokens.refresh));
            assert_eq!(answer.status, 401, "a refresh token outlives its acknowledged end: {}", answer.text());
        }
    }

    /// Fails unless both tokens work and the one before has the same successor as ever.
    fn assert_alive(&mut self, wire: Wire, name: &str) {
        let answer = ask(|| wire.me(&self.now.access));
        assert_eq!(answer.status, 200, "an acknowledged session is lost: {}", answer.text());
        assert_eq!(answer.json()["username"], *name, "somebody else's session");
        if let Some(before) = self.repeatable() {
            let again = tokens_of(&ask(|| wire.refresh(&before.refresh)), 200);
            assert_eq!(again.refresh, self.now.refresh, "two successors of one token");
        }
        self.move_on(one_successor(wire, &self.now.refresh));
    }
}

/// What a refresh token gives, however often it is presented.
fn one_successor(wire: Wire, token: &str) -> Tokens {
    let first = tokens_of(&ask(|| wire.refresh(token)), 200);
    let second = tokens_of(&ask(|| wire.refresh(token)), 200);
    assert_eq!(first.refresh, second.refresh, "two successors of one token");
    first
}

impl Person {
    fn assert_as_left(&mut self, wire: Wire) {
        let entered = lets_in(wire, &self.name, &self.password);
        let entered = entered.unwrap_or_else(|| panic!("{} or its password is lost", self.name));
        assert_eq!(ask(|| wire.sign_out(&entered.now.refresh)).status, 200);
        if let Some(former) = &self.former {
            assert!(lets_in(wire, &self.name, former).is_none(), "{}: a former password lets in", self.name);
        }
        for session in &mut self.sessions {
            session.assert_alive(wire, &self.name);
        }
    }

    /// Whether each session lives, which access and refresh token must agree on; those that live move on.
    fn look_at_sessions(&mut self, wire: Wire) -> Vec<bool> {
        let look = |session: &mut Held| {
            let (access, refreshed) = (believes(wire, &session.now.access), ask(|| wire.refresh(&session.now.refresh)));
            assert_eq!(access, is_yes(&refreshed), "half a session: access {access}, refresh {}", refreshed.text());
            if access {
                session.move_on(tokens_of(&refreshed, 200));
            }
            access
        };
        self.sessions.iter_mut().map(look).collect()
    }
}

impl Ledger {
    fn settle_doubt(&mut self, wire: Wire) {
        let Some((who, doubt)) = self.doubt.take() else { return };
        if let Doubt::SignUp(person) = doubt {
            return self.settle_sign_up(wire, person);
        }
        let person = &mut self.people[who];
        match doubt {
            Doubt::SignUp(_) | Doubt::SignIn => {}
            Doubt::Refresh(which) => {
                let session = &mut person.sessions[which];
                assert!(believes(wire, &session.now.access), "a refresh in flight cost a session");
                let successor = one_successor(wire, &session.now.refresh);
                session.move_on(successor);
            }
            Doubt::SignOut(which) => {
                if !person.look_at_sessions(wire)[which] {
                    self.ended.push(person.sessions.remove(which));
                }
            }
            Doubt::SignOutEverywhere => {
                let alive = person.look_at_sessions(wire);
                assert!(alive.iter().all(|one| *one == alive[0]), "half of the sessions ended: {alive:?}");
                if !alive[0] {
                    self.ended.append(&mut person.sessions);
                }
            }
            Doubt::ChangePassword(new) => self.settle_change(wire, who, new),
        }
    }

    /// A name that is free, or an account that is whole.
    fn settle_sign_up(&mut self, wire: Wire, mut person: Person) {
        let entered = lets_in(wire, &person.name, &person.password);
        let again = ask(|| wire.sign_up(&person));
        person.sessions.push(match entered {
            Some(held) => {
                assert_eq!(again.status, 409, "{}", again.text());
                held
            }
            None => Held::new(tokens_of(&again, 201)),
        });
        self.people.push(person);
    }

    /// The old password and every session, or the new password and none.
    fn settle_change(&mut self, wire: Wire, who: usize, new: String) {
        let person = &mut self.people[who];
        let [by_old, by_new] = [&person.password, &new].map(|password| lets_in(wire, &person.name, password));
        assert!(by_old.is_some() != by_new.is_some(), "{}: old and new password say the same", person.name);
        let (changed, alive) = (by_new.is_some(), person.look_at_sessions(wire));
        assert!(alive.iter().all(|one| *one != changed), "half a change of password: changed {changed}, {alive:?}");
        if changed {
            person.former = Some(std::mem::replace(&mut person.password, new));
            self.ended.append(&mut person.sessions);
        }
        person.sessions.extend(by_old.into_iter().chain(by_new));
    }
}
