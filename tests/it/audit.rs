//! Audit events: each act is recorded in the table and in the log with account, session, address and outcome, and never
//! with a secret. Operators list and filter them, and they are purged after their retention.

use std::time::Duration;

use doorward::core::AccountStatus;
use doorward::core::audit::{AuditFilter, AuditRecord};
use doorward::testing::TestService;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::process::{Node, WorkDir};
use crate::support::{Backend, PASSWORD, Tokens, on_both_backends, post, refresh_with, register, rotated, sign_in};

on_both_backends!(
    every_event_is_recorded_once_with_account_and_address,
    a_session_replaced_by_a_sign_in_is_recorded,
    attempts_refused_by_the_throttle_do_not_fill_the_table,
    events_are_purged_after_their_retention,
    an_operator_lists_and_filters_events,
    operator_actions_are_recorded,
);

fn events(service: &TestService) -> Vec<AuditRecord> {
    let mut events = service.core().list_events(&AuditFilter::default(), 1000).unwrap();
    events.reverse();
    events
}

fn kinds(service: &TestService) -> Vec<String> {
    let recorded =
        |event: AuditRecord| format!("{} {}", event.kind, event.detail.unwrap_or_default()).trim().to_owned();
    events(service).into_iter().map(recorded).collect()
}

fn every_event_is_recorded_once_with_account_and_address(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    post(&service, "/auth/login", &json!({ "username": "emily", "password": "wrong-wrong" }));
    post(&service, "/auth/login", &json!({ "username": "nobody", "password": "wrong-wrong" }));
    let other = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let next = Tokens::set_by(&refresh_with(&service, &other.refresh));
    rotated(&service, &next);
    assert_eq!(refresh_with(&service, &other.refresh).status, 401);
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another-long-one" }).to_string();
    assert_eq!(browser.post("/auth/change-password", &change).status, 200);
    assert_eq!(browser.post("/auth/logout", "{}").status, 200);
    let account = service.core().find_account_by("emily").unwrap().id;
    service.core().set_role(account, "EDITOR").unwrap();
    service.core().set_status(account, AccountStatus::Locked).unwrap();
    let recorded: Vec<String> =
        kinds(&service).into_iter().map(|kind| kind.split(' ').next().unwrap().to_owned()).collect();
    let expected = "sign_up sign_in_refused sign_in_refused sign_in refresh_reuse secret_change sign_out role_change \
                    status_change";
    assert_eq!(recorded, expected.split_whitespace().collect::<Vec<_>>());
    for event in events(&service) {
        let by_operator = ["role_change", "status_change"].contains(&event.kind.as_str());
        assert_eq!(event.address.as_deref(), (!by_operator).then_some("127.0.0.1"), "{event:?}");
        assert_eq!(event.request_id.is_some(), !by_operator, "{event:?}");
        let of_nobody = events(&service)[2].request_id == event.request_id;
        assert_eq!(event.account, (!of_nobody).then_some(account), "{event:?}");
        for secret in [PASSWORD, "wrong-wrong", "another-long-one", "nobody", &other.refresh, &next.access] {
            assert!(!format!("{event:?}").contains(secret), "{event:?}");
        }
    }
}

fn a_session_replaced_by_a_sign_in_is_recorded(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    assert_eq!(browser.post("/auth/login", &body).status, 200);
    assert!(kinds(&service).contains(&"session_ended replaced".to_owned()), "{:?}", kinds(&service));
}

fn attempts_refused_by_the_throttle_do_not_fill_the_table(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "2").start();
    register(&service, "emily");
    for _ in 0..20 {
        post(&service, "/auth/login", &json!({ "username": "emily", "password": "wrong-wrong" }));
    }
    let refused: Vec<String> = kinds(&service).into_iter().filter(|kind| kind.starts_with("sign_in_refused")).collect();
    let (wrong, throttled) = ("sign_in_refused invalid_credentials", "sign_in_refused throttled");
    assert_eq!(refused, [wrong, wrong, throttled]);
    assert!(service.core().metrics_text().unwrap().contains("doorward_throttle_rejections_total 17"));
}

fn events_are_purged_after_their_retention(backend: Backend) {
    let service = backend.service().set("AUDIT_RETENTION", "30d").start();
    register(&service, "emily");
    service.advance(Duration::from_hours(24 * 29));
    sign_in(&service, "emily");
    service.core().purge().unwrap();
    assert_eq!(kinds(&service), ["sign_up", "sign_in native"]);
    service.advance(Duration::from_hours(24 * 2));
    service.core().purge().unwrap();
    assert_eq!(kinds(&service), ["sign_in native"]);
}

fn an_operator_lists_and_filters_events(backend: Backend) {
    let workdir = WorkDir::on(backend);
    let node = workdir.serve(&["serve", "--demo"]);
    node.sign_in("emilys", "emilyspass");
    let wrong = json!({ "username": "emilys", "password": "wrong-wrong" }).to_string();
    node.send(&Request::new("POST", "/auth/login").json(&wrong));
    let list = |arguments: &[&str]| -> Vec<Value> {
        let output = workdir.succeed(&[&["audit", "--json"], arguments].concat(), "");
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = list(&[]);
    let recorded: Vec<&str> = all.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(recorded, ["sign_in_refused", "sign_in", "sign_up", "sign_up"], "newest first");
    assert_eq!((&all[1]["account"], &all[1]["address"]), (&json!(1), &json!("127.0.0.1")));
    assert_eq!(list(&["--kind", "sign_in"]).len(), 1);
    assert_eq!(list(&["--account", "cooluser1"]).len(), 1);
    assert_eq!(list(&["--session", all[1]["session"].as_str().unwrap()]).len(), 1);
    assert_eq!(list(&["--address", "192.0.2.1"]).len(), 0);
    assert_eq!((list(&["--since", "1h"]).len(), list(&["--until", "1h"]).len()), (4, 0));
    assert_eq!(list(&["--limit", "2"]).len(), 2);
    let table = workdir.succeed(&["audit", "--kind", "sign_in"], "");
    assert!(table.starts_with("TIME ") && table.lines().count() == 2, "{table}");
    assert!(table.lines().next().unwrap().ends_with("  USER AGENT"), "{table}");
    let refused = workdir.run(&["audit", "--kind", "sign-in"]);
    assert!(!refused.status.success() && refused.stderr.contains("sign_in_refused"), "{}", refused.stderr);
}

fn operator_actions_are_recorded(backend: Backend) {
    let workdir = WorkDir::on(backend);
    workdir.succeed(&["account", "add", "--username", "emily", "--password-stdin"], PASSWORD);
    let node = workdir.serve(&[]);
    let session = |node: &Node| {
        let (access, _) = node.sign_in("emily", PASSWORD);
        crate::support::decode_jwt(&access).1["sid"].as_str().unwrap().to_owned()
    };
    let one = session(&node);
    workdir.succeed(&["session", "revoke", &one], "");
    session(&node);
    workdir.succeed(&["session", "revoke-all", "emily"], "");
    drop(node);
    for (command, input) in [
        (&["account", "set-role", "emily", "EDITOR"][..], ""),
        (&["account", "set-status", "emily", "locked"], ""),
        (&["account", "set-password", "emily", "--password-stdin"], "another-quiet-harbour"),
        (&["account", "set-pin", "emily", "--pin-stdin"], "918273"),
        (&["account", "require-password-change", "emily"], ""),
        (&["account", "require-password-change", "emily", "--lift"], ""),
        (&["account", "unlock", "emily"], ""),
        (&["keys", "rotate"], ""),
    ] {
        workdir.succeed(command, input);
    }
    let output = workdir.succeed(&["audit", "--json"], "");
    let mut events: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    events.reverse();
    let by_operator: Vec<&Value> = events.iter().filter(|event| event["userAgent"] == "command line").collect();
    let recorded: Vec<&str> = by_operator.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    let expected = "sign_up session_ended sign_out_everywhere role_change status_change secret_change secret_change \
                    password_change_required password_change_required throttle_lifted keys_change";
    assert_eq!(recorded, expected.split_whitespace().collect::<Vec<_>>(), "{output}");
    assert_eq!(by_operator[1]["session"], one, "{output}");
    assert_eq!([&by_operator[7]["detail"], &by_operator[8]["detail"]], ["required", "lifted"], "{output}");
    for event in by_operator {
        let of_account = if event["kind"] == "keys_change" { Value::Null } else { json!(1) };
        assert_eq!(event["account"], of_account, "{event}");
    }
    for secret in [PASSWORD, "another-quiet-harbour", "918273"] {
        assert!(!output.contains(secret), "{output}");
    }
}
