//! Revocation cache: rows out of order or twice, pruning, resyncs.

use super::*;
use crate::store::SessionId;
use uuid::Uuid;

fn account(number: u128) -> AccountUuid {
    AccountUuid(Uuid::from_u128(number))
}

fn token(session: u128, generation: i64, account: u128, epoch: i64) -> AccessClaims {
    let at = Timestamp::from_seconds(0);
    AccessClaims {
        account: self::account(account),
        session: SessionId(Uuid::from_u128(session)),
        generation,
        epoch,
        role: String::new(),
        must_change_password: false,
        issued_at: at,
        expires_at: at,
        id: String::new(),
    }
}

fn row(session: Option<u128>, generation: Option<i64>, account: Option<(u128, i64)>, until: i64) -> RevocationRow {
    RevocationRow {
        id: 1,
        session_id: session.map(|id| SessionId(Uuid::from_u128(id))),
        generation,
        account_uuid: account.map(|(number, _)| self::account(number)),
        epoch: account.map(|(_, epoch)| epoch),
        except_session_id: None,
        created_at: Timestamp::from_seconds(0),
        expires_at: Timestamp::from_seconds(until),
    }
}

#[test]
fn a_session_or_its_older_generations_are_revoked() {
    let cache = RevocationCache::default();
    cache.apply(&row(Some(1), None, None, 9));
    cache.apply(&row(Some(2), Some(5), None, 9));
    assert!(cache.is_revoked(&token(1, 99, 0, 0)));
    assert!(cache.is_revoked(&token(2, 4, 0, 0)) && !cache.is_revoked(&token(2, 5, 0, 0)));
    assert!(!cache.is_revoked(&token(3, 0, 0, 0)));
}

#[test]
fn a_late_row_lowers_no_watermark() {
    let cache = RevocationCache::default();
    cache.apply(&row(None, None, Some((7, 3)), 9));
    cache.apply(&row(None, None, Some((7, 2)), 5));
    assert!(cache.is_revoked(&token(1, 0, 7, 2)) && !cache.is_revoked(&token(1, 0, 7, 3)));
    cache.prune(Timestamp::from_seconds(9));
    assert!(cache.is_revoked(&token(1, 0, 7, 2)));
    assert!(!cache.may_have_pruned(&AccessClaims { expires_at: Timestamp::from_seconds(10), ..token(1, 0, 7, 2) }));
    cache.prune(Timestamp::from_seconds(10));
    assert!(cache.is_empty());
    assert!(cache.may_have_pruned(&AccessClaims { expires_at: Timestamp::from_seconds(9), ..token(1, 0, 7, 2) }));
}

#[test]
fn a_resync_keeps_revocations_and_drops_lost_epochs() {
    let cache = RevocationCache::default();
    cache.apply(&row(Some(1), None, None, 9));
    cache.apply(&row(None, None, Some((7, 3)), 9));
    cache.apply(&row(None, None, Some((8, 5)), 9));
    let mut pages = vec![vec![row(None, None, Some((7, 2)), 9)]];
    cache
        .resync(Some(Timestamp::from_seconds(0)), |selection, _| {
            if selection == Selection::Newest {
                return Ok(vec![]);
            }
            // Written by this node during the resync.
            cache.apply(&row(None, None, Some((9, 1)), 9));
            Ok(pages.pop().unwrap_or_default())
        })
        .unwrap();
    assert!(cache.is_revoked(&token(1, 0, 1, 0)), "the revocation of a session stays");
    assert!(cache.is_revoked(&token(2, 0, 7, 1)) && !cache.is_revoked(&token(2, 0, 7, 2)), "as the table has it");
    assert!(!cache.is_revoked(&token(2, 0, 8, 4)), "the table lacks it");
    assert!(cache.is_revoked(&token(2, 0, 9, 0)));
}

#[test]
fn a_resync_accepts_no_revoked_token_between_two_rows() {
    let cache = RevocationCache::default();
    let (first, last) = (row(None, None, Some((7, 1)), 9), row(None, None, Some((7, 3)), 9));
    cache.apply(&first);
    cache.apply(&last);
    // The first resync fails after one row, as when the server goes away.
    for rows in [vec![Some(first.clone()), None], vec![Some(first), Some(last)]] {
        let mut rows = rows.into_iter();
        let whole = !rows.as_slice().contains(&None);
        let read = cache.resync(Some(Timestamp::from_seconds(0)), |selection, _| {
            if selection == Selection::Newest {
                return Ok(vec![]);
            }
            assert!(cache.is_revoked(&token(1, 0, 7, 2)), "{rows:?} are still to come");
            match rows.next() {
                Some(Some(row)) => Ok(vec![row]),
                Some(None) => Err(store::StoreError::unavailable(store::OutageCause::Connection, "the server is gone")),
                None => Ok(vec![]),
            }
        });
        assert_eq!(read.is_ok(), whole);
        assert!(cache.is_revoked(&token(1, 0, 7, 2)) && !cache.is_revoked(&token(1, 0, 7, 3)));
    }
}

fn session(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

/// The revocation of an account's lower epochs but for one session.
fn excepting(account: (u128, i64), except: Option<u128>, until: i64) -> RevocationRow {
    RevocationRow { except_session_id: except.map(session), ..row(None, None, Some(account), until) }
}

fn orders(rows: &[RevocationRow]) -> Vec<Vec<RevocationRow>> {
    if rows.len() < 2 {
        return vec![rows.to_vec()];
    }
    let with_first = |first: usize| {
        let rest: Vec<RevocationRow> = [&rows[..first], &rows[first + 1..]].concat();
        orders(&rest).into_iter().map(move |rest| [vec![rows[first].clone()], rest].concat())
    };
    (0..rows.len()).flat_map(with_first).collect()
}

#[test]
fn the_excepted_session_alone_outlives_an_epoch() {
    let cache = RevocationCache::default();
    cache.apply(&excepting((7, 3), Some(1), 9));
    for (generation, epoch) in [(0, 0), (0, 2), (5, 1)] {
        assert!(!cache.is_revoked(&token(1, generation, 7, epoch)));
        assert!(cache.is_revoked(&token(2, generation, 7, epoch)));
    }
    assert!(!cache.is_revoked(&token(2, 0, 7, 3)) && !cache.is_revoked(&token(2, 0, 8, 0)));
    cache.apply(&row(Some(1), None, None, 9));
    assert!(cache.is_revoked(&token(1, 0, 7, 2)), "its own end is not excepted");
}

#[test]
fn the_higher_epoch_decides_which_session_is_excepted_in_any_order() {
    for (later, lives) in [(Some(2), [false, true, false]), (None, [false; 3]), (Some(1), [true, false, false])] {
        let rows = [excepting((7, 1), Some(1), 20), excepting((7, 2), later, 9), excepting((7, 1), Some(1), 20)];
        for rows in orders(&rows) {
            let cache = RevocationCache::default();
            rows.iter().for_each(|row| cache.apply(row));
            let alive = [1, 2, 3].map(|session| !cache.is_revoked(&token(session, 0, 7, 1)));
            assert_eq!(alive, lives, "{later:?} after 1: {rows:?}");
            assert!(!cache.is_revoked(&token(3, 0, 7, 2)));
            // The longer time of the two: a token that the lower one revoked may live as long.
            cache.prune(Timestamp::from_seconds(20));
            assert_eq!([1, 2, 3].map(|session| !cache.is_revoked(&token(session, 0, 7, 1))), lives);
            cache.prune(Timestamp::from_seconds(21));
            assert!(cache.is_empty());
        }
    }
}

#[test]
fn an_exception_revives_no_token_that_an_earlier_row_revoked() {
    for rows in orders(&[excepting((7, 1), None, 9), excepting((7, 2), Some(1), 9), excepting((7, 1), None, 9)]) {
        let cache = RevocationCache::default();
        rows.iter().for_each(|row| cache.apply(row));
        assert!(cache.is_revoked(&token(1, 0, 7, 0)), "from before the earlier change: {rows:?}");
        assert!(!cache.is_revoked(&token(1, 0, 7, 1)) && cache.is_revoked(&token(2, 0, 7, 1)));
    }
}

/// A database that was restored may give an epoch a second time, to another change.
#[test]
fn two_exceptions_of_one_epoch_except_nobody() {
    for rows in orders(&[excepting((7, 2), Some(1), 9), excepting((7, 2), None, 9), excepting((7, 2), Some(2), 9)]) {
        let cache = RevocationCache::default();
        rows.iter().for_each(|row| cache.apply(row));
        assert!([1, 2, 3].iter().all(|session| cache.is_revoked(&token(*session, 0, 7, 1))), "{rows:?}");
    }
}

#[test]
fn a_resync_keeps_the_excepted_session_that_the_table_has() {
    let cache = RevocationCache::default();
    cache.apply(&excepting((7, 2), Some(1), 9));
    // The table of before lacks the change that excepted it, and has another one.
    let mut pages = vec![vec![excepting((7, 1), Some(2), 9)], vec![excepting((8, 4), Some(5), 9)]];
    cache
        .resync(Some(Timestamp::from_seconds(0)), |selection, _| {
            assert!(cache.is_revoked(&token(2, 0, 7, 0)), "revoked until the whole table is read");
            if selection == Selection::Newest {
                return Ok(vec![]);
            }
            assert!(!cache.is_revoked(&token(1, 0, 7, 1)));
            Ok(pages.pop().unwrap_or_default())
        })
        .unwrap();
    assert!(cache.is_revoked(&token(1, 0, 7, 0)) && !cache.is_revoked(&token(2, 0, 7, 0)), "as the table has it");
    assert!(!cache.is_revoked(&token(1, 0, 7, 1)), "the epoch that was lost");
    assert!(cache.is_revoked(&token(6, 0, 8, 3)) && !cache.is_revoked(&token(5, 0, 8, 3)));
}

/// What a resync leaves out counts as pruned; only one that reads the whole table undoes that.
#[test]
fn a_resync_sends_tokens_of_the_rows_that_it_leaves_out_to_the_table() {
    let expiring = |second| AccessClaims { expires_at: Timestamp::from_seconds(second), ..token(2, 0, 7, 1) };
    let cache = RevocationCache::default();
    cache.apply(&excepting((7, 2), Some(1), 40));
    for (since, left_out) in [(Some(50), true), (Some(30), true), (None, false), (Some(50), true)] {
        let since = since.map(Timestamp::from_seconds);
        let mut first = None;
        cache
            .resync(since, |selection, _| {
                if let Selection::ExpiringAfter(expiry, _) = selection {
                    first.get_or_insert(expiry);
                }
                Ok(vec![])
            })
            .unwrap();
        assert_eq!(first, Some(since.unwrap_or(Timestamp::from_millis(i64::MIN))));
        assert!(!cache.is_revoked(&expiring(40)), "the account's row was not there");
        assert_eq!(cache.may_have_pruned(&expiring(40)), left_out, "{since:?}");
        assert_eq!(cache.may_have_pruned(&expiring(50)), left_out, "{since:?}");
        assert!(!cache.may_have_pruned(&expiring(51)));
    }
}

/// The rows of one account come by expiry, the later change first if its tokens expire first.
#[test]
fn a_resync_by_expiry_excepts_whom_the_latest_change_does() {
    for (earlier, later, lives) in [(Some(1), None, [false; 3]), (None, Some(2), [false, true, false])] {
        let cache = RevocationCache::default();
        let mut pages = vec![vec![excepting((7, 1), earlier, 20)], vec![excepting((7, 2), later, 9)]];
        cache
            .resync(Some(Timestamp::from_seconds(9)), |selection, _| match selection {
                Selection::Newest => Ok(vec![]),
                _ => Ok(pages.pop().unwrap_or_default()),
            })
            .unwrap();
        assert_eq!([1, 2, 3].map(|session| !cache.is_revoked(&token(session, 0, 7, 1))), lives);
    }
}
