//! Model of one session under refresh: several concurrent requests of one cookie jar, delayed, reordered and lost; a thief who
//! copied the jar; two nodes with confirmations in memory, and their crashes; time, in ticks. state.rs has what each event
//! does.
//!
//! Neither the time nor the number of rotations is bounded. Times are kept as ages, up to the age from which nothing
//! depends on them any more, and generations by what they are to the current one, so that the states are finite and the
//! exploration covers all runs, however long.
//!
//! A request takes at most `travel` ticks until it is decided and written, and so does an answer, or it is lost. The client
//! may refresh at any time, and an access token may be checked at any time: their lifetimes only make some of these runs
//! impossible. A renewal at a check, or at a mount whose wire has no place for a refresh token, is for the current
//! generation only and marks it in memory, so it is a check. The fast path is a reading and a writing with nothing between.

mod state;

use std::time::Duration;

use doorward::core::session::refresh::decide::{RotationRules, Verdict};
use stateright::{Model, Property};

use super::rows::{Writing, gives_tokens};
pub use state::State;
use state::{CURRENT, NOW, OWNER_LOST, Step, Write};

pub const FINAL: &str = "a session that ended stays ended";
pub const ONE_LIVE: &str = "a rotation makes the successor of the current generation, once";
pub const HONEST: &str = "a client that presents what its jar holds is not signed out";
pub const FOUND: &str = "who comes with a generation whose successor was presented over a grace ago gets no tokens";
pub const VOID: &str = "a void generation gives no tokens";

const TICK: Duration = Duration::from_secs(10);

/// The thief, who has copied the jar once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thief {
    None,
    /// Refreshes once, with what the owner holds as well, and never shows what he got.
    Hides,
    /// Refreshes, checks and renews with anything that he ever got, whenever he likes: he uses it, hides it, leapfrogs.
    Any,
}

/// The rules, and what they are without one of their parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    AsWritten,
    /// The current generation is rotated whenever it is presented: the first version of the protocol.
    WithoutYouth,
    /// A generation is young for one grace after its confirmation, instead of two.
    YoungForOneGrace,
    /// A successor counts as lost as soon as it is no longer replayed.
    LostAtOnce,
    /// One grace after that, instead of two.
    LostAfterOneGrace,
    /// A generation that was replaced is answered as a parent.
    VoidAccepted,
    /// The answer with the same refresh token is stored like one with a new one.
    ReissueIsStored,
}

/// The parameters of the model.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    pub writing: Writing,
    pub rules: Rules,
    pub thief: Thief,
    /// Whether the owner may act between the reading and the writing of the thief's refresh.
    pub slow_thief: bool,
    /// Concurrent requests of the owner.
    pub requests: usize,
    pub crashes: bool,
    /// The settings, in ticks.
    pub grace: u32,
    pub lost_after: u32,
    /// How long a request or an answer may take, in ticks.
    pub travel: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Send,
    /// The request is decided at a node.
    Read(usize, usize),
    Write(usize),
    Deliver(usize),
    Lose(usize),
    /// The owner's access token is checked at a node.
    Check(usize),
    Steal,
    /// The thief refreshes with a generation, at a node.
    Spend(i64, usize),
    SpendWrite,
    /// The thief's access token is checked at a node.
    Use(i64, usize),
    FlushConfirmations(usize),
    Crash(usize),
    Tick,
}

impl Rotation {
    pub fn grace(&self) -> Duration {
        TICK * self.grace
    }

    /// The production's decision, or the broken variant's.
    fn verdict(&self, state: &State, presented: i64, node: usize) -> Verdict {
        let confirmed = state.confirmed(node);
        let rules = RotationRules { rotates: true, grace: self.grace(), lost_after: TICK * self.lost_after };
        let verdict = state.row.verdict_by(&rules, NOW, presented, 0, confirmed);
        let passed = |time| NOW > state.row.rotated_at.plus(TICK * self.lost_after + time);
        match (self.rules, &verdict) {
            (Rules::WithoutYouth, Verdict::Reissue) => Verdict::Rotate,
            (Rules::YoungForOneGrace, Verdict::Reissue) if confirmed.is_some_and(|at| NOW > at.plus(self.grace())) => {
                Verdict::Rotate
            }
            (Rules::LostAtOnce, Verdict::ReissueParent) => Verdict::ReplaceUnconfirmed,
            (Rules::LostAfterOneGrace, Verdict::ReissueParent) if passed(self.grace()) => Verdict::ReplaceUnconfirmed,
            (Rules::VoidAccepted, Verdict::Reuse) if presented == state::VOIDED => Verdict::Replay,
            _ => verdict,
        }
    }

    /// The age from which nothing depends on a time.
    fn oldest(&self) -> Duration {
        TICK * (self.lost_after + 2 * self.grace + 1)
    }

    fn thief_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !state.has_stolen && state.jar.is_some() {
            actions.push(Action::Steal);
        }
        if state.theft.is_some() {
            actions.push(Action::SpendWrite);
        }
        for generation in state.held() {
            for node in state.nodes() {
                let hides = !state.has_spent && state.jar == Some(generation);
                if state.theft.is_none() && (self.thief == Thief::Any || hides) {
                    actions.push(Action::Spend(generation, node));
                }
                if self.thief == Thief::Any {
                    actions.push(Action::Use(generation, node));
                }
            }
        }
    }

    /// Whether a client of the session sends a request that is decided so, at some node.
    fn is_decided(&self, state: &State, is: impl Fn(&Verdict) -> bool) -> bool {
        let sent = state.flights.iter().filter(|flight| flight.step == Step::Sent);
        let mut presented = sent.map(|flight| flight.presented);
        presented.any(|presented| (0..2).any(|node| is(&self.verdict(state, presented, node))))
    }

    fn always() -> Vec<Property<Self>> {
        vec![
            Property::always(FINAL, |_, state: &State| state.broke != Some(FINAL)),
            Property::always(ONE_LIVE, |_, state: &State| state.broke != Some(ONE_LIVE)),
            Property::always(HONEST, |_, state: &State| state.broke != Some(HONEST)),
            Property::always(FOUND, |_, state: &State| state.broke != Some(FOUND)),
            Property::always(VOID, |_, state: &State| state.broke != Some(VOID)),
        ]
    }

    fn of_the_owner() -> Vec<Property<Self>> {
        vec![
            Property::sometimes("the owner's refresh rotates", |world: &Self, state: &State| {
                world.is_decided(state, |verdict| *verdict == Verdict::Rotate)
            }),
            Property::sometimes("a young generation is answered again", |world, state| {
                world.is_decided(state, |verdict| *verdict == Verdict::Reissue)
            }),
            Property::sometimes("a parent gets its successor", |world, state| {
                world.is_decided(state, |verdict| *verdict == Verdict::Replay)
            }),
            Property::sometimes("a parent gets an access token alone", |world, state| {
                world.is_decided(state, |verdict| *verdict == Verdict::ReissueParent)
            }),
            Property::sometimes("a successor that was not presented is replaced", |world, state| {
                world.is_decided(state, |verdict| *verdict == Verdict::ReplaceUnconfirmed)
            }),
        ]
    }

    fn of_the_thief(&self) -> Vec<Property<Self>> {
        let mut all = vec![Property::sometimes("a thief gets tokens", |_: &Self, state: &State| {
            state.has_spent && state.held().any(|generation| generation == CURRENT)
        })];
        if self.thief == Thief::Any {
            all.extend([
                Property::sometimes("the owner's refresh finds the thief", |_, state: &State| {
                    state.flights.iter().any(|flight| matches!(flight.step, Step::Write(Write::End, _)))
                }),
                Property::sometimes("the thief's refresh finds the thief", |_, state: &State| {
                    state.thief_found_himself
                }),
                Property::sometimes(
                    "the thief is shut out while the session lives on",
                    |world: &Self, state: &State| {
                        let alive =
                            |generation| (0..2).any(|node| gives_tokens(&world.verdict(state, generation, node)));
                        state.row.ended.is_none() && state.held().count() > 0 && !state.held().any(alive)
                    },
                ),
                Property::sometimes("the thief holds a void generation", |_, state: &State| {
                    state.held().any(|generation| generation == state::VOIDED)
                }),
            ]);
        }
        if self.thief == Thief::Hides {
            all.push(Property::sometimes("what the thief hides is void", |_, state: &State| {
                state.held().any(|generation| generation == state::VOIDED) && state.jar == Some(CURRENT)
            }));
        }
        all
    }
}

impl Model for Rotation {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broke.is_some() {
            return;
        }
        if state.flights.len() < self.requests && state.jar.is_some() {
            actions.push(Action::Send);
        }
        for (at, flight) in state.flights.iter().enumerate() {
            // Equal requests are interchangeable.
            if at > 0 && state.flights[at - 1] == *flight {
                continue;
            }
            actions.push(Action::Lose(at));
            match flight.step {
                Step::Sent => actions.extend(state.nodes().map(|node| Action::Read(at, node))),
                Step::Write(..) => actions.push(Action::Write(at)),
                Step::Answered { .. } => actions.push(Action::Deliver(at)),
            }
        }
        if state.jar.is_some() {
            actions.extend(state.nodes().map(Action::Check));
        }
        if self.thief != Thief::None {
            self.thief_actions(state, actions);
        }
        for node in (0..2).filter(|node| state.marks[*node].is_some()) {
            actions.push(Action::FlushConfirmations(node));
            if self.crashes {
                actions.push(Action::Crash(node));
            }
        }
        if state.flights.iter().chain(&state.theft).all(|flight| flight.age < self.travel) {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Send => state.send(),
            Action::Read(at, node) => state.read(self, at, node),
            Action::Write(at) => state.write(self, at),
            Action::Deliver(at) => state.deliver(at),
            Action::Lose(at) => drop(state.flights.remove(at)),
            Action::Check(node) => state.check(state.jar?, node),
            Action::Steal => state.steal(),
            Action::Spend(generation, node) => state.spend(self, generation, node),
            Action::SpendWrite => state.spend_write(self),
            Action::Use(generation, node) => {
                state.has_acted = true;
                state.check(generation, node);
            }
            Action::FlushConfirmations(node) => state.flush_confirmations(node),
            Action::Crash(node) => state.crash(node),
            Action::Tick => state.tick(TICK, self.oldest()),
        }
        state.normalize();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = Self::always();
        if self.rules == Rules::AsWritten {
            all.extend(Self::of_the_owner());
        }
        if self.writing == Writing::CompareAndSet && (self.requests > 1 || self.thief != Thief::None) {
            all.push(Property::sometimes(OWNER_LOST, |_, state: &State| state.has_a_race_to_lose()));
        }
        if self.thief != Thief::None {
            all.extend(self.of_the_thief());
        }
        all
    }
}
