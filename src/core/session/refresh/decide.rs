//! Refresh verdict: what follows from a presented refresh token, as a pure function of the time, the session's row and the
//! rules. Carrying it out is refresh.rs's; whether the token is genuine was decided before, in token.rs.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::error::Refusal;
use crate::core::session::end_reason::EndReason;
use crate::store::AccountStatus;
use crate::store::tables::sessions::{AccountState, SessionRow};

/// What follows from a presented refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The current generation: advance to the next.
    Rotate,
    /// The current generation, on a mount that does not rotate: issue an access token only.
    Keep,
    /// The previous generation, whose successor is unconfirmed or was confirmed within the grace: issue the successor again.
    Replay,
    /// A spent generation whose successor was used: the token was copied.
    Reuse,
    /// Refused; the session stays as it is.
    Refuse(Refusal),
}

impl Verdict {
    /// The label in the metrics.
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

/// Decides about a genuine, unexpired refresh token of generation `presented`. `confirmed` is when the current generation was
/// first presented to any node.
pub fn decide(
    now: Timestamp,
    presented: i64,
    row: &SessionRow,
    account: &AccountState,
    confirmed: Option<Timestamp>,
    rules: &RotationRules,
) -> Verdict {
    if row.end_reason == Some(EndReason::Replaced) {
        // A tab refreshes while another one signs in: the browser holds the cookies of the new session. `SessionEnded` would
        // clear them.
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
    // Above the current generation: the table was restored from a backup. Below the minimum: a change of the secret replaced
    // the token. Neither proves theft, so the session continues.
    if presented > row.generation || presented < row.min_generation {
        return Verdict::Refuse(Refusal::TokenInvalid);
    }
    if presented == row.generation {
        return if rules.rotates { Verdict::Rotate } else { Verdict::Keep };
    }
    // Unconfirmed: no node has seen the successor, so its response was probably lost, however long ago that is.
    let in_grace = confirmed.is_none_or(|at| now <= at.plus(rules.grace));
    if presented == row.generation - 1 && in_grace { Verdict::Replay } else { Verdict::Reuse }
}

/// When the current generation was first presented. A confirmation that this node has not flushed yet may be earlier than
/// the row's, which another node wrote.
pub fn first_confirmation(row: &SessionRow, seen_here: Option<Timestamp>) -> Option<Timestamp> {
    row.confirmed_at.into_iter().chain(seen_here).min()
}

/// The settings and properties of the mount that the verdict depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationRules {
    /// Whether the mount rotates refresh tokens.
    pub rotates: bool,
    /// `REFRESH_GRACE`.
    pub grace: Duration,
}
