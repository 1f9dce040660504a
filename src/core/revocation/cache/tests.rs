//! What the view believes: rows that come late or twice, rebuildings, marks.

use super::*;
use crate::store::Id128;
use uuid::Uuid;

fn token(session: u128, generation: i64, account: i64, epoch: i64) -> AccessClaims {
    let at = Timestamp::from_seconds(0);
    AccessClaims {
        account: AccountId(account),
        session: Id128(Uuid::from_u128(session)),
        generation,
        epoch,
        role: String::new(),
        must_change_password: false,
        issued_at: at,
        expires_at: at,
        id: String::new(),
    }
}

fn row(session: Option<u128>, generation: Option<i64>, account: Option<(i64, i64)>, until: i64) -> RevocationRow {
    RevocationRow {
        id: 1,
        session_id: session.map(|id| Id128(Uuid::from_u128(id))),
        generation,
        account_id: account.map(|(id, _)| AccountId(id)),
        epoch: account.map(|(_, epoch)| epoch),
        created_at: Timestamp::from_seconds(0),
        expires_at: Timestamp::from_seconds(until),
    }
}

#[test]
fn a_session_or_its_older_generations_are_dead() {
    let view = View::default();
    view.apply(&row(Some(1), None, None, 9));
    view.apply(&row(Some(2), Some(5), None, 9));
    assert!(view.is_revoked(&token(1, 99, 0, 0)));
    assert!(view.is_revoked(&token(2, 4, 0, 0)) && !view.is_revoked(&token(2, 5, 0, 0)));
    assert!(!view.is_revoked(&token(3, 0, 0, 0)));
}

#[test]
fn a_late_row_takes_nothing_back() {
    let view = View::default();
    view.apply(&row(None, None, Some((7, 3)), 9));
    view.apply(&row(None, None, Some((7, 2)), 5));
    assert!(view.is_revoked(&token(1, 0, 7, 2)) && !view.is_revoked(&token(1, 0, 7, 3)));
    view.forget(Timestamp::from_seconds(9));
    assert!(view.is_revoked(&token(1, 0, 7, 2)));
    assert!(!view.may_have_forgotten(&AccessClaims { expires_at: Timestamp::from_seconds(10), ..token(1, 0, 7, 2) }));
    view.forget(Timestamp::from_seconds(10));
    assert!(view.is_empty());
    assert!(view.may_have_forgotten(&AccessClaims { expires_at: Timestamp::from_seconds(9), ..token(1, 0, 7, 2) }));
}

#[test]
fn a_rebuilding_keeps_what_is_dead_and_forgets_epochs_that_were_lost() {
    let view = View::default();
    view.apply(&row(Some(1), None, None, 9));
    view.apply(&row(None, None, Some((7, 3)), 9));
    view.apply(&row(None, None, Some((8, 5)), 9));
    let mut pages = vec![vec![row(None, None, Some((7, 2)), 9)]];
    view.rebuild(|_, _| {
        // Written by this node while it reads.
        view.apply(&row(None, None, Some((9, 1)), 9));
        Ok(pages.pop().unwrap_or_default())
    })
    .unwrap();
    assert!(view.is_revoked(&token(1, 0, 1, 0)), "a session's end is never taken back");
    assert!(view.is_revoked(&token(2, 0, 7, 1)) && !view.is_revoked(&token(2, 0, 7, 2)), "as the table has it");
    assert!(!view.is_revoked(&token(2, 0, 8, 4)), "the table never heard of it");
    assert!(view.is_revoked(&token(2, 0, 9, 0)));
}

#[test]
fn a_rebuilding_believes_no_dead_token_between_two_rows() {
    let view = View::default();
    let (first, last) = (row(None, None, Some((7, 1)), 9), row(None, None, Some((7, 3)), 9));
    view.apply(&first);
    view.apply(&last);
    // The first breaks off after one row, as when the server goes away.
    for rows in [vec![Some(first.clone()), None], vec![Some(first), Some(last)]] {
        let mut rows = rows.into_iter();
        let whole = !rows.as_slice().contains(&None);
        let read = view.rebuild(|_, _| {
            assert!(view.is_revoked(&token(1, 0, 7, 2)), "{rows:?} are still to come");
            match rows.next() {
                Some(Some(row)) => Ok(vec![row]),
                Some(None) => Err(store::Error::unavailable(store::OutageCause::Connection, "the server is gone")),
                None => Ok(vec![]),
            }
        });
        assert_eq!(read.is_ok(), whole);
        assert!(view.is_revoked(&token(1, 0, 7, 2)) && !view.is_revoked(&token(1, 0, 7, 3)));
    }
}
