//! Revocation cache: rows out of order or twice, pruning, resyncs.

use super::*;
use crate::store::SessionId;
use uuid::Uuid;

fn token(session: u128, generation: i64, account: i64, epoch: i64) -> AccessClaims {
    let at = Timestamp::from_seconds(0);
    AccessClaims {
        account: AccountId(account),
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

fn row(session: Option<u128>, generation: Option<i64>, account: Option<(i64, i64)>, until: i64) -> RevocationRow {
    RevocationRow {
        id: 1,
        session_id: session.map(|id| SessionId(Uuid::from_u128(id))),
        generation,
        account_id: account.map(|(id, _)| AccountId(id)),
        epoch: account.map(|(_, epoch)| epoch),
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
        .resync(|_, _| {
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
        let read = cache.resync(|_, _| {
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
