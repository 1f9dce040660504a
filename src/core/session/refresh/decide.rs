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
    /// The current generation, old enough: advance to the next.
    Rotate,
    /// The current generation, made or first presented a moment ago, or of a mount that does not rotate: a new access token,
    /// and the same refresh token.
    Reissue,
    /// The parent, whose successor was confirmed within the grace, or is not confirmed but young: the successor's tokens again.
    Replay,
    /// The parent, whose successor has not been presented for a while: an access token of the presented generation alone.
    ReissueParent,
    /// The parent, whose successor has not been presented for long: the response that carried it was lost, or is being hidden.
    /// Void the successor, and make another one.
    ReplaceUnconfirmed,
    /// A spent generation: the token was copied.
    Reuse,
    /// Refused; the session stays as it is.
    Refuse(Refusal),
}

impl Verdict {
    /// The label in the metrics.
    pub(in crate::core) const fn as_str(&self) -> &'static str {
        match self {
            Self::Rotate => "rotated",
            Self::Reissue => "reissued",
            Self::Replay => "replayed",
            Self::ReissueParent => "reissued_parent",
            Self::ReplaceUnconfirmed => "answer_lost",
            Self::Reuse => "reuse_detected",
            Self::Refuse(_) => "refused",
        }
    }

    /// Whether the presented token still stands for its session.
    pub(in crate::core) const fn is_accepted(&self) -> bool {
        !matches!(self, Self::Reuse | Self::Refuse(_))
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
    match refuse_dead_session(now, row, account) {
        Some(refusal) => Verdict::Refuse(refusal),
        None => decide_generation(now, presented, row, confirmed, rules),
    }
}

/// The same for a session that is known to be live: what follows from the generation alone.
pub fn decide_generation(
    now: Timestamp,
    presented: i64,
    row: &SessionRow,
    confirmed: Option<Timestamp>,
    rules: &RotationRules,
) -> Verdict {
    // Above the current generation: the table was restored from a backup. Below the minimum: a change of the secret replaced
    // the token. Neither proves theft, so the session continues.
    if presented > row.generation || presented < row.min_generation {
        return Verdict::Refuse(Refusal::TokenInvalid);
    }
    if presented == row.generation {
        let rotates = rules.rotates && is_rotation_due(now, row, confirmed, rules.grace);
        return if rotates { Verdict::Rotate } else { Verdict::Reissue };
    }
    if row.parent != Some(presented) {
        return Verdict::Reuse;
    }
    let within = |from: Timestamp, time: Duration| now <= from.plus(time);
    match confirmed {
        Some(confirmed) if within(confirmed, rules.grace) => Verdict::Replay,
        Some(_) => Verdict::Reuse,
        None if within(row.rotated_at, rules.lost_after) => Verdict::Replay,
        // The last replay may still be on its way, and what it carries may be presented one grace after it has arrived.
        None if within(row.rotated_at, rules.lost_after + rules.grace * 2) => Verdict::ReissueParent,
        None => Verdict::ReplaceUnconfirmed,
    }
}

fn refuse_dead_session(now: Timestamp, row: &SessionRow, account: &AccountState) -> Option<Refusal> {
    if row.end_reason == Some(EndReason::Replaced) {
        // A tab refreshes while another one signs in: the browser holds the cookies of the new session. `SessionEnded` would
        // clear them.
        return Some(Refusal::TokenInvalid);
    }
    if row.ended_at.is_some() || row.epoch < account.epoch {
        return Some(Refusal::SessionEnded);
    }
    if account.status != AccountStatus::Active {
        return Some(Refusal::AccountNotActive(account.status));
    }
    (row.expires_at <= now || row.idle_expires_at <= now).then_some(Refusal::TokenExpired)
}

/// Whether no response that carries the current generation can still be on its way: the last one is sent within a grace after
/// the confirmation, and arrives within another. So a browser's cookie cannot fall back behind the next generation. A generation
/// that is presented for the first time is confirmed by that, and so is young. Generation 0 came with the sign-in.
fn is_rotation_due(now: Timestamp, row: &SessionRow, confirmed: Option<Timestamp>, grace: Duration) -> bool {
    let is_settled = confirmed.is_some_and(|at| now > at.plus(grace * 2)) && now > row.rotated_at.plus(grace);
    row.generation == 0 || is_settled
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
    /// `REFRESH_LOST_AFTER`.
    pub lost_after: Duration,
}
