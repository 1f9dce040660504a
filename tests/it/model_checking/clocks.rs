//! Model of purges and clocks: a session is refreshed and ended while one node's clock steps and steps back, and either
//! node purges what it considers expired. How nodes learn of an end is modelled in session_end.rs; here both know it
//! when it is answered.

use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::revocation::write::RETENTION_MARGIN;
use doorward::core::session::end_reason::EndReason;
use doorward::core::session::refresh::decide::Verdict;
use stateright::{Model, Property};

use super::rows::{Dead, Row, START, Writing, cache_of, gives_tokens, is_revoked};

pub const FINAL: &str = "a clock step revives nothing that an end has killed";
pub const NO_TOKENS: &str = "no refresh gets tokens after an end, whatever the clock says";
pub const KEPT: &str = "no purge takes a session before its end";
pub const UNHURT: &str = "a clock step ends no session";

/// `ACCESS_TTL`.
const ACCESS: Duration = Duration::from_secs(900);
/// `SESSION_MAX_AGE`, short enough to pass here.
const SESSION: Duration = Duration::from_hours(30);
/// `CLOCK_SKEW`.
const SKEW: Duration = Duration::from_secs(5);
/// Waits, and how often each may occur.
const WAITS: [(Duration, u8); 2] = [(Duration::from_mins(14), 2), (Duration::from_hours(23), 2)];

/// The parameters of the model.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// The clock step of node 1, forward in one model and backward in another.
    pub step: Duration,
    pub jumps: u8,
    pub refreshes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Offset {
    Right,
    Ahead,
    Behind,
}

/// From when until when an access token is valid.
type Life = (Timestamp, Timestamp);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    now: Timestamp,
    waited: [u8; 2],
    forward: bool,
    offset: Offset,
    jumps: u8,
    row: Option<Row>,
    access_until: Timestamp,
    tokens: Vec<Life>,
    /// The revocation in the table and in the two caches: until when it is kept.
    table: Option<Timestamp>,
    memories: [Option<Timestamp>; 2],
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Wait(usize),
    Jump,
    Refresh(usize),
    Logout(usize),
    Poll(usize),
    Restart(usize),
    Purge(usize),
}

impl Clocks {
    /// The time by the node's clock.
    fn shown(&self, state: &State, node: usize) -> Timestamp {
        match (node, state.offset) {
            (1, Offset::Ahead) => state.now.plus(self.step),
            (1, Offset::Behind) => state.now.minus(self.step),
            _ => state.now,
        }
    }

    fn accepts(&self, state: &State, node: usize, (issued, expires): Life) -> bool {
        let now = self.shown(state, node);
        let revoked = state.memories[node].is_some() && is_revoked(&[Dead::Session(0)], (0, 0, 0));
        issued <= now.plus(SKEW) && expires > now && !revoked
    }

    /// The decision on the session's current refresh token; `None` if there is none to make: its row is purged, or its
    /// `iat` is in the future, which is refused for now and ends nothing.
    fn verdict(&self, state: &State, node: usize) -> Option<Verdict> {
        let now = self.shown(state, node);
        let row = state.row.filter(|row| row.rotated_at <= now.plus(SKEW))?;
        Some(row.verdict(now, row.generation, 0, None))
    }

    fn refresh(&self, state: &mut State, node: usize) {
        let now = self.shown(state, node);
        if self.verdict(state, node) != Some(Verdict::Rotate) {
            return;
        }
        if let Some(row) = &mut state.row {
            let read = *row;
            row.rotate(&read, now, Writing::CompareAndSet);
            // One rotation for each access token; the generation itself decides nothing here.
            row.generation = 0;
            let until = now.plus(ACCESS).min(row.expires_at);
            state.access_until = state.access_until.max(until);
            state.tokens.push((now, until));
        }
    }

    fn logout(&self, state: &mut State, node: usize) {
        let now = self.shown(state, node);
        if state.row.as_mut().is_some_and(|row| row.end(now, EndReason::SignOut)) {
            state.table = Some(state.access_until);
            state.memories = [state.table; 2];
            state.ended = true;
        }
    }

    fn purge(&self, state: &mut State, node: usize) {
        let before = self.shown(state, node).minus(RETENTION_MARGIN);
        state.row.take_if(|row| row.expires_at < before);
        state.table.take_if(|until| *until < before);
        state.memories[node].take_if(|until| {
            let cache = cache_of(&Dead::Session(0).until(*until));
            cache.prune(before);
            cache.is_empty()
        });
    }
}

impl Model for Clocks {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let until = START.plus(ACCESS);
        let begun = |forward| State {
            now: START,
            waited: [0; 2],
            forward,
            offset: Offset::Right,
            jumps: 0,
            row: Some(Row::new(START.plus(SESSION))),
            access_until: until,
            tokens: vec![(START, until)],
            table: None,
            memories: [None; 2],
            ended: false,
        };
        vec![begun(true), begun(false)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let waits = (0..WAITS.len()).filter(|which| state.waited[*which] < WAITS[*which].1);
        actions.extend(waits.map(Action::Wait));
        if state.jumps < self.jumps {
            actions.push(Action::Jump);
        }
        for node in 0..2 {
            if state.tokens.len() <= self.refreshes {
                actions.push(Action::Refresh(node));
            }
            actions.extend([Action::Logout(node), Action::Poll(node), Action::Restart(node), Action::Purge(node)]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Wait(which) => {
                state.waited[which] += 1;
                state.now = state.now.plus(WAITS[which].0);
            }
            Action::Jump => {
                state.jumps += 1;
                state.offset = match (last.offset, last.forward) {
                    (Offset::Right, true) => Offset::Ahead,
                    (Offset::Right, false) => Offset::Behind,
                    _ => Offset::Right,
                };
            }
            Action::Refresh(node) => self.refresh(&mut state, node),
            Action::Logout(node) => self.logout(&mut state, node),
            Action::Poll(node) => state.memories[node] = state.memories[node].max(state.table),
            Action::Restart(node) => state.memories[node] = state.table,
            Action::Purge(node) => self.purge(&mut state, node),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FINAL, |world: &Self, state: &State| {
                let dead = |node| state.tokens.iter().all(|life| !world.accepts(state, node, *life));
                !state.ended || (dead(0) && dead(1))
            }),
            Property::always(NO_TOKENS, |world, state: &State| {
                let tokens = |node| world.verdict(state, node).is_some_and(|verdict| gives_tokens(&verdict));
                !state.ended || !(tokens(0) || tokens(1))
            }),
            Property::always(KEPT, |_, state: &State| {
                state.ended || state.row.is_some() || state.now >= START.plus(SESSION)
            }),
            Property::always(UNHURT, |world, state: &State| {
                let Some(row) = state.row.filter(|row| row.ended.is_none()) else { return true };
                (0..2).all(|node| {
                    let now = world.shown(state, node);
                    let lives = row.rotated_at <= now && now < row.expires_at;
                    !lives || world.verdict(state, node) == Some(Verdict::Rotate)
                })
            }),
            Property::sometimes("a refresh happens on a wrong clock", |_, state: &State| {
                state.row.is_some_and(|row| state.offset == Offset::Ahead && row.rotated_at > state.now)
            }),
            Property::sometimes("a token from a clock that was ahead is refused for now", |_, state: &State| {
                state.row.is_some_and(|row| state.offset == Offset::Right && row.rotated_at > state.now.plus(SKEW))
            }),
            Property::sometimes("a revocation is purged", |_, state: &State| state.ended && state.table.is_none()),
            Property::sometimes("an ended session's row is purged", |_, state: &State| {
                state.ended && state.row.is_none() && state.table.is_some()
            }),
        ]
    }
}
