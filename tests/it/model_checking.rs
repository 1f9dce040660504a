//! Model checking of the session and revocation protocol over every order of events within small bounds: invariants,
//! events that must be reachable so that the invariants are not vacuous, broken protocols that must be detected, and
//! known limits.
//!
//! The decision on a refresh token, the revocation cache, its pruning, the pending confirmations and which refusals
//! clear cookies are the production's own functions. The statements of store/sessions.rs are mirrored as atomic steps.
//!
//! Left out: signatures and contracts (a token is its session, generation and times); how a poll reads (here it reads
//! everything committed, atomically); the idle expiry, statuses, mounts that do not rotate or that revoke at rotation,
//! the opaque shape, sign-ins that replace a session, clocks of nodes that differ by less than a grace.
//!
//! A thief who has the same tokens as the owner cannot be detected by any protocol until one of the two moves on without
//! the other: presents a generation that the other does not hold. From a grace later the other gets no tokens, and if it is
//! the owner who comes, or the thief at a refresh, the session ends as reuse. A thief who comes within every grace lives on.

use std::time::Duration;

use doorward::core::revocation::write::RETENTION_MARGIN;

use checker::{assert_holds, broken_by};
use clocks::Clocks;
use refresh_rotation::{FOUND, HONEST, ONE_LIVE, Rotation, Rules, Thief, VOID};
use rows::Writing;
use session_end::{Act, SessionEnds};

use crate::support::is_soak;

mod checker;
mod clocks;
mod refresh_rotation;
pub mod rows;
mod session_end;

/// One client with two concurrent requests. The times are in the proportion of the defaults.
const CLIENT: Rotation = Rotation {
    writing: Writing::CompareAndSet,
    rules: Rules::AsWritten,
    thief: Thief::None,
    slow_thief: false,
    requests: 2,
    crashes: true,
    grace: 1,
    lost_after: 2,
    travel: 1,
};

/// No two of the thresholds are the same.
const DISTINCT: Rotation = Rotation { lost_after: 3, ..CLIENT };

/// The same in smaller ticks.
const FINER: Rotation = Rotation { grace: 2, lost_after: 3, travel: 2, crashes: false, ..CLIENT };

const JUMPS: Clocks = Clocks { step: RETENTION_MARGIN, jumps: 2, refreshes: 2 };

#[test]
fn a_client_that_loses_answers_and_nodes_is_never_signed_out() {
    assert_holds("two concurrent requests", &CLIENT);
    assert_holds("two concurrent requests, other thresholds", &DISTINCT);
    assert_holds("three concurrent requests", &Rotation { requests: 3, crashes: false, ..CLIENT });
    if is_soak() {
        assert_holds("two concurrent requests, finer, with crashes", &Rotation { crashes: true, ..FINER });
        assert_holds("three concurrent requests, with crashes", &Rotation { requests: 3, ..DISTINCT });
    }
}

/// What the first version of the protocol could not promise.
#[test]
fn a_tab_that_refreshes_twice_quickly_keeps_the_session() {
    assert_holds("hasty tabs", &FINER);
}

#[test]
fn a_thief_is_shut_out_or_caught_when_the_owner_moves_on_without_him() {
    let thief = Rotation { thief: Thief::Any, requests: 1, crashes: false, ..CLIENT };
    assert_holds("a request, a thief", &thief);
    if is_soak() {
        assert_holds("a request, a slow thief, crashes", &Rotation { slow_thief: true, crashes: true, ..thief });
        assert_holds("two requests, a thief", &Rotation { requests: 2, ..thief });
    }
}

#[test]
fn a_thief_who_hides_what_he_got_costs_the_owner_nothing() {
    let thief = Rotation { thief: Thief::Hides, requests: 1, crashes: false, ..CLIENT };
    assert_holds("a request, a hiding thief", &thief);
    if is_soak() {
        assert_holds("two requests, a hiding thief", &Rotation { requests: 2, slow_thief: true, ..thief });
    }
}

#[test]
fn a_session_end_is_final_on_every_node_and_in_every_race() {
    use Act::{Logout, LogoutEverywhere, SecretChange, SecretChangeKeepingTokens};
    for (acts, crashes) in [
        ([(Logout, 0), (Logout, 1)], 1),
        ([(Logout, 0), (SecretChange, 1)], 1),
        ([(LogoutEverywhere, 0), (SecretChange, 1)], 0),
        ([(LogoutEverywhere, 0), (SecretChangeKeepingTokens, 1)], 0),
        ([(SecretChange, 0), (SecretChangeKeepingTokens, 1)], 0),
        ([(SecretChangeKeepingTokens, 0), (SecretChangeKeepingTokens, 1)], 0),
        ([(LogoutEverywhere, 0), (LogoutEverywhere, 1)], 1),
    ] {
        let ends = SessionEnds::of(&acts);
        assert_holds(&format!("{acts:?}"), &SessionEnds { crashes, ..ends.clone() });
        if is_soak() {
            assert_holds(&format!("{acts:?}, two refreshes"), &SessionEnds { refreshes: 2, ..ends });
        }
    }
}

#[test]
fn a_clock_step_of_a_day_revives_nothing_and_ends_nothing() {
    assert_holds("purges and clocks", &JUMPS);
}

#[test]
fn a_read_then_write_rotation_is_caught() {
    let broken = broken_by("read-then-write", &Rotation { writing: Writing::ReadThenWrite, crashes: false, ..CLIENT });
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [ONE_LIVE]);

    let logout = SessionEnds { writing: Writing::ReadThenWrite, ..SessionEnds::of(&[(Act::Logout, 0)]) };
    let broken = broken_by("a logout, read-then-write", &logout);
    let way = &broken[session_end::NO_TOKENS];
    let at = |action: &session_end::Action| way.iter().position(|taken| taken == action);
    assert!(
        at(&session_end::Action::Commit(0)) < at(&session_end::Action::Write),
        "the refresh wrote the ended row back: {way:?}"
    );
    // The row that was written back counts as live again, while the cache rightly calls it revoked.
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [session_end::LIVE, session_end::NO_TOKENS]);
}

#[test]
fn a_grace_that_outlives_a_logout_is_caught() {
    let logout = SessionEnds { parents_first: true, ..SessionEnds::of(&[(Act::Logout, 0)]) };
    let broken = broken_by("a logout, a grace that outlives it", &logout);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [session_end::NO_TOKENS]);
    let way = &broken[session_end::NO_TOKENS];
    assert_eq!(way.last(), Some(&session_end::Action::Answer(0)), "the parent is answered once the logout is: {way:?}");
    assert!(way.contains(&session_end::Action::Write), "and there is a parent: {way:?}");
}

#[test]
fn revocations_outlive_their_tokens_by_the_largest_clock_step() {
    let broken =
        broken_by("a jump beyond the slack", &Clocks { step: RETENTION_MARGIN + Duration::from_hours(1), ..JUMPS });
    assert!(broken.contains_key(clocks::FINAL), "the slack is what holds it: {broken:?}");
}

/// The invariants that break without a part of the rules, and the shortest way there.
fn broken_without(rules: Rules, thief: Thief) -> Vec<&'static str> {
    let requests = if thief == Thief::None { 2 } else { 1 };
    let broken = broken_by(&format!("{rules:?}"), &Rotation { rules, thief, requests, crashes: false, ..CLIENT });
    broken.into_keys().collect()
}

#[test]
fn each_part_of_the_rules_is_needed() {
    for rules in [Rules::WithoutYouth, Rules::YoungForOneGrace, Rules::LostAtOnce, Rules::LostAfterOneGrace] {
        assert_eq!(broken_without(rules, Thief::None), [HONEST], "{rules:?}");
    }
    assert_eq!(broken_without(Rules::VoidAccepted, Thief::Any), [VOID, FOUND]);
}

/// A limit: the promise is for messages that take at most a grace.
#[test]
fn an_answer_that_takes_longer_than_a_grace_can_cost_the_session() {
    let broken = broken_by("slow answers", &Rotation { travel: CLIENT.travel + 1, crashes: false, ..CLIENT });
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [HONEST]);
}

/// A limit: the time for lost answers is at least the grace, or a successor is replaced while the answer that carried it first
/// is on its way.
#[test]
fn the_time_for_lost_answers_is_at_least_the_grace() {
    assert_holds("as long", &Rotation { lost_after: 2, ..FINER });
    let broken = broken_by("shorter", &Rotation { lost_after: 1, ..FINER });
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [HONEST]);
}

/// A limit of tokens in bodies: who stores the refresh token of an answer that repeats the one that was sent may put it
/// over a newer one. A cookie is not set then.
#[test]
fn a_client_that_stores_what_it_has_sent_can_lose_the_session() {
    assert_eq!(broken_without(Rules::ReissueIsStored, Thief::None), [HONEST]);
    let alone = Rotation { rules: Rules::ReissueIsStored, requests: 1, ..CLIENT };
    assert_holds("one request at a time", &alone);
}

/// A limit of shared cookies: a password change leaves older tokens no grace, and the cookie jar keeps what arrived
/// last.
#[test]
fn a_refresh_answered_after_a_password_change_can_restore_old_cookies() {
    let change = SessionEnds { jar: true, ..SessionEnds::of(&[(Act::SecretChange, 0)]) };
    let broken = broken_by("a change of the secret beside a refresh", &change);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [session_end::JAR]);
    assert_eq!(broken[session_end::JAR].last(), Some(&session_end::Action::Deliver));
}
