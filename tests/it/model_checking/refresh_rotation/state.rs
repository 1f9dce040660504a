//! State of the refresh model, and what each event does to it.
//!
//! The present is always `NOW`; when time passes, every time in the state moves into the past. A generation is one of
//! [`SPENT`], [`PARENT`], [`VOIDED`] and [`CURRENT`], and moves along when the row is rotated.

use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::session::end_reason::EndReason;
use doorward::core::session::refresh::decide::Verdict;

use super::super::rows::{Row, START, clears_cookies, gives_tokens, seen};
use super::{FINAL, FOUND, HONEST, ONE_LIVE, Rotation, Rules, Thief, VOID};

pub const OWNER_LOST: &str = "a write finds the row moved on";

/// The present, after any age in the state.
pub const NOW: Timestamp = Timestamp::from_seconds(2_000_000);

/// Until the first rotation, the current generation is 0 instead.
pub const CURRENT: i64 = 3;
pub const VOIDED: i64 = 2;
pub const PARENT: i64 = 1;
pub const SPENT: i64 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Sent,
    /// Decided at that time, with the generation that was current.
    Write(Write, Decided),
    /// On its way to the jar, unless it changes nothing there.
    Answered {
        sets: i64,
    },
}

/// A pending write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Write {
    Rotate,
    Reissue { confirmed: Timestamp },
    Replace,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decided {
    at: Timestamp,
    read: i64,
}

/// A request or its answer. The age counts from the sending of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flight {
    pub presented: i64,
    pub step: Step,
    pub age: u8,
}

/// The first presentation of the current generation: when, and the node that alone knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shown {
    at: Timestamp,
    node: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "what has happened, each by itself")]
pub struct State {
    pub row: Row,
    /// When the current generation was first presented to each node, in memory.
    pub marks: [Option<Timestamp>; 2],
    /// The owner's, in order.
    pub flights: Vec<Flight>,
    pub theft: Option<Flight>,
    pub jar: Option<i64>,
    /// Which generations the thief holds.
    held: [bool; 4],
    pub has_stolen: bool,
    pub has_spent: bool,
    /// Whether the thief has done what may cost the owner the session.
    pub has_acted: bool,
    pub thief_found_himself: bool,
    shown: Option<Shown>,
    /// The invariant that was broken first.
    pub broke: Option<&'static str>,
}

impl State {
    pub fn new() -> Self {
        Self {
            row: Row { rotated_at: NOW, ..Row::new(NOW.plus(Duration::from_hours(1))) },
            marks: [None; 2],
            flights: vec![],
            theft: None,
            jar: Some(0),
            held: [false; 4],
            has_stolen: false,
            has_spent: false,
            has_acted: false,
            thief_found_himself: false,
            shown: None,
            broke: None,
        }
    }

    pub fn held(&self) -> impl Iterator<Item = i64> {
        (0..).zip(self.held).filter_map(|(generation, held)| held.then_some(generation))
    }

    /// The nodes that differ.
    pub fn nodes(&self) -> std::ops::Range<usize> {
        let alike = self.marks[0] == self.marks[1] && self.shown.is_none_or(|shown| shown.node.is_none());
        0..if alike { 1 } else { 2 }
    }

    /// When the current generation was confirmed, as a node knows it, by the production's own code.
    pub fn confirmed(&self, node: usize) -> Option<Timestamp> {
        let current = self.row.generation;
        self.row.first_confirmation(self.marks[node].and_then(|at| seen((current, at), current)))
    }

    pub fn has_a_race_to_lose(&self) -> bool {
        let writes = |flight: &Flight| match flight.step {
            Step::Write(write, decided) => write != Write::End && decided.read != self.row.generation,
            _ => false,
        };
        self.row.ended.is_none() && self.flights.iter().any(writes)
    }

    fn promise(&mut self, promise: &'static str, is_kept: bool) {
        if !is_kept {
            self.broke.get_or_insert(promise);
        }
    }

    pub fn send(&mut self) {
        self.flights.extend(self.jar.map(|presented| Flight { presented, step: Step::Sent, age: 0 }));
    }

    pub fn read(&mut self, world: &Rotation, at: usize, node: usize) {
        let flight = self.flights.remove(at);
        let verdict = self.decide(world, flight.presented, node);
        self.promise(HONEST, gives_tokens(&verdict) || self.has_acted);
        match self.step_of(&verdict, node) {
            Some(step @ Step::Write(..)) => self.flights.push(Flight { step, ..flight }),
            Some(step) => self.flights.push(Flight { step, age: 0, ..flight }),
            None => {
                if matches!(&verdict, Verdict::Refuse(refusal) if clears_cookies(refusal.clone())) {
                    self.jar = None;
                }
                let is_stored = world.rules == Rules::ReissueIsStored;
                if matches!(verdict, Verdict::Reissue | Verdict::ReissueParent) && is_stored {
                    let sets = flight.presented;
                    self.flights.push(Flight { step: Step::Answered { sets }, age: 0, ..flight });
                }
            }
        }
    }

    /// The verdict, which must keep what is promised of the thief.
    fn decide(&mut self, world: &Rotation, presented: i64, node: usize) -> Verdict {
        let verdict = world.verdict(self, presented, node);
        let gets_tokens = gives_tokens(&verdict);
        let known = |shown: Shown| shown.node.is_none_or(|at| at == node) && NOW > shown.at.plus(world.grace());
        let is_left_behind = presented < self.row.generation && self.shown.is_some_and(known);
        self.promise(FOUND, !(gets_tokens && is_left_behind));
        self.promise(VOID, !(gets_tokens && presented == VOIDED));
        verdict
    }

    /// What follows from a verdict; nothing, if the answer follows without a write and changes nothing.
    fn step_of(&self, verdict: &Verdict, node: usize) -> Option<Step> {
        let row = &self.row;
        let write = |write| Some(Step::Write(write, Decided { at: NOW, read: row.generation }));
        match verdict {
            Verdict::Rotate => write(Write::Rotate),
            Verdict::Reissue if row.confirmed_at.is_none() && row.generation > 0 => {
                write(Write::Reissue { confirmed: self.confirmed(node).unwrap_or(NOW) })
            }
            Verdict::Replay => Some(Step::Answered { sets: row.generation }),
            Verdict::ReplaceUnconfirmed => write(Write::Replace),
            Verdict::Reuse => write(Write::End),
            Verdict::Reissue | Verdict::ReissueParent | Verdict::Refuse(_) => None,
        }
    }

    pub fn write(&mut self, world: &Rotation, at: usize) {
        let flight = self.flights.remove(at);
        let Step::Write(write, decided) = flight.step else { return };
        if !self.commit(world, flight.presented, write, decided) {
            self.flights.push(Flight { step: Step::Sent, ..flight });
            return;
        }
        match write {
            // The row was renamed: what it made is current.
            Write::Rotate | Write::Replace => {
                self.flights.push(Flight { presented: PARENT, step: Step::Answered { sets: CURRENT }, age: 0 });
            }
            Write::Reissue { .. } if world.rules == Rules::ReissueIsStored => {
                self.flights.push(Flight { step: Step::Answered { sets: flight.presented }, age: 0, ..flight });
            }
            Write::Reissue { .. } => {}
            Write::End => self.jar = None,
        }
    }

    /// One statement or transaction; whether it found the row as it was read.
    fn commit(&mut self, world: &Rotation, presented: i64, write: Write, decided: Decided) -> bool {
        let before = self.row;
        let Decided { at, read } = decided;
        let as_read = Row { generation: read, ended: None, ..self.row };
        let done = match write {
            Write::Rotate => self.row.rotate(&as_read, at, world.writing),
            Write::Replace => self.row.replace_unconfirmed(&as_read, presented, at),
            Write::Reissue { confirmed } => self.row.touch(read, Some(confirmed)),
            Write::End => {
                self.row.end(START, EndReason::RefreshReuse);
                true
            }
        };
        self.promise(FINAL, before.ended.is_none() || self.row.ended.is_some());
        match write {
            Write::Rotate | Write::Replace if done => {
                self.promise(ONE_LIVE, self.row.generation == before.generation + 1);
                self.rename(before.generation, write == Write::Replace);
            }
            // Durable from here on, whichever node knew it before.
            Write::Reissue { .. } if done => {
                self.shown = self.row.confirmed_at.map(|at| Shown { at, node: None });
            }
            _ => {}
        }
        done
    }

    /// Names the generations by what they are to the row's new one.
    fn rename(&mut self, before: i64, is_replaced: bool) {
        let renamed = |generation: i64| match generation {
            _ if before == 0 => PARENT,
            CURRENT if is_replaced => VOIDED,
            CURRENT => PARENT,
            PARENT if is_replaced => PARENT,
            PARENT => SPENT,
            other => other,
        };
        for flight in self.flights.iter_mut().chain(&mut self.theft) {
            flight.presented = renamed(flight.presented);
            match &mut flight.step {
                Step::Sent => {}
                Step::Write(_, decided) => decided.read = renamed(decided.read),
                Step::Answered { sets } => *sets = renamed(*sets),
            }
        }
        self.jar = self.jar.map(renamed);
        let held: Vec<i64> = self.held().map(renamed).collect();
        self.held = [SPENT, PARENT, VOIDED, CURRENT].map(|generation| held.contains(&generation));
        (self.row.generation, self.row.parent) = (CURRENT, Some(PARENT));
        (self.marks, self.shown) = ([None; 2], None);
    }

    pub fn deliver(&mut self, at: usize) {
        if let Step::Answered { sets } = self.flights.remove(at).step {
            self.jar = self.jar.map(|_| sets);
        }
    }

    /// A check of an access token, or a renewal: of the current generation, it is a confirmation in the node's memory.
    pub fn check(&mut self, generation: i64, node: usize) {
        if self.row.ended.is_some() || generation != self.row.generation || generation == 0 {
            return;
        }
        self.marks[node].get_or_insert(NOW);
        self.shown.get_or_insert(Shown { at: NOW, node: Some(node) });
    }

    pub fn steal(&mut self) {
        self.has_stolen = true;
        if let Some(held) = self.jar.and_then(|jar| usize::try_from(jar).ok()) {
            self.held[held] = true;
        }
    }

    pub fn spend(&mut self, world: &Rotation, generation: i64, node: usize) {
        self.has_spent = true;
        self.has_acted |= world.thief == Thief::Any;
        let verdict = self.decide(world, generation, node);
        match self.step_of(&verdict, node) {
            Some(Step::Answered { .. }) => self.held[3] |= self.row.generation > 0,
            Some(step) => {
                self.theft = Some(Flight { presented: generation, step, age: 0 });
                if !world.slow_thief {
                    self.spend_write(world);
                }
            }
            None => {}
        }
    }

    pub fn spend_write(&mut self, world: &Rotation) {
        let Some(Flight { presented, step: Step::Write(write, decided), .. }) = self.theft.take() else { return };
        self.thief_found_himself |= write == Write::End && self.row.ended.is_none();
        if self.commit(world, presented, write, decided) && matches!(write, Write::Rotate | Write::Replace) {
            self.held[3] = true;
        }
    }

    pub fn flush_confirmations(&mut self, node: usize) {
        let Some(at) = self.marks[node] else { return };
        let is_first = self.row.confirmed_at.is_none();
        self.row.confirm(self.row.generation, at);
        if let Some(shown) = self.shown.as_mut().filter(|shown| is_first && shown.node == Some(node)) {
            shown.node = None;
        }
    }

    /// The node's memory is lost. Its unanswered requests are lost by another action.
    pub fn crash(&mut self, node: usize) {
        self.marks[node] = None;
        self.shown.take_if(|shown| shown.node == Some(node));
    }

    /// Moves every time into the past, and no further than `oldest`.
    pub fn tick(&mut self, by: Duration, oldest: Duration) {
        let older = |at: &mut Timestamp| *at = at.minus(by).max(NOW.minus(oldest));
        older(&mut self.row.rotated_at);
        let marks = self.marks.iter_mut().flatten();
        self.row
            .confirmed_at
            .iter_mut()
            .chain(marks)
            .chain(self.shown.as_mut().map(|shown| &mut shown.at))
            .for_each(older);
        for flight in self.flights.iter_mut().chain(&mut self.theft) {
            flight.age += 1;
            if let Step::Write(write, decided) = &mut flight.step {
                older(&mut decided.at);
                if let Write::Reissue { confirmed } = write {
                    older(confirmed);
                }
            }
        }
    }

    /// Merges states that do not differ.
    pub fn normalize(&mut self) {
        if self.row.ended.is_some() {
            (self.row.rotated_at, self.row.confirmed_at) = (START, None);
            (self.marks, self.shown) = ([None; 2], None);
        }
        // A mark that is no earlier than what the table has says nothing.
        for mark in &mut self.marks {
            mark.take_if(|at| self.row.confirmed_at.is_some_and(|confirmed| confirmed <= *at));
        }
        if self.marks[0] > self.marks[1] {
            self.marks.swap(0, 1);
            if let Some(node) = self.shown.as_mut().and_then(|shown| shown.node.as_mut()) {
                *node = 1 - *node;
            }
        }
        // What is spent is of no use to who holds anything else.
        self.held[0] &= self.row.generation == 0 || !self.held[1..].contains(&true);
        self.flights.sort_unstable();
    }
}
