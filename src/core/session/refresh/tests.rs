//! Refresh verdict, case by case, without a database.

use super::*;
use crate::core::{AccountId, AccountUuid, SessionId};
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
        parent: generation.checked_sub(1),
        access_ttl: 900_000,
    }
}

fn account() -> AccountState {
    AccountState {
        uuid: AccountUuid(uuid::Uuid::from_u128(7)),
        epoch: 3,
        status: AccountStatus::Active,
        role: "USER".to_owned(),
        must_change_password: false,
    }
}

const RULES: RotationRules =
    RotationRules { rotates: true, grace: Duration::from_secs(10), lost_after: Duration::from_secs(40) };

fn ago(millis: u64) -> Timestamp {
    NOW.minus(Duration::from_millis(millis))
}

fn verdict(presented: i64, row: &SessionRow, confirmed_ago: Option<u64>) -> Verdict {
    let confirmed = confirmed_ago.map(|seconds| ago(seconds * 1000));
    decide(NOW, presented, row, &account(), confirmed, &RULES)
}

#[test]
fn the_current_generation_rotates_once_no_response_with_it_can_be_on_its_way() {
    let decide_at = |made, confirmed: Option<u64>| {
        decide(NOW, 5, &SessionRow { rotated_at: ago(made), ..row(5) }, &account(), confirmed.map(ago), &RULES)
    };
    assert_eq!(decide_at(100_000, Some(20_001)), Verdict::Rotate);
    assert_eq!(decide_at(100_000, Some(20_000)), Verdict::Reissue, "confirmed two graces ago is not yet old");
    assert_eq!(decide_at(10_000, Some(30_000)), Verdict::Reissue, "a generation made within the grace is young");
    assert_eq!(decide_at(10_001, Some(30_000)), Verdict::Rotate);
    assert_eq!(decide_at(9_000_000, None), Verdict::Reissue, "what is presented for the first time is young");
    let keeps = RotationRules { rotates: false, ..RULES };
    assert_eq!(decide(NOW, 5, &row(5), &account(), Some(ago(90_000)), &keeps), Verdict::Reissue);
}

#[test]
fn generation_zero_rotates_at_any_time() {
    for (made, confirmed) in [(0, None), (0, Some(0)), (100_000, None), (100_000, Some(100_000))] {
        let begun = SessionRow { rotated_at: ago(made), ..row(0) };
        assert_eq!(decide(NOW, 0, &begun, &account(), confirmed.map(ago), &RULES), Verdict::Rotate);
    }
}

#[test]
fn the_parent_is_replayed_until_the_grace_after_the_confirmation() {
    assert_eq!(verdict(4, &row(5), Some(0)), Verdict::Replay);
    assert_eq!(verdict(4, &row(5), Some(10)), Verdict::Replay);
    assert_eq!(decide(NOW, 4, &row(5), &account(), Some(ago(10_001)), &RULES), Verdict::Reuse);
    assert_eq!(verdict(4, &row(5), Some(11)), Verdict::Reuse);
}

#[test]
fn an_unconfirmed_successor_is_replayed_then_awaited_then_replaced() {
    let after = |millis| decide(NOW, 4, &SessionRow { rotated_at: ago(millis), ..row(5) }, &account(), None, &RULES);
    assert_eq!((after(0), after(40_000)), (Verdict::Replay, Verdict::Replay));
    assert_eq!((after(40_001), after(60_000)), (Verdict::ReissueParent, Verdict::ReissueParent));
    assert_eq!((after(60_001), after(900_000_000)), (Verdict::ReplaceUnconfirmed, Verdict::ReplaceUnconfirmed));
}

#[test]
fn only_the_parent_may_stand_in_for_the_current_generation() {
    // After a replacement the parent is further below, and the void generation between the two has leaked if it comes.
    let replaced = SessionRow { parent: Some(3), ..row(5) };
    assert_eq!((verdict(3, &replaced, Some(0)), verdict(4, &replaced, Some(0))), (Verdict::Replay, Verdict::Reuse));
    // A change of the secret leaves no parent; a row from before that has none either.
    let without = SessionRow { parent: None, ..row(5) };
    assert_eq!((verdict(4, &without, None), verdict(4, &without, Some(0))), (Verdict::Reuse, Verdict::Reuse));
    assert!(!Verdict::Reuse.is_accepted() && !Verdict::Refuse(Refusal::TokenInvalid).is_accepted());
    assert!([Verdict::Rotate, Verdict::ReissueParent, Verdict::ReplaceUnconfirmed].iter().all(Verdict::is_accepted));
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
    assert_eq!(verdict(5, &raised, Some(50)), Verdict::Rotate);
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
    let replaced = SessionRow { end_reason: Some(EndReason::Replaced), ..ended.clone() };
    let old_epoch = SessionRow { epoch: 2, ..row(5) };
    for presented in [4, 5] {
        assert_eq!(verdict(presented, &ended, Some(0)), Verdict::Refuse(Refusal::SessionEnded));
        assert_eq!(verdict(presented, &replaced, Some(0)), Verdict::Refuse(Refusal::TokenInvalid));
        assert_eq!(verdict(presented, &old_epoch, None), Verdict::Refuse(Refusal::SessionEnded));
        assert_eq!(verdict(presented, &expired, None), Verdict::Refuse(Refusal::TokenExpired));
        assert_eq!(verdict(presented, &idle, None), Verdict::Refuse(Refusal::TokenExpired));
    }
    let locked = AccountState { status: AccountStatus::Locked, ..account() };
    let refused = decide(NOW, 5, &row(5), &locked, None, &RULES);
    assert_eq!(refused, Verdict::Refuse(Refusal::AccountNotActive(AccountStatus::Locked)));
}

#[test]
fn each_verdict_has_a_metrics_label() {
    let refused = Verdict::Refuse(Refusal::SessionEnded);
    let all = [
        Verdict::Rotate,
        Verdict::Reissue,
        Verdict::Replay,
        Verdict::ReissueParent,
        Verdict::ReplaceUnconfirmed,
        Verdict::Reuse,
        refused,
    ];
    let labels = all.map(|verdict| verdict.as_str());
    let expected = ["rotated", "reissued", "replayed", "reissued_parent", "answer_lost", "reuse_detected", "refused"];
    assert_eq!(labels, expected);
}

#[test]
fn the_audit_detail_of_a_reuse_distinguishes_theft_from_a_race() {
    let token = RefreshTokenRef { session: row(5).id, account: account().uuid, generation: 4, expires_at: NOW };
    let from = |address: &str, agent: &str| Client {
        address: Some(address.parse().unwrap()),
        user_agent: Some(agent.to_owned()),
        ..Client::default()
    };
    let row = SessionRow { address: Some("192.0.2.1".to_owned()), user_agent: Some("tab".to_owned()), ..row(5) };
    let detail = |confirmed, client| rotation_detail(&token, &row, confirmed, NOW, &client);
    assert_eq!(
        detail(Some(NOW.minus(Duration::from_secs(11))), from("192.0.2.1", "tab")),
        "presented=4 current=5 ms_since_rotation=100000 ms_since_confirmation=11000 same_address=true same_agent=true"
    );
    let detail = detail(None, from("192.0.2.2", "curl"));
    assert!(detail.ends_with(" ms_since_confirmation=none same_address=false same_agent=false"), "{detail}");
}
