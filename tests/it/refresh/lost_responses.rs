//! Lost responses: a client that collects the successor late, a thief who hides it, and what several refreshes in flight leave
//! the browser with.

use std::time::Duration;

use super::{REUSES, assert_reuse, generation, refreshed};
use crate::support::{Backend, Tokens, is_accepted, on_both_backends, refresh_with, register, rotated, sign_in};

on_both_backends!(
    a_lost_answer_ends_no_session,
    a_hidden_successor_is_void_and_ends_the_session_when_it_is_used,
    refreshes_in_flight_at_once_leave_the_browser_signed_in,
);

/// Just longer than a response may have been lost for before the next one replaces what it carried.
const AFTER_LOSS: Duration = Duration::from_millis(120_001);

/// A late client gets the same refresh token, then an access token of what it has, and then a replacement.
fn a_lost_answer_ends_no_session(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let lost_events = "SELECT count(*) FROM audit_events WHERE kind = 'refresh_answer_lost'";
    let first = Tokens::in_jar_of(&register(&service, "emily"));
    let lost = refreshed(&service, &first.refresh);
    service.advance(Duration::from_secs(60));
    assert_eq!(refreshed(&service, &first.refresh), lost, "the same bytes for REFRESH_LOST_AFTER");
    for wait in [1, 59_999] {
        service.advance(Duration::from_millis(wait));
        let waiting = refresh_with(&service, &first.refresh);
        let tokens = Tokens::after_refresh(&waiting, &first.refresh);
        assert_eq!((generation(&tokens), waiting.set_cookies().len()), (0, 1), "an access token alone");
        assert!(is_accepted(&service, &tokens.access));
    }
    assert_eq!(tables.number(&service, lost_events), 0);
    service.advance(Duration::from_millis(1));
    let next = refreshed(&service, &first.refresh);
    assert_eq!((generation(&next), tables.number(&service, lost_events)), (2, 1));
    assert!(!is_accepted(&service, &lost.access), "the void generation's access token is revoked");
    assert_eq!(refreshed(&service, &first.refresh), next, "its parent is what was presented");
    assert_eq!(generation(&rotated(&service, &next)), 3);
    assert_eq!(tables.number(&service, REUSES), 0);
}

/// A thief refreshes first and shows nothing; the owner's refresh voids what he took.
fn a_hidden_successor_is_void_and_ends_the_session_when_it_is_used(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    for used in ["refresh", "check first"] {
        let owner = Tokens::in_jar_of(&if used == "refresh" {
            register(&service, "emily")
        } else {
            sign_in(&service, "emily")
        });
        let hidden = refreshed(&service, &owner.refresh);
        service.advance(AFTER_LOSS);
        let next = refreshed(&service, &owner.refresh);
        if used == "check first" {
            assert!(!is_accepted(&service, &hidden.access) && is_accepted(&service, &next.access));
        }
        let before = tables.number(&service, REUSES);
        assert_reuse(&refresh_with(&service, &hidden.refresh));
        assert_eq!(tables.number(&service, REUSES), before + 1);
        next.assert_invalid(&service);
    }
}

/// Three requests in flight, of which the second presents what the first made: any order of their answers is safe.
fn refreshes_in_flight_at_once_leave_the_browser_signed_in(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let zero = Tokens::in_jar_of(&register(&service, "emily"));
    let one = refreshed(&service, &zero.refresh);
    let young = refresh_with(&service, &one.refresh);
    let names: Vec<String> = young.set_cookies().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(names, ["accessToken"], "no refresh cookie that could be overtaken");
    assert_eq!(refreshed(&service, &zero.refresh).refresh, one.refresh, "the answer that comes last");
    one.assert_valid(&service);
    for _ in 0..5 {
        service.advance(Duration::from_secs(11));
        assert_eq!(generation(&refreshed(&service, &one.refresh)), 1, "young for two graces after its first use");
    }
    service.advance(Duration::from_secs(6));
    assert_eq!(generation(&refreshed(&service, &one.refresh)), 2);
    assert_eq!(tables.number(&service, REUSES), 0);
}
