//! Confirmed sign-up (email-confirmed, enumeration-safe registration, ASVS 6.3.8): no answer reveals whether an address
//! or a name is taken; only the owner of the mailbox learns it. This file tests the answers, its folder the rest.

mod confirmations;
mod delivery;
mod forged_links;
mod mail_limits;
mod mails;
mod smtp_transport;

use doorward::core::AccountStatus;
use doorward::core::audit::AuditFilter;
use serde_json::json;

use super::{bare, metric, sign_in_with};
use crate::support::confirmed_sign_up::{
    OTHER, SignUpService, add_account, exact_answer, mails_with_outcome, settings,
};
use crate::support::http::{Browser, Request, Response};
use crate::support::smtp::MailServer;
use crate::support::{Backend, PASSWORD, assert_refused, code, on_both_backends, post};

on_both_backends!(
    a_sign_up_answers_alike_whether_the_address_is_taken_or_not,
    the_requested_fields_do_not_change_the_answer,
    the_request_does_the_same_work_whatever_is_taken,
    no_account_exists_before_the_confirmation,
    an_address_is_required_and_the_usual_rules_apply,
    the_other_dialects_offer_no_sign_up,
    a_closed_sign_up_is_closed_here_too,
    sign_ups_and_confirmations_share_one_rate_limit,
    audit_events_name_no_account_before_the_confirmation,
    without_the_setting_a_sign_up_is_answered_with_a_session,
);

fn a_sign_up_answers_alike_whether_the_address_is_taken_or_not(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken"));
    let disabled = add_account(&setup.service, "disabled@mail.example", Some("disabled"));
    setup.service.core().set_status(disabled, AccountStatus::Locked).unwrap();
    setup.token_of("waiting@mail.example");
    let first = setup.sign_up("free@mail.example", &json!({}));
    assert_eq!(first.status, 202, "{}", first.text());
    let body = first.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["message"], "{body}");
    assert!(body["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
    assert!(first.headers_named("Set-Cookie").is_empty(), "{:?}", first.headers);
    let expected = exact_answer(&first);
    for (email, more) in [
        ("another-free@mail.example", json!({})),
        ("free@mail.example", json!({})),
        ("waiting@mail.example", json!({})),
        ("taken@mail.example", json!({})),
        ("TAKEN@Mail.Example", json!({})),
        ("disabled@mail.example", json!({})),
        ("with-a-free-name@mail.example", json!({ "username": "nobody" })),
        ("with-a-taken-name@mail.example", json!({ "username": "taken" })),
        ("with-a-disabled-name@mail.example", json!({ "username": "disabled" })),
        ("taken@mail.example", json!({ "username": "disabled" })),
        ("taken@mail.example", json!({ "password": OTHER })),
    ] {
        assert_eq!(exact_answer(&setup.sign_up(email, &more)), expected, "{email} {more}");
    }
}

fn the_requested_fields_do_not_change_the_answer(backend: Backend) {
    let setup = SignUpService::start(backend);
    let expected = exact_answer(&setup.sign_up("plain@mail.example", &json!({})));
    for (number, more) in [
        json!({ "deviceId": "a-device", "deviceName": "A device" }),
        json!({ "remember": true }),
        json!({ "remember": false }),
        json!({ "tokens": "body" }),
        json!({ "firstName": "Emily", "profile": { "a": 1 } }),
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(exact_answer(&setup.sign_up(&format!("new-{number}@mail.example"), more)), expected, "{more}");
    }
    // Nor does it matter whether the caller is signed in.
    let mut insider = Browser::new(setup.service.address());
    add_account(&setup.service, "insider@mail.example", None);
    let body = json!({ "email": "insider@mail.example", "password": PASSWORD }).to_string();
    assert_eq!(insider.post("/auth/login", &body).status, 200);
    assert_eq!(exact_answer(&insider.post("/auth/register", &body)), expected);
    assert_eq!(insider.get("/auth/me").status, 200, "and the session that was there lives");
}

fn the_request_does_the_same_work_whatever_is_taken(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken"));
    setup.token_of("waiting@mail.example");
    // The outbox worker writes rows too, so it is held until all are metric.
    setup.mails.hold();
    let mut work = vec![];
    for (email, more) in [
        ("free@mail.example", json!({})),
        ("taken@mail.example", json!({})),
        ("waiting@mail.example", json!({})),
        ("named@mail.example", json!({ "username": "taken" })),
    ] {
        let before = metric(&setup.service, "doorward_password_hash_seconds_count");
        let rows = setup.count("pending_sign_ups");
        setup.must_sign_up(email, &more);
        let hashed = metric(&setup.service, "doorward_password_hash_seconds_count") - before;
        work.push((hashed, setup.count("pending_sign_ups") - rows));
    }
    assert_eq!(work, [(1, 1); 4], "hashes and rows of each");
    setup.mails.let_go();
}

fn no_account_exists_before_the_confirmation(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.must_sign_up("newcomer@mail.example", &json!({ "username": "newcomer" }));
    setup.mails.wait_for_mail_to("newcomer@mail.example", 1);
    assert_eq!((setup.count("accounts"), setup.count("sessions")), (0, 0));
    let attempt = |body: &serde_json::Value| bare(&post(&setup.service, "/auth/login", body));
    let unknown = attempt(&json!({ "email": "nobody@mail.example", "password": PASSWORD }));
    assert_eq!((unknown.0, &unknown.2["code"]), (401, &"invalid_credentials".into()));
    for body in [
        json!({ "email": "newcomer@mail.example", "password": PASSWORD }),
        json!({ "username": "newcomer", "password": PASSWORD }),
        json!({ "identifier": "newcomer@mail.example", "password": PASSWORD }),
        json!({ "identifier": "newcomer@mail.example", "password": OTHER }),
    ] {
        assert_eq!(attempt(&body), unknown, "{body}");
    }
    assert!(setup.service.core().find_account_by("newcomer").is_err());
}

/// The fields that a refusal names.
fn fields(answer: &Response) -> Vec<String> {
    assert_eq!((answer.status, code(answer).as_str()), (422, "invalid_fields"), "{}", answer.text());
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

fn an_address_is_required_and_the_usual_rules_apply(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken"));
    for body in [
        json!({ "username": "emily", "password": PASSWORD }),
        json!({ "username": "taken", "password": PASSWORD }),
        json!({ "name": "emilia", "username": "emily", "password": PASSWORD }),
        json!({ "username": "emily", "email": null, "password": PASSWORD }),
        json!({ "username": "emily", "email": "", "password": PASSWORD }),
        json!({ "email": "no-address", "password": PASSWORD }),
        json!({ "email": "a@b.example\r\nBcc: x@y.example", "password": PASSWORD }),
    ] {
        assert_eq!(fields(&post(&setup.service, "/auth/register", &body)), ["email"], "{body}");
    }
    for email in ["taken@mail.example", "free@mail.example"] {
        for (more, field) in [
            (json!({ "password": "short" }), "password"),
            (json!({ "password": "playstation" }), "password"),
            (json!({ "username": "two words" }), "username"),
            (json!({ "username": "раypal" }), "username"),
            (json!({ "role": "ADMIN" }), "role"),
            (json!({ "emailVerified": true }), "emailVerified"),
            (json!({ "deviceId": 1 }), "deviceId"),
            (json!({ "tokens": "everywhere" }), "tokens"),
            (json!({ "remember": "yes" }), "remember"),
        ] {
            assert_eq!(fields(&setup.sign_up(email, &more)), [field], "{email} {more}");
        }
    }
    assert_eq!(setup.count("pending_sign_ups"), 0);
    assert!(setup.mails.commands().is_empty(), "and no mail was sent");
}

const ELSEWHERE: [(&str, &str); 3] = [
    (
        "/store/auth/signup",
        r#"{"firstName":"A","lastName":"B","login":"LOGIN","email":"EMAIL","password":"quiet-harbour-lantern"}"#,
    ),
    (
        "/signin/api/v1/auths/sign-up",
        r#"{"first_name":"A","last_name":"B","email":"EMAIL","password":"quiet-harbour-lantern"}"#,
    ),
    ("/envelope/auth/register", r#"{"email":"EMAIL","password":"Quiet-harbour-7"}"#),
];

fn the_other_dialects_offer_no_sign_up(backend: Backend) {
    let setup = SignUpService::start(backend);
    let closed = backend.service().set("SIGNUP", "false").start();
    for service in [&setup.service, &closed] {
        add_account(service, "taken@mail.example", Some("taken"));
    }
    for (path, json) in ELSEWHERE {
        for (email, login) in [("taken@mail.example", "taken"), ("free@mail.example", "free")] {
            let body = json.replace("EMAIL", email).replace("LOGIN", login);
            let send_request = |address| Request::new("POST", path).json(&body).send(address);
            let (here, there) = (send_request(setup.service.address()), send_request(closed.address()));
            assert!((400..500).contains(&here.status), "{path}: {}", here.text());
            assert_eq!(bare(&here), bare(&there), "{path} {email}");
        }
    }
    assert_eq!((setup.count("accounts"), setup.count("pending_sign_ups")), (1, 0));
    assert!(setup.mails.commands().is_empty(), "and no mail was sent");
}

fn a_closed_sign_up_is_closed_here_too(backend: Backend) {
    let setup = SignUpService::with(backend, |builder| builder.set("SIGNUP", "false"));
    let plain = backend.service().set("SIGNUP", "false").start();
    let expected = post(&plain, "/auth/register", &json!({ "email": "free@mail.example", "password": PASSWORD }));
    assert_eq!(expected.status, 403, "{}", expected.text());
    add_account(&setup.service, "taken@mail.example", None);
    for email in ["free@mail.example", "taken@mail.example"] {
        assert_eq!(exact_answer(&setup.sign_up(email, &json!({}))), exact_answer(&expected), "{email}");
    }
    assert_eq!(setup.count("pending_sign_ups"), 0);
    assert!(setup.mails.commands().is_empty());
}

fn sign_ups_and_confirmations_share_one_rate_limit(backend: Backend) {
    let setup = SignUpService::with(backend, |builder| builder.set("THROTTLE_SIGN_UPS", "3/1h"));
    let token = setup.token_of("emily@mail.example");
    assert_eq!(setup.confirm(&token, OTHER).status, 401);
    assert_eq!(setup.confirm("x", PASSWORD).status, 401);
    for answer in [setup.confirm(&token, PASSWORD), setup.sign_up("next@mail.example", &json!({}))] {
        assert_refused(&answer, 429, "rate_limited");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3600).contains(&wait), "{wait}");
    }
    setup.advance(3600);
    assert_eq!(setup.confirm(&token, PASSWORD).status, 201, "and what was refused so has used up no token");
    assert_eq!(setup.sign_up("next@mail.example", &json!({})).status, 202);
}

fn audit_events_name_no_account_before_the_confirmation(backend: Backend) {
    let setup = SignUpService::start(backend);
    let known = add_account(&setup.service, "taken@mail.example", None);
    setup.must_sign_up("taken@mail.example", &json!({ "username": "typed-by-a-stranger" }));
    setup.mails.wait_for_mail_to("taken@mail.example", 1);
    let token = setup.token_of("newcomer@mail.example");
    let answer = setup.confirm(&token, PASSWORD);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let newcomer = setup.service.core().find_account_by("newcomer@mail.example").unwrap().id;
    let mut events = setup.service.core().list_events(&AuditFilter::default(), 1000).unwrap();
    events.reverse();
    let seen: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.account)).collect();
    let pending = ("sign_up_requested", None);
    // The first event is the operator's.
    assert_eq!(seen, [("sign_up", Some(known)), pending, pending, ("sign_up", Some(newcomer))]);
    for event in &events[1..] {
        assert_eq!(event.address.as_deref(), Some("127.0.0.1"), "{event:?}");
        assert!(event.request_id.is_some(), "{event:?}");
        for typed in ["typed-by-a-stranger", "taken@", "newcomer@", PASSWORD, &token] {
            assert!(!format!("{event:?}").contains(typed), "{event:?}");
        }
    }
}

fn without_the_setting_a_sign_up_is_answered_with_a_session(backend: Backend) {
    let mails = MailServer::start();
    let service = settings(backend.service(), mails.url()).set("SIGNUP_CONFIRM_EMAIL", "false").start();
    let answer = post(&service, "/auth/register", &json!({ "email": "emily@mail.example", "password": PASSWORD }));
    assert_eq!((answer.status, answer.set_cookies().len()), (201, 2), "{}", answer.text());
    assert_eq!(answer.json()["user"]["emailVerified"], false, "the mailbox is not confirmed");
    assert_eq!(sign_in_with(&service, "emily@mail.example", PASSWORD).status, 401, "an address is no user name");
    assert_eq!((mails.connections(), mails_with_outcome(&service, "sent")), (0, 0));
}
