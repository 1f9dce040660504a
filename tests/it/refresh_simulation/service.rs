//! A service of two nodes on one database: the row's statements as rows.rs of the model checking mirrors them, the
//! production's decisions and confirmations in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use doorward::clock::Timestamp;
use doorward::core::SessionId;
use doorward::core::session::confirmations::PendingConfirmations;
use doorward::core::session::end_reason::EndReason;
use doorward::core::session::refresh::decide::{RotationRules, Verdict};
use uuid::Uuid;

use crate::model_checking::rows::{Row, START, Writing};

/// Milliseconds since the beginning, or between two events.
pub type Millis = u64;

pub const SECOND: Millis = 1000;
pub const MINUTE: Millis = 60 * SECOND;
pub const HOUR: Millis = 60 * MINUTE;

/// `REFRESH_GRACE` and `REFRESH_LOST_AFTER`.
pub const GRACE: Millis = 30 * SECOND;
pub const LOST_AFTER: Millis = 60 * SECOND;

pub const NODES: usize = 2;

const SESSION: SessionId = SessionId(Uuid::nil());

/// The rules, or those of the first version of the protocol, which rotates the current generation at any age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    AsWritten,
    WithoutYouth,
}

/// The answer to a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The generation of the access token, and of the refresh token if one is set.
    Tokens {
        access: i64,
        refresh: Option<i64>,
    },
    SignedOut,
}

pub struct Service {
    row: Row,
    rules: Rules,
    memories: [PendingConfirmations; NODES],
    /// Access tokens of lower generations are revoked.
    revoked_below: i64,
    pub verdicts: BTreeMap<&'static str, usize>,
}

fn at(now: Millis) -> Timestamp {
    START.plus(Duration::from_millis(now))
}

impl Service {
    pub fn new(rules: Rules) -> Self {
        let row = Row::new(at(1_000_000 * HOUR));
        Self { row, rules, memories: Default::default(), revoked_below: 0, verdicts: BTreeMap::new() }
    }

    pub fn refreshes(&self) -> usize {
        self.verdicts.values().sum()
    }

    pub fn is_ended(&self) -> bool {
        self.row.ended.is_some()
    }

    fn confirmed(&self, node: usize) -> Option<Timestamp> {
        self.row.first_confirmation(self.memories[node].first_seen(SESSION, self.row.generation))
    }

    /// The decision on a presented generation.
    pub fn verdict(&self, now: Millis, node: usize, presented: i64) -> Verdict {
        let rules = RotationRules {
            rotates: true,
            grace: Duration::from_millis(GRACE),
            lost_after: Duration::from_millis(LOST_AFTER),
        };
        let verdict = self.row.verdict_by(&rules, at(now), presented, 0, self.confirmed(node));
        if verdict == Verdict::Reissue && self.rules == Rules::WithoutYouth { Verdict::Rotate } else { verdict }
    }

    pub fn refresh(&mut self, now: Millis, node: usize, presented: i64) -> Answer {
        let (verdict, row) = (self.verdict(now, node, presented), self.row);
        let generation = row.generation;
        *self.verdicts.entry(name_of(&verdict)).or_default() += 1;
        match verdict {
            Verdict::Rotate => {
                self.row.rotate(&row, at(now), Writing::CompareAndSet);
                Answer::Tokens { access: generation + 1, refresh: Some(generation + 1) }
            }
            Verdict::Reissue => {
                let confirmed = self.confirmed(node).unwrap_or(at(now));
                self.row.touch(generation, (generation > 0).then_some(confirmed));
                Answer::Tokens { access: generation, refresh: None }
            }
            Verdict::Replay => Answer::Tokens { access: generation, refresh: Some(generation) },
            Verdict::ReissueParent => Answer::Tokens { access: presented, refresh: None },
            Verdict::ReplaceUnconfirmed => {
                self.row.replace_unconfirmed(&row, presented, at(now));
                self.revoked_below = generation + 1;
                Answer::Tokens { access: generation + 1, refresh: Some(generation + 1) }
            }
            Verdict::Reuse => {
                self.row.end(at(now), EndReason::RefreshReuse);
                Answer::SignedOut
            }
            Verdict::Refuse(_) => Answer::SignedOut,
        }
    }

    /// A check of an unexpired access token: whether it is accepted.
    pub fn check(&self, now: Millis, node: usize, access: i64) -> bool {
        let is_accepted = !self.is_ended() && access >= self.revoked_below;
        if is_accepted {
            self.memories[node].record(SESSION, access, at(now));
        }
        is_accepted
    }

    /// A renewal at a check: the generation of the new access token.
    pub fn renew(&self, now: Millis, node: usize, presented: i64) -> Option<i64> {
        let may = matches!(self.verdict(now, node, presented), Verdict::Rotate | Verdict::Reissue);
        if may {
            self.memories[node].record(SESSION, presented, at(now));
        }
        may.then_some(presented)
    }

    pub fn flush_confirmations(&mut self, node: usize) {
        let pending = self.memories[node].pending();
        for (_, generation, at) in &pending {
            self.row.confirm(*generation, *at);
        }
        self.memories[node].flushed(&pending);
    }

    /// The node loses its memory.
    pub fn crash(&mut self, node: usize) {
        self.memories[node] = PendingConfirmations::default();
    }
}

fn name_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Rotate => "rotate",
        Verdict::Reissue => "reissue",
        Verdict::Replay => "replay",
        Verdict::ReissueParent => "reissue parent",
        Verdict::ReplaceUnconfirmed => "replace",
        Verdict::Reuse => "reuse",
        Verdict::Refuse(_) => "refuse",
    }
}
