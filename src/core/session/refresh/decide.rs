//! Refresh decision: what a presented refresh token is worth, as a pure function of now, the session's row and the rules.
//! Acting on the verdict is refresh.rs's.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::error::Refusal;
use crate::core::session::end_reason::EndReason;
use crate::store::AccountStatus;
use crate::store::tables::sessions::{AccountState, SessionRow};

/// What follows from a presented refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the current one: make the next generation.
    Rotate,
    /// It is the current one and the mount keeps it: make an access token.
    Keep,
    /// It was spent a moment ago, or its successor never arrived: answer the successor again.
    Replay,
    /// It was spent and its successor was used: it has leaked.
    Reuse,
    /// No.
    Refuse(Refusal),
}

impl Verdict {
    /// The word in the metrics.
    pub(in crate::core) const fn as_str(&self) -> &'static str {
        match self {
            Self::Rotate => "rotated",
            Self::Keep => "reissued",
            Self::Replay => "replayed",
            Self::Reuse => "reuse_detected",
            Self::Refuse(_) => "refused",
        }
    }
}

/// Decides over a genuine, unexpired refresh token. `confirmed` is when the current generation was first seen anywhere.
pub fn decide(
    now: Timestamp,
    presented: i64,
    row: &SessionRow,
    account: &AccountState,
    confirmed: Option<Timestamp>,
    rules: &RotationRules,
) -> Verdict {
    if row.end_reason.as_deref() == Some(EndReason::Replaced.as_str()) {
        // A tab that refreshes while another signs in: the browser holds the new session's cookies, which must stay.
        return Verdict::Refuse(Refusal::TokenInvalid);
    }
    if row.ended_at.is_some() || row.epoch < account.epoch {
        return Verdict::Refuse(Refusal::SessionEnded);
    }
    if account.status != AccountStatus::Active {
        return Verdict::Refuse(Refusal::AccountNotActive(account.status));
    }
    if row.expires_at <= now || row.idle_expires_at <= now {
        return Verdict::Refuse(Refusal::TokenExpired);
    }
    // Above the current generation: a token from before a restore of the table. Below the bar: a secret change replaced it.
    if presented > row.generation || presented < row.min_generation {
        return Verdict::Refuse(Refusal::TokenInvalid);
    }
    if presented == row.generation {
        return if rules.rotates { Verdict::Rotate } else { Verdict::Keep };
    }
    let in_grace = confirmed.is_none_or(|at| now <= at.plus(rules.grace));
    if presented == row.generation - 1 && in_grace { Verdict::Replay } else { Verdict::Reuse }
}

/// When the current generation was first seen: a mark that this node could not write yet may be older than the table's.
pub fn first_confirmation(row: &SessionRow, seen_here: Option<Timestamp>) -> Option<Timestamp> {
    row.confirmed_at.into_iter().chain(seen_here).min()
}

/// What of the settings and the mount the verdict depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationRules {
    /// Whether the mount rotates.
    pub rotates: bool,
    /// `REFRESH_GRACE`.
    pub grace: Duration,
}
