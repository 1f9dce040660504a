//! Model checking of the session and revocation protocol over every order of events within small bounds: invariants,
//! events that must be reachable so that the invariants are not vacuous, broken protocols that must be detected, and
//! known limits.
//!
//! The decision on a refresh token, the revocation cache, its pruning, the pending confirmations and which refusals
//! clear cookies are the production's own functions. The statements of store/sessions.rs are mirrored as atomic steps.
//!
//! Left out: signatures and contracts (a token is its session, generation and times); how a poll reads (here it reads
//! everything committed, atomically); the idle expiry, statuses, mounts that do not rotate or that revoke at rotation,
//! the opaque shape, sign-ins that replace a session. A thief who stays silent until the owner has the same tokens
//! cannot be detected by any protocol.

use std::time::Duration;

use doorward::core::revocation::write::RETENTION_MARGIN;

use clocks::Clocks;
use refresh_rotation::{Habit, Rotation};
use rows::{Writing, assert_holds, broken_by};
use session_end::{Act, SessionEnds};

mod clocks;
mod refresh_rotation;
mod rows;
mod session_end;

const TABS: Rotation = Rotation {
    writing: Writing::CompareAndSet,
    habit: Habit::WhenExpired,
    tabs: 2,
    thief: false,
    beats: 3,
    crashes: 1,
    generations: 3,
};

const JUMPS: Clocks = Clocks { step: RETENTION_MARGIN, jumps: 2, refreshes: 2 };

#[test]
fn two_tabs_that_lose_answers_and_a_node_are_never_logged_out() {
    assert_holds("two tabs, a crash", &TABS);
}

#[test]
fn reuse_is_detected_at_the_next_refresh_of_owner_or_thief() {
    let thief = Rotation { thief: true, crashes: 0, generations: 2, ..TABS };
    assert_holds("a tab, a thief", &Rotation { tabs: 1, ..thief });
    assert_holds("a tab, a thief, a crash", &Rotation { tabs: 1, beats: 2, crashes: 1, ..thief });
    assert_holds("two tabs, a thief", &Rotation { beats: 2, ..thief });
}

#[test]
fn a_session_end_is_final_on_every_node_and_in_every_race() {
    use Act::{Logout, LogoutEverywhere, SecretChange};
    for (acts, crashes) in [
        ([(Logout, 0), (Logout, 1)], 1),
        ([(Logout, 0), (SecretChange, 1)], 1),
        ([(LogoutEverywhere, 0), (SecretChange, 1)], 0),
        ([(LogoutEverywhere, 0), (LogoutEverywhere, 1)], 1),
    ] {
        let ends = SessionEnds::of(&acts);
        assert_holds(&format!("{acts:?}"), &SessionEnds { refreshes: 2, ..ends.clone() });
        if crashes > 0 {
            assert_holds(&format!("{acts:?}, a crash"), &SessionEnds { crashes, ..ends });
        }
    }
}

#[test]
fn a_clock_step_of_a_day_revives_nothing_and_ends_nothing() {
    assert_holds("purges and clocks", &JUMPS);
}

#[test]
fn a_read_then_write_rotation_is_caught() {
    let tabs = Rotation { writing: Writing::ReadThenWrite, beats: 2, crashes: 0, ..TABS };
    let broken = broken_by("two tabs, read-then-write", &tabs);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [refresh_rotation::ONE_LIVE]);

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

/// A limit of shared cookies: a tab that sends an older cookie after another tab refreshed twice looks like a thief. It
/// takes a tab that refreshes within moments of a refresh, long before its access token has expired.
#[test]
fn a_tab_that_refreshes_twice_quickly_can_lose_the_session() {
    let hasty = Rotation { habit: Habit::AtAnyTime, beats: 2, crashes: 0, generations: 2, ..TABS };
    let broken = broken_by("hasty tabs", &hasty);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [refresh_rotation::HONEST]);
    assert_eq!(broken[refresh_rotation::HONEST].last(), Some(&refresh_rotation::Action::Deliver(0)));
}

/// A limit of the same kind: a password change leaves older tokens no grace, and the cookie jar keeps what arrived
/// last.
#[test]
fn a_refresh_answered_after_a_password_change_can_restore_old_cookies() {
    let change = SessionEnds { jar: true, ..SessionEnds::of(&[(Act::SecretChange, 0)]) };
    let broken = broken_by("a change of the secret beside a refresh", &change);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [session_end::JAR]);
    assert_eq!(broken[session_end::JAR].last(), Some(&session_end::Action::Deliver));
}
