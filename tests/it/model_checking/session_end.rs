//! Model of session ends against refreshes: logout, logout everywhere and password change, on two nodes that learn of
//! each other by polling alone, as late as permitted, while tokens are refreshed with the current or the previous one.
//!
//! A refresh with a parent comes while the successor is young, one with the current generation at any age: the hardest
//! cases for an end. The browser holds session 0, another device session 1; both began before anything ends, and either
//! may be refreshed. An end of all sessions leaves the other device's row as it is.

use std::time::Duration;

use doorward::core::session::end_reason::EndReason;
use doorward::core::session::refresh::decide::Verdict;
use stateright::{Model, Property};

use super::rows::{Access, Dead, Row, START, Writing, gives_tokens, is_revoked};

pub const FINAL: &str = "an end is final: immediately where it was answered, elsewhere within the permitted staleness";
pub const NO_TOKENS: &str = "after an end is answered no refresh gets tokens";
pub const LIVE: &str = "a session that did not end is accepted and refreshes";
pub const JAR: &str = "a browser that changed its secret and lost no answer holds live tokens";

/// When a generation that was made and confirmed at the start is due to be rotated.
const LATER: Duration = Duration::from_hours(1);

/// `REVOCATION_MAX_STALE`, in seconds.
const MAX_STALE: u8 = 2;

/// The act that ends sessions, by the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    Logout,
    LogoutEverywhere,
    SecretChange,
    /// At a mount whose answer cannot carry new tokens: the browser keeps its own.
    SecretChangeKeepingTokens,
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
        /// The account's epoch since.
        epoch: i64,
    },
    /// For this many seconds; `sets` is on its way to the jar.
    Answered {
        since: u8,
        sets: Option<i64>,
        epoch: i64,
    },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Flight {
    Read { asked: Refresh, row: Row },
    Answered { sets: i64 },
}

impl Flight {
    /// An answer on its way to the browser; what becomes of the other device's does not matter.
    fn answered(session: u8, sets: i64) -> Option<Self> {
        (session == 0).then_some(Self::Answered { sets })
    }
}

/// A refresh of a session at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Refresh {
    session: u8,
    node: usize,
    presented: i64,
    /// Whether the current generation is old enough to be rotated.
    is_due: bool,
}

/// A node's cache: the revocations that it knows, and the seconds since its last poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    known: u8,
    age: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The browser's session and the other device's.
    rows: [Row; 2],
    epoch: i64,
    revocations: Vec<Dead>,
    /// The access tokens that were issued, whether their answers have arrived or not.
    minted: Vec<Access>,
    nodes: [Node; 2],
    stages: Vec<Stage>,
    flight: Option<Flight>,
    refreshes: u8,
    crashes: u8,
    jar: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Refresh(Refresh),
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

    fn verdict(&self, state: &State, row: &Row, presented: i64, is_due: bool) -> Verdict {
        if self.parents_first && presented == row.generation - 1 {
            return Verdict::Replay;
        }
        let (now, confirmed) = if is_due { (START.plus(LATER), Some(START)) } else { (START, None) };
        row.verdict(now, presented, state.epoch, confirmed)
    }

    /// The acts that were answered: which, where, how long ago, and the account's epoch since.
    fn answered<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (Act, usize, u8, i64)> + 'a {
        self.acts.iter().zip(&state.stages).filter_map(|((act, node), stage)| match stage {
            Stage::Answered { since, epoch, .. } => Some((*act, *node, *since, *epoch)),
            _ => None,
        })
    }

    fn refresh(&self, state: &mut State, asked: Refresh) {
        state.refreshes += 1;
        let row = *state.row(asked.session);
        state.flight = match self.verdict(state, &row, asked.presented, asked.is_due) {
            Verdict::Rotate => Some(Flight::Read { asked, row }),
            Verdict::Replay => {
                state.mint(asked.session, &row);
                Flight::answered(asked.session, row.generation)
            }
            Verdict::Reissue => {
                state.mint(asked.session, &row);
                None
            }
            Verdict::ReissueParent | Verdict::ReplaceUnconfirmed | Verdict::Reuse | Verdict::Refuse(_) => None,
        };
    }

    fn write(&self, state: &mut State) {
        let Some(Flight::Read { asked, row }) = state.flight.take() else { return };
        let current = &mut state.rows[usize::from(asked.session)];
        if current.rotate(&row, START, self.writing) {
            let rotated = *current;
            state.mint(asked.session, &rotated);
            state.flight = Flight::answered(asked.session, rotated.generation);
        } else {
            state.refreshes -= 1;
            self.refresh(state, asked);
        }
    }
}

impl State {
    fn row(&self, session: u8) -> &Row {
        &self.rows[usize::from(session)]
    }

    /// Issues an access token of the row as it was read or written.
    fn mint(&mut self, session: u8, row: &Row) {
        let token = (session, row.generation, row.epoch);
        if let Err(at) = self.minted.binary_search(&token) {
            self.minted.insert(at, token);
        }
    }

    /// One transaction of the act; `None` if it is refused.
    fn commit(&mut self, act: Act) -> Option<u8> {
        let everywhere = EndReason::SignOutEverywhere;
        let before = self.revocations.len();
        let (row, epoch) = (self.rows[0], self.epoch + 1);
        let is_live = row.ended.is_none() && row.epoch == self.epoch;
        match act {
            Act::Logout => {
                if !self.rows[0].end(START, EndReason::SignOut) {
                    return Some(self.all());
                }
                self.revocations.push(Dead::Session(0));
            }
            Act::LogoutEverywhere if row.ended.is_some_and(|(_, why)| why == everywhere) => return Some(self.all()),
            _ if !is_live => return None,
            Act::LogoutEverywhere => {
                // The other rows stay as they are.
                self.rows[0].end(START, everywhere);
                self.revocations.push(Dead::Epochs(epoch, None));
                self.epoch = epoch;
            }
            Act::SecretChange => {
                self.rows[0].rotate_without_parent(&row, epoch, START);
                let changed = self.rows[0];
                self.mint(0, &changed);
                self.revocations.push(Dead::Epochs(epoch, None));
                self.epoch = epoch;
            }
            Act::SecretChangeKeepingTokens => {
                self.rows[0].continue_in_epoch(epoch);
                self.revocations.push(Dead::Epochs(epoch, Some(0)));
                self.epoch = epoch;
            }
        }
        Some(self.all() & !((1 << before) - 1))
    }

    fn all(&self) -> u8 {
        (1 << self.revocations.len()) - 1
    }

    /// Whether the node accepts an access token: by its cache, or by the table if that is stale.
    fn accepts(&self, node: usize, token: Access) -> bool {
        let Node { known, age } = self.nodes[node];
        let known = if age > MAX_STALE { self.all() } else { known };
        let known = self.revocations.iter().enumerate().filter(|(index, _)| known & (1 << index) != 0);
        let known: Vec<Dead> = known.map(|(_, dead)| *dead).collect();
        !is_revoked(&known, token)
    }

    /// The access tokens that an answered act has invalidated.
    fn invalidated(&self, act: Act, since: i64) -> impl Iterator<Item = Access> {
        self.minted.iter().copied().filter(move |(session, _, epoch)| match act {
            Act::Logout => *session == 0,
            Act::LogoutEverywhere | Act::SecretChange => *epoch < since,
            Act::SecretChangeKeepingTokens => *epoch < since && *session == 1,
        })
    }

    /// The generations whose refresh tokens it has invalidated, by session.
    fn invalid_generations(&self, act: Act) -> impl Iterator<Item = (u8, i64)> {
        let all = |session| 0..self.row(session).generation + 1;
        let browsers = match act {
            Act::Logout | Act::LogoutEverywhere => all(0),
            Act::SecretChange => 0..self.rows[0].min_generation,
            Act::SecretChangeKeepingTokens => 0..0,
        };
        let others = if act == Act::Logout { 0..0 } else { all(1) };
        browsers.map(|generation| (0, generation)).chain(others.map(|generation| (1, generation)))
    }

    fn crash(&mut self, world: &SessionEnds, node: usize) {
        self.crashes += 1;
        self.nodes[node] = Node { known: self.all(), age: 0 };
        self.flight.take_if(|flight| matches!(flight, Flight::Read { asked, .. } if asked.node == node));
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
    world.answered(state).all(|(act, at, since, epoch)| {
        let tolerated = |node: usize| node != at && since <= MAX_STALE;
        let mut dead = state.invalidated(act, epoch);
        dead.all(|token| (0..2).all(|node| tolerated(node) || !state.accepts(node, token)))
    })
}

fn no_refresh_after_an_end(world: &SessionEnds, state: &State) -> bool {
    let gets_tokens =
        |(session, generation), is_due| gives_tokens(&world.verdict(state, state.row(session), generation, is_due));
    world.answered(state).all(|(act, ..)| {
        let mut dead = state.invalid_generations(act);
        dead.all(|token| !gets_tokens(token, false) && !gets_tokens(token, true))
    })
}

fn the_living_live(world: &SessionEnds, state: &State) -> bool {
    let live = (0..2).map(|session| (session, state.row(session)));
    live.filter(|(_, row)| row.ended.is_none() && row.epoch == state.epoch).all(|(session, row)| {
        world.verdict(state, row, row.generation, true) == Verdict::Rotate
            && (0..2).all(|node| state.accepts(node, (session, row.generation, row.epoch)))
    })
}

fn the_jar_lives(world: &SessionEnds, state: &State) -> bool {
    let settled = state.flight.is_none() && state.stages.iter().all(|stage| !matches!(stage, Stage::Committed { .. }));
    let changed = world.answered(state).any(|(act, ..)| act == Act::SecretChange);
    let delivered = !state.stages.iter().any(|stage| matches!(stage, Stage::Answered { sets: Some(_), .. }));
    !(settled && changed && delivered) || state.jar >= state.rows[0].min_generation
}

impl Model for SessionEnds {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let row = Row::new(START.plus(LATER * 1000));
        vec![State {
            rows: [row; 2],
            epoch: 0,
            revocations: vec![],
            minted: vec![(0, 0, 0), (1, 0, 0)],
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
                for (session, node) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let row = state.row(session);
                    let ask = |presented, is_due| Action::Refresh(Refresh { session, node, presented, is_due });
                    actions.extend(row.parent.map(|parent| ask(parent, false)));
                    actions.extend([false, true].map(|is_due| ask(row.generation, is_due)));
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
            Action::Refresh(asked) => self.refresh(&mut state, asked),
            Action::Write => self.write(&mut state),
            Action::Deliver => {
                let Some(Flight::Answered { sets }) = state.flight.take() else { return None };
                if self.jar {
                    state.jar = sets;
                }
            }
            Action::Commit(index) => {
                let learnt = state.commit(self.acts[index].0);
                state.stages[index] =
                    learnt.map_or(Stage::Over, |learnt| Stage::Committed { learnt, epoch: state.epoch });
            }
            Action::Answer(index) => {
                let Stage::Committed { learnt, epoch } = state.stages[index] else { return None };
                let (act, node) = self.acts[index];
                state.nodes[node].known |= learnt;
                let sets = (self.jar && act == Act::SecretChange).then_some(state.rows[0].min_generation);
                state.stages[index] = Stage::Answered { since: 0, sets, epoch };
            }
            Action::DeliverDeed(index) => {
                let Stage::Answered { since, sets, epoch } = state.stages[index] else { return None };
                (state.jar, state.stages[index]) = (sets?, Stage::Answered { since, sets: None, epoch });
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
                    let late =
                        |act, at: usize, epoch| state.invalidated(act, epoch).any(|token| state.accepts(1 - at, token));
                    world.answered(state).any(|(act, at, _, epoch)| late(act, at, epoch))
                },
            ),
            Property::sometimes("a memory too old asks the table", |_, state: &State| {
                state.nodes.iter().any(|node| node.age > MAX_STALE)
            }),
            Property::sometimes("an end comes between a refresh's reading and writing", |_, state: &State| {
                matches!(state.flight, Some(Flight::Read { asked, row }) if row.ended != state.row(asked.session).ended
                    || row.epoch < state.epoch)
            }),
        ];
        if self.jar {
            all.push(Property::always(JAR, the_jar_lives));
        }
        all
    }
}
