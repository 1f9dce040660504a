//! Ends against refreshes: logout, logout everywhere and a change of the secret, on two nodes that hear of each other by
//! polls alone, as late as they are allowed to, while tokens are refreshed with the current or the one before it.
//!
//! Nothing is confirmed here, so every parent is within its grace for ever: the hardest case for an end. The browser holds
//! session 0, another device session 1; both began before anything ends.

use doorward::core::session::end_reason::EndReason;
use doorward::core::session::refresh::decide::Verdict;
use stateright::{Model, Property};

use super::rows::{Dead, Row, START, Writing, gives_tokens, is_revoked};

pub const FINAL: &str = "an end is final: at once where it was answered, elsewhere when memory may be no older";
pub const NO_TOKENS: &str = "after an end is answered no refresh gets tokens";
pub const LIVE: &str = "a session that did not end is believed and refreshes";
pub const JAR: &str = "a browser that changed its secret and lost no answer holds live tokens";

/// `REVOCATION_MAX_STALE`, in seconds.
const MAX_STALE: u8 = 2;

/// What its owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    Logout,
    LogoutEverywhere,
    SecretChange,
}

/// Which world is explored.
#[derive(Debug, Clone)]
pub struct Ends {
    pub writing: Writing,
    /// Broken: a parent is answered before anybody looks whether the session has ended.
    pub parents_first: bool,
    /// What is asked once of which node.
    pub deeds: Vec<(Deed, usize)>,
    pub refreshes: u8,
    pub crashes: u8,
    /// Whether answers take a while to the browser; then its jar is what the last one set.
    pub jar: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Asked,
    /// In the table, not yet in the node's memory.
    Committed {
        learnt: u8,
    },
    /// For so many seconds; `sets` is on its way to the jar.
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

/// A node's memory: which of the revocations it has heard of, and how many seconds ago it last asked.
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

impl Ends {
    pub fn of(deeds: &[(Deed, usize)]) -> Self {
        Self {
            writing: Writing::CompareAndSet,
            parents_first: false,
            deeds: deeds.to_vec(),
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

    /// The deeds that were answered: what, where, and how long ago.
    fn answered<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (Deed, usize, u8)> + 'a {
        self.deeds.iter().zip(&state.stages).filter_map(|((deed, node), stage)| match stage {
            Stage::Answered { since, .. } => Some((*deed, *node, *since)),
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
    /// One transaction of the deed; `None` when it is refused.
    fn commit(&mut self, deed: Deed) -> Option<u8> {
        let everywhere = EndReason::SignOutEverywhere.as_str();
        let before = self.revocations.len();
        match deed {
            Deed::Logout => {
                if !self.row.end(START, EndReason::SignOut.as_str()) {
                    return Some(self.all());
                }
                self.revocations.push(Dead::Session(0));
            }
            Deed::LogoutEverywhere if self.row.ended.is_some_and(|(_, why)| why == everywhere) => {
                return Some(self.all());
            }
            Deed::LogoutEverywhere | Deed::SecretChange if self.row.ended.is_some() => return None,
            Deed::LogoutEverywhere => {
                self.epoch += 1;
                self.row.end(START, everywhere);
                self.other.end(START, everywhere);
                self.revocations.push(Dead::Epochs(self.epoch));
            }
            Deed::SecretChange => {
                if self.other.end(START, EndReason::SecretChange.as_str()) {
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

    /// Whether the node believes an access token: from memory, or from the table when memory is too old.
    fn believes(&self, node: usize, session: u8, generation: i64) -> bool {
        let Node { known, age } = self.nodes[node];
        let known = if age > MAX_STALE { self.all() } else { known };
        let known = self.revocations.iter().enumerate().filter(|(index, _)| known & (1 << index) != 0);
        let known: Vec<Dead> = known.map(|(_, dead)| *dead).collect();
        !is_revoked(&known, session, generation)
    }

    /// Tokens that an answered deed has killed: session and generation.
    fn killed(&self, deed: Deed) -> impl Iterator<Item = (u8, i64)> {
        let browsers = match deed {
            Deed::Logout | Deed::LogoutEverywhere => 0..self.row.generation + 1,
            Deed::SecretChange => 0..self.row.min_generation,
        };
        let others = if deed == Deed::Logout { 0..0 } else { 0..1 };
        browsers.map(|generation| (0, generation)).chain(others.map(|generation| (1, generation)))
    }

    fn crash(&mut self, world: &Ends, node: usize) {
        self.crashes += 1;
        self.nodes[node] = Node { known: self.all(), age: 0 };
        self.flight.take_if(|flight| matches!(flight, Flight::Read { node: at, .. } if *at == node));
        for ((_, at), stage) in world.deeds.iter().zip(&mut self.stages) {
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

fn an_end_is_final(world: &Ends, state: &State) -> bool {
    world.answered(state).all(|(deed, at, since)| {
        let tolerated = |node: usize| node != at && since <= MAX_STALE;
        let mut dead = state.killed(deed);
        dead.all(|(session, generation)| {
            (0..2).all(|node| tolerated(node) || !state.believes(node, session, generation))
        })
    })
}

fn no_refresh_after_an_end(world: &Ends, state: &State) -> bool {
    world.answered(state).all(|(deed, ..)| {
        state.killed(deed).all(|(session, generation)| {
            let row = if session == 0 { &state.row } else { &state.other };
            !gives_tokens(&world.verdict(state, row, generation))
        })
    })
}

fn the_living_live(world: &Ends, state: &State) -> bool {
    [(0, &state.row), (1, &state.other)].into_iter().filter(|(_, row)| row.ended.is_none()).all(|(session, row)| {
        world.verdict(state, row, row.generation) == Verdict::Rotate
            && (0..2).all(|node| state.believes(node, session, row.generation))
    })
}

fn the_jar_lives(world: &Ends, state: &State) -> bool {
    let settled = state.flight.is_none() && state.stages.iter().all(|stage| !matches!(stage, Stage::Committed { .. }));
    let changed = world.answered(state).any(|(deed, ..)| deed == Deed::SecretChange);
    let delivered = !state.stages.iter().any(|stage| matches!(stage, Stage::Answered { sets: Some(_), .. }));
    !(settled && changed && delivered) || state.jar >= state.row.min_generation
}

impl Model for Ends {
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
            stages: vec![Stage::Asked; self.deeds.len()],
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
                let learnt = state.commit(self.deeds[index].0);
                state.stages[index] = learnt.map_or(Stage::Over, |learnt| Stage::Committed { learnt });
            }
            Action::Answer(index) => {
                let Stage::Committed { learnt } = state.stages[index] else { return None };
                let (deed, node) = self.deeds[index];
                state.nodes[node].known |= learnt;
                let sets = (self.jar && deed == Deed::SecretChange).then_some(state.row.min_generation);
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
                    let late = |deed, at: usize| {
                        state.killed(deed).any(|(session, generation)| state.believes(1 - at, session, generation))
                    };
                    world.answered(state).any(|(deed, at, _)| late(deed, at))
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
