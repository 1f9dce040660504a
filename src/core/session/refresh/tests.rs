//! Refresh verdict, case by case, without a database.

use super::*;
use crate::core::{AccountId, SessionId};
use crate::store::AccountStatus;

const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

fn row(generation: i64) -> SessionRow {
    let later = NOW.plus(Duration::from_secs(1000));
    SessionRow {
        id: SessionId(uuid::Uuid::from_u128(1)),
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
fn the_current_generation_rotates_or_is_kept() {
    assert_eq!(verdict(5, &row(5), None), Verdict::Rotate);
    let keeps = RotationRules { rotates: false, grace: Duration::ZERO };
    assert_eq!(decide(NOW, 5, &row(5), &account(), None, &keeps), Verdict::Keep);
}

#[test]
fn the_previous_generation_is_replayed_until_the_grace_after_the_confirmation() {
    assert_eq!(verdict(4, &row(5), None), Verdict::Replay);
    assert_eq!(verdict(4, &row(5), Some(0)), Verdict::Replay);
    assert_eq!(verdict(4, &row(5), Some(10)), Verdict::Replay);
    assert_eq!(verdict(4, &row(5), Some(11)), Verdict::Reuse);
}

#[test]
fn the_earlier_confirmation_counts_whichever_node_recorded_it() {
    let (early, late) = (NOW.minus(Duration::from_secs(60)), NOW);
    let first = |confirmed_at, seen| first_confirmation(&SessionRow { confirmed_at, ..row(5) }, seen);
    assert_eq!(first(Some(late), Some(early)), Some(early));
    assert_eq!(first(Some(early), Some(late)), Some(early));
    assert_eq!((first(Some(late), None), first(None, Some(late)), first(None, None)), (Some(late), Some(late), None));
}

#[test]
fn older_generations_are_reuse_even_within_the_grace() {
    assert_eq!(verdict(3, &row(5), None), Verdict::Reuse);
    assert_eq!(verdict(0, &row(5), Some(0)), Verdict::Reuse);
}

#[test]
fn a_token_below_the_minimum_generation_is_invalid_and_no_reuse() {
    let raised = SessionRow { min_generation: 5, ..row(5) };
    assert_eq!(verdict(4, &raised, None), Verdict::Refuse(Refusal::TokenInvalid));
    assert_eq!(verdict(5, &raised, None), Verdict::Rotate);
}

#[test]
fn a_generation_above_the_current_one_is_invalid_and_no_reuse() {
    assert_eq!(verdict(6, &row(5), None), Verdict::Refuse(Refusal::TokenInvalid));
}

#[test]
fn the_grace_ends_with_the_session() {
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
fn each_verdict_has_a_metrics_label() {
    let refused = Verdict::Refuse(Refusal::SessionEnded);
    let labels =
        [Verdict::Rotate, Verdict::Keep, Verdict::Replay, Verdict::Reuse, refused].map(|verdict| verdict.as_str());
    assert_eq!(labels, ["rotated", "reissued", "replayed", "reuse_detected", "refused"]);
}

#[test]
fn the_audit_detail_of_a_reuse_distinguishes_theft_from_a_race() {
    let token = RefreshTokenRef { session: row(5).id, account: AccountId(1), generation: 4 };
    let from = |address: &str, agent: &str| Client {
        address: Some(address.parse().unwrap()),
        user_agent: Some(agent.to_owned()),
        ..Client::default()
    };
    let row = SessionRow { address: Some("192.0.2.1".to_owned()), user_agent: Some("tab".to_owned()), ..row(5) };
    let detail = |confirmed, client| reuse_detail(&token, &row, confirmed, NOW, &client);
    assert_eq!(
        detail(Some(NOW.minus(Duration::from_secs(11))), from("192.0.2.1", "tab")),
        "presented=4 current=5 ms_since_rotation=100000 ms_since_confirmation=11000 same_address=true same_agent=true"
    );
    let detail = detail(None, from("192.0.2.2", "curl"));
    assert!(detail.ends_with(" ms_since_confirmation=none same_address=false same_agent=false"), "{detail}");
}
