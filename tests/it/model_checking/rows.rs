//! Shared parts of the models: a session's row small enough to be hashed, its statements as one atomic step each, and
//! the production's own decisions on it. The statements mirror store/sessions.rs; the decisions are called, not
//! mirrored.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use doorward::clock::Timestamp;
use doorward::core::error::Refusal;
use doorward::core::revocation::cache::RevocationCache;
use doorward::core::session::confirmations::PendingConfirmations;
use doorward::core::session::refresh::decide::{RotationRules, Verdict, decide, first_confirmation};
use doorward::core::token::claims::AccessClaims;
use doorward::core::{AccountId, AccountStatus, EndReason, SessionId};
use doorward::store::tables::revocations::RevocationRow;
use doorward::store::tables::sessions::{AccountState, SessionRow};
use stateright::{Checker, Expectation, Model, Path, Property};
use uuid::Uuid;

/// `REFRESH_GRACE`.
pub const GRACE: Duration = Duration::from_secs(10);

/// The time at which the models begin.
pub const START: Timestamp = Timestamp::from_seconds(1_000_000);

const OWNER: AccountId = AccountId(1);

/// How a rotation is written to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// `UPDATE … WHERE generation = … AND ended_at IS NULL`, as store/sessions.rs has it.
    CompareAndSet,
    /// Broken variant: the row is read, and written back whole.
    ReadThenWrite,
}

/// A session's row, as far as the protocol depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub generation: i64,
    pub min_generation: i64,
    pub epoch: i64,
    pub rotated_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub ended: Option<(Timestamp, EndReason)>,
}

impl Row {
    pub fn new(expires_at: Timestamp) -> Self {
        Self {
            generation: 0,
            min_generation: 0,
            epoch: 0,
            rotated_at: START,
            confirmed_at: None,
            expires_at,
            ended: None,
        }
    }

    /// The production's decision on a refresh token of this session.
    pub fn verdict(&self, now: Timestamp, presented: i64, epoch: i64, confirmed: Option<Timestamp>) -> Verdict {
        memoized(&VERDICTS, (*self, now, presented, epoch, confirmed), || {
            let account =
                AccountState { epoch, status: AccountStatus::Active, role: String::new(), must_change_password: false };
            let rules = RotationRules { rotates: true, grace: GRACE };
            decide(now, presented, &self.in_full(), &account, confirmed, &rules)
        })
    }

    /// When the current generation was first used, by the production's own code.
    pub fn first_confirmation(&self, seen_here: Option<Timestamp>) -> Option<Timestamp> {
        first_confirmation(&self.in_full(), seen_here)
    }

    /// `sessions::rotate`: whether the row was updated.
    pub fn rotate(&mut self, read: &Self, now: Timestamp, writing: Writing) -> bool {
        let current = self.generation == read.generation && self.ended.is_none();
        let rotated = match writing {
            Writing::CompareAndSet if !current => return false,
            Writing::CompareAndSet => *self,
            Writing::ReadThenWrite => *read,
        };
        *self = Self { generation: read.generation + 1, confirmed_at: None, rotated_at: now, ..rotated };
        true
    }

    /// `sessions::touch`: whether the session is still at this generation.
    pub fn touch(&self, generation: i64) -> bool {
        self.generation == generation && self.ended.is_none()
    }

    /// `sessions::confirm`.
    pub fn confirm(&mut self, generation: i64, at: Timestamp) {
        if self.generation == generation && self.confirmed_at.is_none() {
            self.confirmed_at = Some(at);
        }
    }

    /// `sessions::end`: whether the session was live.
    pub fn end(&mut self, at: Timestamp, why: EndReason) -> bool {
        let alive = self.ended.is_none();
        if alive {
            (self.ended, self.expires_at) = (Some((at, why)), at);
        }
        alive
    }

    fn in_full(&self) -> SessionRow {
        SessionRow {
            id: session_id(0),
            account_id: OWNER,
            dialect: String::new(),
            epoch: self.epoch,
            generation: self.generation,
            min_generation: self.min_generation,
            key_id: String::new(),
            rotated_at: self.rotated_at,
            confirmed_at: self.confirmed_at,
            created_at: START,
            last_seen_at: self.rotated_at,
            idle_expires_at: self.expires_at,
            expires_at: self.expires_at,
            access_expires_at: self.expires_at,
            persistent: true,
            device_id: None,
            device_name: None,
            user_agent: None,
            address: None,
            ended_at: self.ended.map(|(at, _)| at),
            end_reason: self.ended.map(|(_, why)| why),
        }
    }
}

/// Whether the decision is answered with tokens.
pub fn gives_tokens(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Rotate | Verdict::Replay | Verdict::Keep)
}

/// Whether the answer clears the browser's cookies.
pub fn clears_cookies(refusal: Refusal) -> bool {
    refusal.of_refresh().ends_session()
}

fn session_id(number: u8) -> SessionId {
    SessionId(Uuid::from_u128(u128::from(number)))
}

/// What is revoked before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dead {
    /// All tokens of a session.
    Session(u8),
    /// A session's tokens of lower generations.
    Below(u8, i64),
    /// The account's tokens of lower epochs.
    Epochs(i64),
}

impl Dead {
    pub fn until(self, until: Timestamp) -> RevocationRow {
        let (session, generation, epoch) = match self {
            Self::Session(session) => (Some(session), None, None),
            Self::Below(session, generation) => (Some(session), Some(generation), None),
            Self::Epochs(epoch) => (None, None, Some(epoch)),
        };
        RevocationRow {
            id: 1,
            session_id: session.map(session_id),
            generation,
            account_id: epoch.map(|_| OWNER),
            epoch,
            created_at: START,
            expires_at: until,
        }
    }
}

/// The production's revocation cache, with this row in it.
pub fn cache_of(row: &RevocationRow) -> RevocationCache {
    let cache = RevocationCache::default();
    cache.apply(row);
    cache
}

/// Whether a revocation cache with these entries revokes the token, by the production's own code.
pub fn is_revoked(known: &[Dead], session: u8, generation: i64) -> bool {
    memoized(&REVOKED, (known.to_vec(), session, generation), || {
        let view = RevocationCache::default();
        known.iter().for_each(|dead| view.apply(&dead.until(START)));
        view.is_revoked(&access_token(session, generation, 0))
    })
}

/// When the current generation was confirmed, after this confirmation, by the production's own code.
pub fn seen(mark: (i64, Timestamp), current: i64) -> Option<Timestamp> {
    memoized(&SEEN, (mark, current), || {
        let confirmations = PendingConfirmations::default();
        confirmations.record(session_id(0), mark.0, mark.1);
        confirmations.first_seen(session_id(0), current)
    })
}

type Asked<Q, A> = RefCell<HashMap<Q, A>>;

thread_local! {
    static VERDICTS: Asked<(Row, Timestamp, i64, i64, Option<Timestamp>), Verdict> = RefCell::default();
    static REVOKED: Asked<(Vec<Dead>, u8, i64), bool> = RefCell::default();
    static SEEN: Asked<((i64, Timestamp), i64), Option<Timestamp>> = RefCell::default();
}

/// Memoises the production's answers: the states of a model ask the same few questions repeatedly.
fn memoized<Q: Hash + Eq, A: Clone>(
    cache: &'static std::thread::LocalKey<Asked<Q, A>>,
    question: Q,
    compute: impl FnOnce() -> A,
) -> A {
    cache.with_borrow_mut(|cache| cache.entry(question).or_insert_with(compute).clone())
}

/// The claims of an access token that a revocation depends on.
fn access_token(session: u8, generation: i64, epoch: i64) -> AccessClaims {
    AccessClaims {
        account: OWNER,
        session: session_id(session),
        generation,
        epoch,
        role: String::new(),
        must_change_password: false,
        issued_at: START,
        expires_at: START,
        id: String::new(),
    }
}

/// Explores every state and prints their number. Returns the invariants that broke, each with the shortest path there,
/// and fails if something that must be reachable never happened.
#[expect(clippy::print_stdout, reason = "the number of states")]
pub fn broken_by<M>(name: &str, model: &M) -> BTreeMap<&'static str, Vec<M::Action>>
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq + Send + Sync>,
    M: Clone + Send + Sync + 'static,
{
    let began = Instant::now();
    let checker = model.clone().checker().spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("model {name}: {states} states, depth {depth}, {} ms", began.elapsed().as_millis());
    let mut broken = BTreeMap::new();
    for Property { name: property, expectation, .. } in model.properties() {
        match (expectation, checker.discovery(property)) {
            (Expectation::Always, Some(_)) => {
                let way = shortest_way(property, model, depth);
                println!("  breaks {property:?}: {way:?}");
                broken.insert(property, way);
            }
            (Expectation::Sometimes, None) => panic!("{name}: it never happens that {property}"),
            _ => {}
        }
    }
    broken
}

/// The checker keeps the last path that it found, so the depth is increased step by step.
fn shortest_way<M>(property: &'static str, model: &M, depth: usize) -> Vec<M::Action>
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq + Send + Sync>,
    M: Clone + Send + Sync + 'static,
{
    let within = |depth| model.clone().checker().target_max_depth(depth).spawn_bfs().join().discovery(property);
    (1..=depth + 1).find_map(within).map(Path::into_actions).unwrap_or_default()
}

/// Fails unless every invariant of the model holds in all its states.
pub fn assert_holds<M>(name: &str, model: &M)
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq + Send + Sync>,
    M: Clone + Send + Sync + 'static,
{
    let broken = broken_by(name, model);
    assert!(broken.is_empty(), "{name} breaks {:?}", broken.keys());
}
