//! Model of one session under refresh: two tabs with a shared cookie jar, a thief, two nodes with confirmations in
//! memory, lost and reordered answers, a crash. A beat is the lifetime of an access token, far longer than a grace.
//!
//! Assumed of honest browsers: a request or an answer travels for no longer than a beat, and a tab refreshes when its
//! access token has expired ([`Habit::WhenExpired`]), or at any time ([`Habit::AtAnyTime`]).

use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::session::end_reason::EndReason;
use doorward::core::session::refresh::decide::Verdict;
use stateright::{Model, Property};

use super::rows::{GRACE, Row, START, Writing, clears_cookies, seen};

const BEAT: Duration = Duration::from_secs(900);
const TABS: usize = 2;

pub const FINAL: &str = "a session that ended stays ended";
pub const ONE_LIVE: &str = "a session has one live generation, and each is made once";
pub const HONEST: &str = "no honest client is logged out by the protocol";
pub const FOUND: &str = "who comes with a spent token whose successor was used a beat ago gets no tokens";

/// When a tab refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    WhenExpired,
    AtAnyTime,
}

/// The parameters of the model.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    pub writing: Writing,
    pub habit: Habit,
    pub tabs: usize,
    pub thief: bool,
    pub beats: u8,
    pub crashes: u8,
    /// The exploration stops at this generation.
    pub generations: i64,
}

/// Tabs 0 and 1 share the jar, and refresh at node 0 and 1; 2 is the thief. Checks go to any node.
type Who = usize;
const THIEF: Who = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Sent,
    Read { row: Row, verdict: Act },
    Answered(Answer),
}

/// A pending write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    Rotate,
    Reissue,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Tokens { generation: i64, again: bool },
    Reused,
    Refused { clears: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flight {
    node: usize,
    presented: i64,
    lost_a_race: bool,
    step: Step,
}

/// The tokens that a client holds, and the beat of the access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    generation: i64,
    beat: u8,
}

/// A generation was used at a node, and whether the table knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Use {
    generation: i64,
    beat: u8,
    node: usize,
    written: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    beat: u8,
    row: Row,
    rotations: i64,
    marks: [Option<(i64, Timestamp, bool)>; 2],
    flights: [Option<Flight>; 3],
    jar: Option<Held>,
    stolen: Option<Held>,
    stole: bool,
    acted: bool,
    crashes: u8,
    last_use: Option<Use>,
    found_by: Option<Who>,
    /// The invariant that was broken first.
    broke: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Steal,
    Send(Who, usize),
    Read(Who),
    Write(Who),
    Deliver(Who),
    Lose(Who),
    Check(Who, usize),
    WriteReceipts(usize),
    Crash(usize),
    Beat,
}

impl State {
    fn now(&self) -> Timestamp {
        START.plus(BEAT * u32::from(self.beat))
    }

    fn held(&self, who: Who) -> Option<Held> {
        if who == THIEF { self.stolen } else { self.jar }
    }

    fn set_held(&mut self, who: Who, held: Option<Held>) {
        *(if who == THIEF { &mut self.stolen } else { &mut self.jar }) = held;
    }

    /// Whether and when the current generation was confirmed, by the production's own code.
    fn confirmed(&self, node: usize) -> Option<Timestamp> {
        let marked = self.marks[node].map(|(generation, at, _)| (generation, at));
        self.row.first_confirmation(marked.and_then(|mark| seen(mark, self.row.generation)))
    }

    fn read(&mut self, who: Who, mut flight: Flight) -> Flight {
        let (now, row) = (self.now(), self.row);
        let verdict = row.verdict(now, flight.presented, 0, self.confirmed(flight.node));
        let repeats = now <= row.rotated_at.plus(GRACE);
        let again = Answer::Tokens { generation: row.generation, again: true };
        flight.step = match verdict {
            Verdict::Rotate => Step::Read { row, verdict: Act::Rotate },
            Verdict::Replay if repeats => Step::Answered(again),
            Verdict::Replay | Verdict::Keep => Step::Read { row, verdict: Act::Reissue },
            Verdict::Reuse => Step::Read { row, verdict: Act::End },
            Verdict::Refuse(refusal) => Step::Answered(Answer::Refused { clears: clears_cookies(refusal) }),
        };
        let gets_none =
            matches!(flight.step, Step::Read { verdict: Act::End, .. } | Step::Answered(Answer::Refused { .. }));
        self.promise(FOUND, gets_none || !self.must_be_found(&flight));
        self.acted |= who == THIEF;
        flight
    }

    /// The invariant, stated independently of the production's rules.
    fn must_be_found(&self, flight: &Flight) -> bool {
        self.last_use.is_some_and(|used| {
            let known = used.written || used.node == flight.node;
            known && used.generation > flight.presented && used.beat < self.beat
        })
    }

    fn write(&mut self, world: &Rotation, who: Who, mut flight: Flight) -> Flight {
        let Step::Read { row, verdict } = flight.step else { return flight };
        let (now, was_ended) = (self.now(), self.row.ended.is_some());
        let done = match verdict {
            Act::Rotate if self.row.rotate(&row, now, world.writing) => {
                self.rotations += 1;
                Some(Answer::Tokens { generation: row.generation + 1, again: false })
            }
            Act::Reissue if self.row.touch(row.generation) => {
                Some(Answer::Tokens { generation: row.generation, again: true })
            }
            Act::Rotate | Act::Reissue => None,
            Act::End => {
                if self.row.end(now, EndReason::RefreshReuse) {
                    self.found_by = Some(who);
                }
                Some(Answer::Reused)
            }
        };
        self.promise(FINAL, !was_ended || self.row.ended.is_some());
        flight.lost_a_race |= done.is_none();
        flight.step = done.map_or(Step::Sent, Step::Answered);
        flight
    }

    fn deliver(&mut self, who: Who, answer: Answer) {
        match answer {
            Answer::Tokens { generation, .. } => {
                self.set_held(who, Some(Held { generation, beat: self.beat }));
            }
            Answer::Refused { clears: false } => {}
            Answer::Reused | Answer::Refused { clears: true } => self.set_held(who, None),
        }
        let refused = !matches!(answer, Answer::Tokens { .. });
        self.promise(HONEST, !refused || who == THIEF || self.acted);
    }

    fn promise(&mut self, promise: &'static str, kept: bool) {
        if !kept {
            self.broke.get_or_insert(promise);
        }
    }

    /// A check of an access token: if allowed, it is a confirmation in the node's memory.
    fn check(&mut self, who: Who, held: Held, node: usize) {
        self.acted |= who == THIEF;
        if self.row.ended.is_some() || held.generation == 0 {
            return;
        }
        if self.marks[node].is_none_or(|(generation, ..)| generation < held.generation) {
            self.marks[node] = Some((held.generation, self.now(), false));
        }
        if self.last_use.is_none_or(|used| used.generation < held.generation) {
            self.last_use = Some(Use { generation: held.generation, beat: self.beat, node, written: false });
        }
    }

    fn flush_confirmations(&mut self, node: usize) {
        let Some((generation, at, false)) = self.marks[node] else { return };
        self.row.confirm(generation, at);
        self.marks[node] = Some((generation, at, true));
        let taken = self.row.confirmed_at == Some(at);
        if let Some(used) = self.last_use.as_mut().filter(|used| taken && used.generation == generation) {
            used.written |= used.node == node;
        }
    }

    /// Normalises states that do not differ: an answer on its way to the thief, a confirmation without effect.
    fn settle(&mut self) {
        let answered = self.flights[THIEF].take_if(|flight| matches!(flight.step, Step::Answered(_)));
        if let Some(Flight { step: Step::Answered(answer), .. }) = answered {
            self.deliver(THIEF, answer);
        }
        let current = self.row.generation;
        for mark in &mut self.marks {
            mark.take_if(|(generation, at, _)| *generation < current && seen((*generation, *at), current).is_none());
        }
    }

    /// The node's memory is lost, and so are its unanswered requests.
    fn crash(&mut self, node: usize) {
        self.crashes += 1;
        self.marks[node] = None;
        for flight in &mut self.flights {
            flight.take_if(|flight| flight.node == node);
        }
        self.last_use.take_if(|used| used.node == node && !used.written);
    }
}

impl Model for Rotation {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let jar = Held { generation: 0, beat: 0 };
        vec![State {
            beat: 1,
            row: Row::new(START.plus(BEAT * 1000)),
            rotations: 0,
            marks: [None; 2],
            flights: [None; 3],
            jar: Some(jar),
            stolen: None,
            stole: false,
            acted: false,
            crashes: 0,
            last_use: None,
            found_by: None,
            broke: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if self.thief && !state.stole && state.jar.is_some() {
            actions.push(Action::Steal);
        }
        for who in 0..3 {
            // With a tab at each node, the thief at one of them stands for both.
            let nodes = if who == THIEF { 0..(3 - self.tabs) } else { who..who + 1 };
            match state.flights[who].map(|flight| flight.step) {
                None if who >= self.tabs && who != THIEF => {}
                None => {
                    let expired = |held: Held| held.beat < state.beat || who == THIEF;
                    let may = |held: Held| expired(held) || self.habit == Habit::AtAnyTime;
                    if state.held(who).is_some_and(may) {
                        actions.extend(nodes.map(|node| Action::Send(who, node)));
                    }
                }
                Some(Step::Sent) => actions.push(Action::Read(who)),
                Some(Step::Read { .. }) => actions.push(Action::Write(who)),
                Some(Step::Answered(_)) => actions.extend([Action::Deliver(who), Action::Lose(who)]),
            }
        }
        for who in [0, THIEF] {
            if state.held(who).is_some_and(|held| held.beat == state.beat && held.generation > 0) {
                actions.extend((0..2).map(|node| Action::Check(who, node)));
            }
        }
        for node in 0..2 {
            if state.marks[node].is_some_and(|(.., written)| !written) {
                actions.push(Action::WriteReceipts(node));
            }
            if state.crashes < self.crashes {
                actions.push(Action::Crash(node));
            }
        }
        if state.beat < self.beats && state.flights[..TABS].iter().all(Option::is_none) {
            actions.push(Action::Beat);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Steal => (state.stolen, state.stole) = (state.jar, true),
            Action::Send(who, node) => {
                let presented = state.held(who)?.generation;
                let flight = Flight { node, presented, lost_a_race: false, step: Step::Sent };
                // A slow request of the thief is equivalent to a later one.
                state.flights[who] = Some(if who == THIEF { state.read(who, flight) } else { flight });
            }
            Action::Read(who) => state.flights[who] = Some(state.read(who, last.flights[who]?)),
            Action::Write(who) => state.flights[who] = Some(state.write(self, who, last.flights[who]?)),
            Action::Deliver(who) => {
                let Some(Flight { step: Step::Answered(answer), .. }) = state.flights[who].take() else { return None };
                state.deliver(who, answer);
            }
            Action::Lose(who) => state.flights[who] = None,
            Action::Check(who, node) => state.check(who, state.held(who)?, node),
            Action::WriteReceipts(node) => state.flush_confirmations(node),
            Action::Crash(node) => state.crash(node),
            Action::Beat => state.beat += 1,
        }
        state.settle();
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.row.generation <= self.generations
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(FINAL, |_, state: &State| state.broke != Some(FINAL)),
            Property::always(ONE_LIVE, |_, state: &State| {
                let held = [state.jar, state.stolen];
                state.rotations == state.row.generation
                    && held.iter().flatten().all(|held| held.generation <= state.row.generation)
            }),
            Property::always(HONEST, |_, state: &State| state.broke != Some(HONEST)),
            Property::always(FOUND, |_, state: &State| state.broke != Some(FOUND)),
            Property::sometimes("a refresh rotates", |_, state: &State| state.row.generation > 0),
            Property::sometimes("the same tokens are answered again", |_, state: &State| {
                state.any_answer(|answer| matches!(answer, Answer::Tokens { again: true, .. }))
            }),
        ];
        if self.writing == Writing::CompareAndSet {
            all.push(Property::sometimes("a lost race is decided anew", |_, state: &State| {
                state.flights.iter().flatten().any(|flight| flight.lost_a_race)
            }));
        }
        if self.thief {
            all.extend([
                Property::sometimes("the owner's refresh finds the thief", |_, state: &State| {
                    state.found_by.is_some_and(|who| who != THIEF)
                }),
                Property::sometimes("the thief's refresh finds the thief", |_, state: &State| {
                    state.found_by == Some(THIEF)
                }),
            ]);
        }
        if self.crashes > 0 {
            all.push(Property::sometimes("a crash loses a receipt", |_, state: &State| {
                state.crashes > 0 && state.last_use.is_none() && state.jar.is_some_and(|held| held.generation > 0)
            }));
        }
        all
    }
}

impl State {
    fn any_answer(&self, is: impl Fn(Answer) -> bool) -> bool {
        self.flights.iter().flatten().any(|flight| matches!(flight.step, Step::Answered(answer) if is(answer)))
    }
}
