//! Model of session ends against refreshes: logout, logout everywhere and password change, on two nodes that learn of
//! each other by polling alone, as late as permitted, while tokens are refreshed with the current or the previous one.
//!
//! Nothing is confirmed here, so every parent is within its grace for ever: the hardest case for an end. The browser
//! holds session 0, another device session 1; both began before anything ends.

use doorward::core::session::end_reason::EndReason;
use doorward::core::session::refresh::decide::Verdict;
use stateright::{Model, Property};

use super::rows::{Dead, Row, START, Writing, gives_tokens, is_revoked};

pub const FINAL: &str = "an end is final: immediately where it was answered, elsewhere within the permitted staleness";
pub const NO_TOKENS: &str = "after an end is answered no refresh gets tokens";
pub const LIVE: &str = "a session that did not end is accepted and refreshes";
pub const JAR: &str = "a browser that changed its secret and lost no answer holds live tokens";

/// `REVOCATION_MAX_STALE`, in seconds.
const MAX_STALE: u8 = 2;

/// The act that ends sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    Logout,
    LogoutEverywhere,
    SecretChange,
}

/// The parameters of the model.
#[derive(Debug, Clone)]
pub struct SessionEnds {
    pub writing: Writing,
    /// Broken variant: a parent is answered before the session's end is checked.
    pub parents_first: bool,
    /// The acts, each sent once to one node.
    pub acts: Vec<(Act, usize)>,
    pub refreshes: u8,
    pub crashes: u8,
    /// Whether answers are delayed on their way to the browser; its jar is then what the last one set.
    pub jar: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Asked,
    /// Committed, not yet in the node's cache.
    Committed {
        learnt: u8,
    },
    /// For this many seconds; `sets` is on its way to the jar.
    Answered {
        since: u8,
        sets: Option<i64>,
    },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Flight {
    Read { node: usize, row: Row },
    Answered { sets: i64 },
}

/// A node's cache: the revocations that it knows, and the seconds since its last poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    known: u8,
    age: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    row: Row,
    other: Row,
    epoch: i64,
    revocations: Vec<Dead>,
    nodes: [Node; 2],
    stages: Vec<Stage>,
    flight: Option<Flight>,
    refreshes: u8,
    crashes: u8,
    jar: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Refresh { node: usize, presented: i64 },
    Write,
    Deliver,
    Commit(usize),
    Answer(usize),
    DeliverDeed(usize),
    Poll(usize),
    Crash(usize),
    Second,
}

impl SessionEnds {
    pub fn of(acts: &[(Act, usize)]) -> Self {
        Self {
            writing: Writing::CompareAndSet,
            parents_first: false,
            acts: acts.to_vec(),
            refreshes: 1,
            crashes: 0,
            jar: false,
        }
    }

    fn verdict(&self, state: &State, row: &Row, presented: i64) -> Verdict {
        if self.parents_first && presented == row.generation - 1 {
            return Verdict::Replay;
        }
        row.verdict(START, presented, state.epoch, None)
    }

    /// The acts that were answered: which, where, and how long ago.
    fn answered<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (Act, usize, u8)> + 'a {
        self.acts.iter().zip(&state.stages).filter_map(|((act, node), stage)| match stage {
            Stage::Answered { since, .. } => Some((*act, *node, *since)),
            _ => None,
        })
    }

    fn refresh(&self, state: &mut State, node: usize, presented: i64) {
        let row = state.row;
        state.refreshes += 1;
        state.flight = match self.verdict(state, &row, presented) {
            Verdict::Rotate => Some(Flight::Read { node, row }),
            Verdict::Replay => Some(Flight::Answered { sets: row.generation }),
            Verdict::Keep | Verdict::Reuse | Verdict::Refuse(_) => None,
        };
    }

    fn write(&self, state: &mut State) {
        let Some(Flight::Read { node, row }) = state.flight.take() else { return };
        if state.row.rotate(&row, START, self.writing) {
            state.flight = Some(Flight::Answered { sets: row.generation + 1 });
        } else {
            state.refreshes -= 1;
            self.refresh(state, node, row.generation);
        }
    }
}

impl State {
    /// One transaction of the act; `None` if it is refused.
    fn commit(&mut self, act: Act) -> Option<u8> {
        let everywhere = EndReason::SignOutEverywhere;
        let before = self.revocations.len();
        match act {
            Act::Logout => {
                if !self.row.end(START, EndReason::SignOut) {
                    return Some(self.all());
                }
                self.revocations.push(Dead::Session(0));
            }
            Act::LogoutEverywhere if self.row.ended.is_some_and(|(_, why)| why == everywhere) => {
                return Some(self.all());
            }
            Act::LogoutEverywhere | Act::SecretChange if self.row.ended.is_some() => return None,
            Act::LogoutEverywhere => {
                self.epoch += 1;
                self.row.end(START, everywhere);
                self.other.end(START, everywhere);
                self.revocations.push(Dead::Epochs(self.epoch));
            }
            Act::SecretChange => {
                if self.other.end(START, EndReason::SecretChange) {
                    self.revocations.push(Dead::Session(1));
                }
                let read = self.row;
                self.row.rotate(&read, START, Writing::CompareAndSet);
                self.row.min_generation = self.row.generation;
                self.revocations.push(Dead::Below(0, self.row.generation));
            }
        }
        Some(self.all() & !((1 << before) - 1))
    }

    fn all(&self) -> u8 {
        (1 << self.revocations.len()) - 1
    }

    /// Whether the node accepts an access token: by its cache, or by the table if that is stale.
    fn accepts(&self, node: usize, session: u8, generation: i64) -> bool {
        let Node { known, age } = self.nodes[node];
        let known = if age > MAX_STALE { self.all() } else { known };
        let known = self.revocations.iter().enumerate().filter(|(index, _)| known & (1 << index) != 0);
        let known: Vec<Dead> = known.map(|(_, dead)| *dead).collect();
        !is_revoked(&known, session, generation)
    }

    /// The tokens that an answered act has invalidated: session and generation.
    fn invalidated(&self, act: Act) -> impl Iterator<Item = (u8, i64)> {
        let browsers = match act {
            Act::Logout | Act::LogoutEverywhere => 0..self.row.generation + 1,
            Act::SecretChange => 0..self.row.min_generation,
        };
        let others = if act == Act::Logout { 0..0 } else { 0..1 };
        browsers.map(|generation| (0, generation)).chain(others.map(|generation| (1, generation)))
    }

    fn crash(&mut self, world: &SessionEnds, node: usize) {
        self.crashes += 1;
        self.nodes[node] = Node { known: self.all(), age: 0 };
        self.flight.take_if(|flight| matches!(flight, Flight::Read { node: at, .. } if *at == node));
        for ((_, at), stage) in world.acts.iter().zip(&mut self.stages) {
            if *at == node && matches!(stage, Stage::Committed { .. }) {
                *stage = Stage::Over;
            }
        }
    }

    fn second(&mut self) {
        let older = |age: &mut u8| *age = (*age + 1).min(MAX_STALE + 1);
        self.nodes.iter_mut().for_each(|node| older(&mut node.age));
        for stage in &mut self.stages {
            if let Stage::Answered { since, .. } = stage {
                older(since);
            }
        }
    }
}

fn an_end_is_final(world: &SessionEnds, state: &State) -> bool {
    world.answered(state).all(|(act, at, since)| {
        let tolerated = |node: usize| node != at && since <= MAX_STALE;
        let mut dead = state.invalidated(act);
        dead.all(|(session, generation)| {
            (0..2).all(|node| tolerated(node) || !state.accepts(node, session, generation))
        })
    })
}

fn no_refresh_after_an_end(world: &SessionEnds, state: &State) -> bool {
    world.answered(state).all(|(act, ..)| {
        state.invalidated(act).all(|(session, generation)| {
            let row = if session == 0 { &state.row } else { &state.other };
            !gives_tokens(&world.verdict(state, row, generation))
        })
    })
}

fn the_living_live(world: &SessionEnds, state: &State) -> bool {
    [(0, &state.row), (1, &state.other)].into_iter().filter(|(_, row)| row.ended.is_none()).all(|(session, row)| {
        world.verdict(state, row, row.generation) == Verdict::Rotate
            && (0..2).all(|node| state.accepts(node, session, row.generation))
    })
}

fn the_jar_lives(world: &SessionEnds, state: &State) -> bool {
    let settled = state.flight.is_none() && state.stages.iter().all(|stage| !matches!(stage, Stage::Committed { .. }));
    let changed = world.answered(state).any(|(act, ..)| act == Act::SecretChange);
    let delivered = !state.stages.iter().any(|stage| matches!(stage, Stage::Answered { sets: Some(_), .. }));
    !(settled && changed && delivered) || state.jar >= state.row.min_generation
}

impl Model for SessionEnds {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let row = Row::new(START.plus(std::time::Duration::from_secs(1_000_000)));
        vec![State {
            row,
            other: row,
            epoch: 0,
            revocations: vec![],
            nodes: [Node { known: 0, age: 0 }; 2],
            stages: vec![Stage::Asked; self.acts.len()],
            flight: None,
            refreshes: 0,
            crashes: 0,
            jar: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.flight {
            None if state.refreshes < self.refreshes => {
                let row = &state.row;
                for presented in (row.generation - 1).max(0)..=row.generation {
                    actions.extend((0..2).map(|node| Action::Refresh { node, presented }));
                }
            }
            None => {}
            Some(Flight::Read { .. }) => actions.push(Action::Write),
            Some(Flight::Answered { .. }) => actions.push(Action::Deliver),
        }
        for (index, stage) in state.stages.iter().enumerate() {
            match stage {
                Stage::Asked => actions.push(Action::Commit(index)),
                Stage::Committed { .. } => actions.push(Action::Answer(index)),
                Stage::Answered { sets: Some(_), .. } => actions.push(Action::DeliverDeed(index)),
                Stage::Answered { .. } | Stage::Over => {}
            }
        }
        for node in 0..2 {
            actions.push(Action::Poll(node));
            if state.crashes < self.crashes {
                actions.push(Action::Crash(node));
            }
        }
        actions.push(Action::Second);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Refresh { node, presented } => self.refresh(&mut state, node, presented),
            Action::Write => self.write(&mut state),
            Action::Deliver => {
                let Some(Flight::Answered { sets }) = state.flight.take() else { return None };
                if self.jar {
                    state.jar = sets;
                }
            }
            Action::Commit(index) => {
                let learnt = state.commit(self.acts[index].0);
                state.stages[index] = learnt.map_or(Stage::Over, |learnt| Stage::Committed { learnt });
            }
            Action::Answer(index) => {
                let Stage::Committed { learnt } = state.stages[index] else { return None };
                let (act, node) = self.acts[index];
                state.nodes[node].known |= learnt;
                let sets = (self.jar && act == Act::SecretChange).then_some(state.row.min_generation);
                state.stages[index] = Stage::Answered { since: 0, sets };
            }
            Action::DeliverDeed(index) => {
                let Stage::Answered { since, sets } = state.stages[index] else { return None };
                (state.jar, state.stages[index]) = (sets?, Stage::Answered { since, sets: None });
            }
            Action::Poll(node) => state.nodes[node] = Node { known: state.all(), age: 0 },
            Action::Crash(node) => state.crash(self, node),
            Action::Second => state.second(),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(FINAL, an_end_is_final),
            Property::always(NO_TOKENS, no_refresh_after_an_end),
            Property::always(LIVE, the_living_live),
            Property::sometimes(
                "an end is answered while the other node still believes the session",
                |world: &Self, state: &State| {
                    let late = |act, at: usize| {
                        state.invalidated(act).any(|(session, generation)| state.accepts(1 - at, session, generation))
                    };
                    world.answered(state).any(|(act, at, _)| late(act, at))
                },
            ),
            Property::sometimes("a memory too old asks the table", |_, state: &State| {
                state.nodes.iter().any(|node| node.age > MAX_STALE)
            }),
            Property::sometimes("an end comes between a refresh's reading and writing", |_, state: &State| {
                matches!(state.flight, Some(Flight::Read { row, .. }) if row.ended != state.row.ended
                    || row.min_generation != state.row.min_generation)
            }),
        ];
        if self.jar {
            all.push(Property::always(JAR, the_jar_lives));
        }
        all
    }
}
