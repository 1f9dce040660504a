//! The verdict, case by case, without a database.

use super::*;
use crate::core::{AccountId, Id128};
use crate::store::AccountStatus;

const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

fn row(generation: i64) -> SessionRow {
    let later = NOW.plus(Duration::from_secs(1000));
    SessionRow {
        id: Id128(uuid::Uuid::from_u128(1)),
        account_id: AccountId(1),
        dialect: "native".to_owned(),
        epoch: 3,
        generation,
        min_generation: 0,
        key_id: "k".to_owned(),
        rotated_at: NOW.minus(Duration::from_secs(100)),
        confirmed_at: None,
        created_at: NOW,
        last_seen_at: NOW,
        idle_expires_at: later,
        expires_at: later,
        access_expires_at: later,
        persistent: true,
        device_id: None,
        device_name: None,
        user_agent: None,
        address: None,
        ended_at: None,
        end_reason: None,
    }
}

fn account() -> AccountState {
    AccountState { epoch: 3, status: AccountStatus::Active, role: "USER".to_owned(), must_change_password: false }
}

fn verdict(presented: i64, row: &SessionRow, confirmed_ago: Option<u64>) -> Verdict {
    let confirmed = confirmed_ago.map(|seconds| NOW.minus(Duration::from_secs(seconds)));
    let rules = RotationRules { rotates: true, grace: Duration::from_secs(10) };
    decide(NOW, presented, row, &account(), confirmed, &rules)
}

#[test]
fn the_current_one_rotates_or_is_kept() {
    assert_eq!(verdict(5, &row(5), None), Verdict::Rotate);
    let keeps = RotationRules { rotates: false, grace: Duration::ZERO };
    assert_eq!(decide(NOW, 5, &row(5), &account(), None, &keeps), Verdict::Keep);
}

#[test]
fn the_parent_gets_the_child_until_the_grace_after_its_receipt() {
    assert_eq!(verdict(4, &row(5), None), Verdict::Replay);
    assert_eq!(verdict(4, &row(5), Some(0)), Verdict::Replay);
    assert_eq!(verdict(4, &row(5), Some(10)), Verdict::Replay);
    assert_eq!(verdict(4, &row(5), Some(11)), Verdict::Reuse);
}

#[test]
fn the_earlier_receipt_counts_whoever_wrote_first() {
    let (early, late) = (NOW.minus(Duration::from_secs(60)), NOW);
    let told = |confirmed_at, seen| first_confirmation(&SessionRow { confirmed_at, ..row(5) }, seen);
    assert_eq!(told(Some(late), Some(early)), Some(early));
    assert_eq!(told(Some(early), Some(late)), Some(early));
    assert_eq!((told(Some(late), None), told(None, Some(late)), told(None, None)), (Some(late), Some(late), None));
}

#[test]
fn older_ones_are_reuse_even_in_the_grace() {
    assert_eq!(verdict(3, &row(5), None), Verdict::Reuse);
    assert_eq!(verdict(0, &row(5), Some(0)), Verdict::Reuse);
}

#[test]
fn what_a_secret_change_replaced_is_dead_and_no_theft() {
    let barred = SessionRow { min_generation: 5, ..row(5) };
    assert_eq!(verdict(4, &barred, None), Verdict::Refuse(Refusal::TokenInvalid));
    assert_eq!(verdict(5, &barred, None), Verdict::Rotate);
}

#[test]
fn a_token_of_the_future_is_refused_and_kills_nothing() {
    assert_eq!(verdict(6, &row(5), None), Verdict::Refuse(Refusal::TokenInvalid));
}

#[test]
fn no_grace_outlives_an_end() {
    let ended = SessionRow { ended_at: Some(NOW), ..row(5) };
    let expired = SessionRow { expires_at: NOW, ..row(5) };
    let idle = SessionRow { idle_expires_at: NOW, ..row(5) };
    let old_epoch = SessionRow { epoch: 2, ..row(5) };
    for presented in [4, 5] {
        assert_eq!(verdict(presented, &ended, Some(0)), Verdict::Refuse(Refusal::SessionEnded));
        assert_eq!(verdict(presented, &old_epoch, None), Verdict::Refuse(Refusal::SessionEnded));
        assert_eq!(verdict(presented, &expired, None), Verdict::Refuse(Refusal::TokenExpired));
        assert_eq!(verdict(presented, &idle, None), Verdict::Refuse(Refusal::TokenExpired));
    }
    let locked = AccountState { status: AccountStatus::Locked, ..account() };
    let rules = RotationRules { rotates: true, grace: Duration::from_secs(10) };
    let refused = decide(NOW, 5, &row(5), &locked, None, &rules);
    assert_eq!(refused, Verdict::Refuse(Refusal::AccountNotActive(AccountStatus::Locked)));
}

#[test]
fn each_verdict_has_a_word_of_its_own() {
    let refused = Verdict::Refuse(Refusal::SessionEnded);
    let words =
        [Verdict::Rotate, Verdict::Keep, Verdict::Replay, Verdict::Reuse, refused].map(|verdict| verdict.as_str());
    assert_eq!(words, ["rotated", "kept", "repeated", "reused", "refused"]);
}

#[test]
fn a_reuse_is_told_with_what_tells_theft_from_a_race() {
    let named = RefreshTokenRef { session: row(5).id, account: AccountId(1), generation: 4 };
    let from = |address: &str, agent: &str| Client {
        address: Some(address.parse().unwrap()),
        user_agent: Some(agent.to_owned()),
        ..Client::default()
    };
    let row = SessionRow { address: Some("192.0.2.1".to_owned()), user_agent: Some("tab".to_owned()), ..row(5) };
    let told = |receipt, client| reuse_detail(&named, &row, receipt, NOW, &client);
    assert_eq!(
        told(Some(NOW.minus(Duration::from_secs(11))), from("192.0.2.1", "tab")),
        "presented=4 current=5 ms_since_rotation=100000 ms_since_receipt=11000 same_address=true same_agent=true"
    );
    let told = told(None, from("192.0.2.2", "curl"));
    assert!(told.ends_with(" ms_since_receipt=none same_address=false same_agent=false"), "{told}");
}
