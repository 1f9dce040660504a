//! Random client: a random mix of acts, each recorded once it is acknowledged, until an answer is missing. A refusal is
//! a failure here, since the client does nothing that may be refused.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ledger::{Doubt, Held, Ledger, Person, Unanswered, Wire, tokens_of};
use crate::support::PASSWORD;
use crate::support::rng::Rng;

/// The most sessions of one account.
const SESSIONS: usize = 4;

/// Accounts that a client acts for at a time; older ones rest and must be found as they were left.
const BUSY: usize = 4;

/// A client: its number, its random numbers, its ledger.
pub struct Client {
    number: usize,
    pub rng: Rng,
    pub ledger: Ledger,
}

impl Client {
    pub fn some(clients: usize, rng: &mut Rng) -> Vec<Self> {
        (0..clients).map(|number| Self { number, rng: rng.part(), ledger: Ledger::default() }).collect()
    }

    /// Acts until stopped, or until an answer is missing: that act is then in doubt.
    pub fn act_until(&mut self, stop: &AtomicBool, wire: Wire) {
        while !stop.load(Ordering::Relaxed) {
            if self.act(wire).is_err() {
                return;
            }
            self.ledger.doubt = None;
            self.ledger.acknowledged += 1;
        }
    }

    fn act(&mut self, wire: Wire) -> Result<(), Unanswered> {
        let people = self.ledger.people.len();
        if people < BUSY || self.rng.below(40) == 0 {
            return self.sign_up(wire);
        }
        let who = people - 1 - self.rng.below(BUSY);
        let sessions = self.ledger.people[who].sessions.len();
        if sessions == 0 {
            return self.sign_in(wire, who);
        }
        let which = self.rng.below(sessions);
        match self.rng.below(100) {
            0..20 if sessions < SESSIONS => self.sign_in(wire, who),
            0..50 => self.refresh(wire, who, which),
            50..60 => self.refresh_in_two_tabs(wire, who, which),
            60..72 => self.check(wire, who, which),
            72..88 => self.sign_out(wire, who, which),
            88..92 => self.sign_out_everywhere(wire, who, which),
            _ => self.change_password(wire, who, which),
        }
    }

    fn in_doubt(&mut self, who: usize, doubt: Doubt) -> &mut Person {
        self.ledger.doubt = Some((who, doubt));
        &mut self.ledger.people[who]
    }

    fn sign_up(&mut self, wire: Wire) -> Result<(), Unanswered> {
        let (who, client) = (self.ledger.people.len(), self.number);
        let person = |sessions| Person {
            name: format!("emily{client}x{who}"),
            password: PASSWORD.to_owned(),
            former: None,
            sessions,
        };
        self.ledger.doubt = Some((who, Doubt::SignUp(person(vec![]))));
        let tokens = tokens_of(&wire.sign_up(&person(vec![]))?, 201);
        self.ledger.people.push(person(vec![Held::new(tokens)]));
        Ok(())
    }

    fn sign_in(&mut self, wire: Wire, who: usize) -> Result<(), Unanswered> {
        let person = self.in_doubt(who, Doubt::SignIn);
        let tokens = tokens_of(&wire.sign_in(&person.name, &person.password)?, 200);
        person.sessions.push(Held::new(tokens));
        Ok(())
    }

    fn refresh(&mut self, wire: Wire, who: usize, which: usize) -> Result<(), Unanswered> {
        let session = &mut self.in_doubt(who, Doubt::Refresh(which)).sessions[which];
        let tokens = tokens_of(&wire.refresh(&session.now.refresh)?, 200);
        session.move_on(tokens);
        Ok(())
    }

    /// Both tabs get the same token, which may be the one that they presented; one of them may be the later one.
    fn refresh_in_two_tabs(&mut self, wire: Wire, who: usize, which: usize) -> Result<(), Unanswered> {
        let session = &mut self.in_doubt(who, Doubt::Refresh(which)).sessions[which];
        let token = session.now.refresh.clone();
        let (one, other) = std::thread::scope(|scope| {
            let tab = scope.spawn(|| wire.refresh(&token));
            (wire.refresh(&token), tab.join().unwrap())
        });
        let answered: Vec<_> = [one, other].into_iter().flatten().map(|answer| tokens_of(&answer, 200)).collect();
        let (same, next): (Vec<_>, Vec<_>) = answered.into_iter().partition(|tokens| tokens.refresh == token);
        if let [one, other] = next.as_slice() {
            assert_eq!(one.refresh, other.refresh, "two successors of one token");
        }
        session.move_on(next.into_iter().chain(same).next().ok_or(Unanswered)?);
        Ok(())
    }

    /// A check, which confirms the generation. It changes nothing that could be in doubt.
    fn check(&mut self, wire: Wire, who: usize, which: usize) -> Result<(), Unanswered> {
        let answer = wire.me(&self.ledger.people[who].sessions[which].now.access)?;
        assert_eq!(answer.status, 200, "a live session is refused: {}", answer.text());
        Ok(())
    }

    fn sign_out(&mut self, wire: Wire, who: usize, which: usize) -> Result<(), Unanswered> {
        let person = self.in_doubt(who, Doubt::SignOut(which));
        let answer = wire.sign_out(&person.sessions[which].now.refresh)?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let ended = person.sessions.remove(which);
        self.ledger.ended.push(ended);
        Ok(())
    }

    fn sign_out_everywhere(&mut self, wire: Wire, who: usize, which: usize) -> Result<(), Unanswered> {
        let person = self.in_doubt(who, Doubt::SignOutEverywhere);
        let answer = wire.sign_out_everywhere(&person.sessions[which].now.access)?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let ended = std::mem::take(&mut person.sessions);
        self.ledger.ended.extend(ended);
        Ok(())
    }

    fn change_password(&mut self, wire: Wire, who: usize, which: usize) -> Result<(), Unanswered> {
        let new = format!("{PASSWORD}-{}", self.rng.below(1 << 30));
        let person = self.in_doubt(who, Doubt::ChangePassword(new.clone()));
        let answer = wire.change_password(&person.sessions[which].now, &person.password, &new)?;
        let goes_on = Held::new(tokens_of(&answer, 200));
        person.former = Some(std::mem::replace(&mut person.password, new));
        // The session that made the change continues; its former tokens are as invalid as the other sessions.
        let ended = std::mem::replace(&mut person.sessions, vec![goes_on]);
        self.ledger.ended.extend(ended);
        Ok(())
    }
}
