//! Verification after a crash: every act in doubt happened as a whole or not at all, and every acknowledged act is
//! there. The latest acts of a client are verified one by one, earlier ones by samples.

use super::client::Client;
use super::ledger::{Doubt, Held, Ledger, Person, Unanswered, Wire, tokens_of};
use crate::support::Tokens;
use crate::support::http::Response;
use crate::support::process::{PATIENCE, until};

/// Accounts and ended sessions of earlier cycles that each verification samples.
const SAMPLE: usize = 4;

impl Client {
    /// Fails unless everything in the ledger is true.
    pub fn verify(&mut self, wire: Wire) {
        self.ledger.settle_doubt(wire);
        let people = self.ledger.people.len();
        let recent = people.saturating_sub(5)..people;
        let sampled: Vec<usize> = (0..SAMPLE).map(|_| self.rng.below(people)).collect();
        for who in recent.chain(sampled).filter(|who| *who < people) {
            self.ledger.people[who].assert_as_left(wire);
        }
        let ended = std::mem::take(&mut self.ledger.ended);
        ended.iter().for_each(|session| session.assert_invalid(wire));
        self.ledger.ended_before.extend(ended);
        for _ in 0..SAMPLE.min(self.ledger.ended_before.len()) {
            let which = self.rng.below(self.ledger.ended_before.len());
            self.ledger.ended_before[which].assert_invalid(wire);
        }
    }
}

/// The answer, retried while the service answers 503.
fn retry_while_unavailable(request: impl Fn() -> Result<Response, Unanswered>) -> Response {
    until(PATIENCE, "an answer", || request().ok())
}

/// Whether the answer is a success; anything but a success or a refusal fails.
fn is_success(answer: &Response) -> bool {
    assert!([200, 401].contains(&answer.status), "{} {}", answer.status, answer.text());
    answer.status == 200
}

fn accepts(wire: Wire, access: &str) -> bool {
    is_success(&retry_while_unavailable(|| wire.me(access)))
}

fn signs_in(wire: Wire, name: &str, password: &str) -> Option<Held> {
    let answer = retry_while_unavailable(|| wire.sign_in(name, password));
    is_success(&answer).then(|| Held::new(tokens_of(&answer, 200)))
}

impl Held {
    pub fn assert_invalid(&self, wire: Wire) {
        for tokens in [Some(&self.now), self.before.as_ref()].into_iter().flatten() {
            assert!(!accepts(wire, &tokens.access), "an access token outlives its acknowledged end");
            let answer = retry_while_unavailable(|| wire.refresh(&tokens.refresh));
            assert_eq!(answer.status, 401, "a refresh token outlives its acknowledged end: {}", answer.text());
        }
    }

    /// Fails unless both tokens work and the former refresh token still has the same successor.
    fn assert_valid(&mut self, wire: Wire, name: &str) {
        let answer = retry_while_unavailable(|| wire.me(&self.now.access));
        assert_eq!(answer.status, 200, "an acknowledged session is lost: {}", answer.text());
        assert_eq!(answer.json()["username"], *name, "another account's session");
        if let Some(before) = self.repeatable() {
            let again = tokens_of(&retry_while_unavailable(|| wire.refresh(&before.refresh)), 200);
            assert_eq!(again.refresh, self.now.refresh, "two successors of one token");
        }
        self.move_on(one_successor(wire, &self.now.refresh));
    }
}

/// What a refresh token gives: itself while it is too young, then a successor that is the same at every attempt.
fn one_successor(wire: Wire, token: &str) -> Tokens {
    let refresh = || tokens_of(&retry_while_unavailable(|| wire.refresh(token)), 200);
    let (mut last, again) = (refresh(), refresh());
    if last.refresh == token {
        last = again;
    } else {
        assert_eq!(last.refresh, again.refresh, "two successors of one token");
    }
    let third = refresh();
    assert!(last.refresh == token || last.refresh == third.refresh, "two successors of one token");
    third
}

impl Person {
    fn assert_as_left(&mut self, wire: Wire) {
        let entered = signs_in(wire, &self.name, &self.password);
        let entered = entered.unwrap_or_else(|| panic!("{} or its password is lost", self.name));
        assert_eq!(retry_while_unavailable(|| wire.sign_out(&entered.now.refresh)).status, 200);
        if let Some(former) = &self.former {
            assert!(signs_in(wire, &self.name, former).is_none(), "{}: a former password lets in", self.name);
        }
        for session in &mut self.sessions {
            session.assert_valid(wire, &self.name);
        }
    }

    /// Whether each session is live, on which access and refresh token must agree; live ones are refreshed.
    fn verify_sessions(&mut self, wire: Wire) -> Vec<bool> {
        let check = |session: &mut Held| {
            let (access, refreshed) =
                (accepts(wire, &session.now.access), retry_while_unavailable(|| wire.refresh(&session.now.refresh)));
            assert_eq!(access, is_success(&refreshed), "half a session: access {access}, refresh {}", refreshed.text());
            if access {
                session.move_on(tokens_of(&refreshed, 200));
            }
            access
        };
        self.sessions.iter_mut().map(check).collect()
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
                assert!(accepts(wire, &session.now.access), "a refresh in flight cost a session");
                let successor = one_successor(wire, &session.now.refresh);
                session.move_on(successor);
            }
            Doubt::SignOut(which) => {
                if !person.verify_sessions(wire)[which] {
                    self.ended.push(person.sessions.remove(which));
                }
            }
            Doubt::SignOutEverywhere => {
                let alive = person.verify_sessions(wire);
                assert!(alive.iter().all(|one| *one == alive[0]), "half of the sessions ended: {alive:?}");
                if !alive[0] {
                    self.ended.append(&mut person.sessions);
                }
            }
            Doubt::ChangePassword(new) => self.settle_change(wire, who, new),
        }
    }

    /// A sign-up in doubt: the name is free, or the account is complete.
    fn settle_sign_up(&mut self, wire: Wire, mut person: Person) {
        let entered = signs_in(wire, &person.name, &person.password);
        let again = retry_while_unavailable(|| wire.sign_up(&person));
        person.sessions.push(match entered {
            Some(held) => {
                assert_eq!(again.status, 409, "{}", again.text());
                held
            }
            None => Held::new(tokens_of(&again, 201)),
        });
        self.people.push(person);
    }

    /// A password change in doubt: the old password with every session, or the new password without them.
    fn settle_change(&mut self, wire: Wire, who: usize, new: String) {
        let person = &mut self.people[who];
        let [by_old, by_new] = [&person.password, &new].map(|password| signs_in(wire, &person.name, password));
        assert!(by_old.is_some() != by_new.is_some(), "{}: old and new password say the same", person.name);
        let (changed, alive) = (by_new.is_some(), person.verify_sessions(wire));
        assert!(alive.iter().all(|one| *one != changed), "half a change of password: changed {changed}, {alive:?}");
        if changed {
            person.former = Some(std::mem::replace(&mut person.password, new));
            self.ended.append(&mut person.sessions);
        }
        person.sessions.extend(by_old.into_iter().chain(by_new));
    }
}
