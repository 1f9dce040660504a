//! The confirmation: who gets the account, which needs the link and the password both, and how often they may be tried.

use std::time::Duration;

use serde_json::{Value, json};

use super::sign_in_with;
use crate::support::confirmed_sign_up::{OTHER, Silent, add_account, assert_invalid, told, whole};
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, Tokens, assert_refused, code, is_believed, on_both_backends, post, race};

on_both_backends!(
    a_confirmation_is_answered_like_a_registration,
    the_session_has_the_options_of_the_confirmation,
    the_session_replaces_the_previous_one,
    the_link_without_the_password_grants_nothing,
    a_sign_up_with_a_strangers_address_grants_nothing,
    every_refused_confirmation_is_byte_for_byte_the_same,
    nine_wrong_passwords_leave_a_tenth_attempt,
    ten_wrong_passwords_invalidate_the_token_for_the_right_one_too,
    parallel_guesses_get_no_more_than_ten_attempts,
    parallel_confirmations_of_a_token_create_one_account_and_one_session,
    of_two_sign_ups_with_one_address_the_first_confirmed_wins,
    parallel_confirmations_of_one_address_create_one_account,
    a_username_taken_meanwhile_is_a_conflict,
    a_name_that_became_another_accounts_username_is_a_conflict,
    a_pending_sign_up_is_purged_after_a_day,
    a_confirmation_takes_exactly_its_fields,
);

fn members(value: &Value) -> Vec<&String> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().collect()
}

/// An answer without what is another's for every account: its status and headers, its body, and the cookies that it sets,
/// without their values.
type Shape = ((u16, Vec<(String, String)>), Value, Vec<(String, Vec<String>)>);

fn shape(answer: &Response) -> Shape {
    let (status, mut headers, _) = whole(answer);
    headers.retain(|(name, _)| !["set-cookie", "content-length"].contains(&name.as_str()));
    let mut body = answer.json();
    for field in ["id", "uuid", "email", "emailVerified"] {
        body["user"][field] = Value::Null;
    }
    let mut cookies: Vec<_> = answer.set_cookies();
    cookies.extend(answer.device_cookie());
    let mut cookies: Vec<_> = cookies.into_iter().map(|cookie| (cookie.name, cookie.attributes)).collect();
    cookies.sort();
    ((status, headers), body, cookies)
}

fn a_confirmation_is_answered_like_a_registration(backend: Backend) {
    let silent = Silent::start(backend);
    let plain = backend.service().start();
    let person = json!({ "username": "emily", "name": "emilia", "firstName": "Emily", "profile": { "a": [1] } });
    let mut body = person.clone();
    body["email"] = "emily@mail.example".into();
    body["password"] = PASSWORD.into();
    let expected = post(&plain, "/auth/register", &body);
    assert_eq!(expected.status, 201, "{}", expected.text());
    silent.ask("emily@mail.example", &person);
    let token = silent.mails.wait_for_mail_to("emily@mail.example", 1).token();
    let answer = silent.confirm(&token, PASSWORD);
    assert_eq!(shape(&answer), shape(&expected));
    assert_eq!(members(&answer.json()["user"]), members(&expected.json()["user"]));
    assert_eq!(answer.json()["user"]["email"], "emily@mail.example");
    assert_eq!(answer.json()["user"]["emailVerified"], true);
    assert_eq!(expected.json()["user"]["emailVerified"], false);
    let access = answer.set_cookies().into_iter().find(|cookie| cookie.name == "accessToken").unwrap().value;
    assert!(is_believed(&silent.service, &access));
    assert_eq!((silent.count("accounts"), silent.count("sessions")), (1, 1));
    for identifier in ["emily@mail.example", "emily", "emilia"] {
        let body = json!({ "identifier": identifier, "password": PASSWORD });
        let entered = post(&silent.service, "/auth/login", &body);
        assert_eq!(entered.status, 200, "{identifier}: {}", entered.text());
    }
}

fn the_session_has_the_options_of_the_confirmation(backend: Backend) {
    let silent = Silent::start(backend);
    let token = silent.token_of("brief@mail.example");
    let device = json!({ "deviceId": "a-device", "deviceName": "A device", "remember": false });
    let brief = silent.confirm_with(&token, PASSWORD, &device);
    assert_eq!(brief.status, 201, "{}", brief.text());
    for cookie in brief.set_cookies() {
        assert!(!cookie.line.contains("Max-Age"), "goes with the browser: {}", cookie.line);
    }
    let access = brief.set_cookies().into_iter().find(|cookie| cookie.name == "accessToken").unwrap().value;
    let listed = Request::new("GET", "/auth/sessions").bearer(&access).send(silent.service.address()).json();
    let session = listed.as_array().or_else(|| listed["sessions"].as_array()).unwrap()[0].clone();
    assert_eq!((&session["deviceId"], &session["deviceName"]), (&json!("a-device"), &json!("A device")));
    let token = silent.token_of("body@mail.example");
    let in_body = silent.confirm_with(&token, PASSWORD, &json!({ "tokens": "body" }));
    assert_eq!((in_body.status, in_body.set_cookies().len()), (201, 0), "{}", in_body.text());
    assert!(is_believed(&silent.service, in_body.json()["accessToken"].as_str().unwrap()));
    assert!(in_body.json()["refreshToken"].is_string());
}

fn the_session_replaces_the_previous_one(backend: Backend) {
    let silent = Silent::start(backend);
    add_account(&silent.service, "before@mail.example", None);
    let mut browser = Browser::new(silent.service.address());
    let body = json!({ "email": "before@mail.example", "password": PASSWORD }).to_string();
    assert_eq!(browser.post("/auth/login", &body).status, 200);
    let before = Tokens::held_by(&browser);
    let token = silent.token_of("after@mail.example");
    let wrong = json!({ "token": token, "password": OTHER }).to_string();
    assert_invalid(&browser.post("/auth/register/confirm", &wrong));
    assert!(is_believed(&silent.service, &before.access), "a refusal ends nothing");
    let right = json!({ "token": token, "password": PASSWORD }).to_string();
    assert_eq!(browser.post("/auth/register/confirm", &right).status, 201);
    before.assert_dead(&silent.service);
    assert_eq!(browser.get("/auth/me").json()["email"], "after@mail.example");
}

/// Pre-hijacking, one way: the link comes to somebody who has not asked for it.
fn the_link_without_the_password_grants_nothing(backend: Backend) {
    let silent = Silent::start(backend);
    // Somebody signs up with an address that is not theirs, and a password that only they know.
    let token = silent.token_of("victim@mail.example");
    for theirs in [OTHER, "", "x", "victim@mail.example"] {
        let answer = silent.confirm(&token, theirs);
        assert!([401, 422].contains(&answer.status), "{theirs:?}: {}", answer.text());
        assert!(answer.headers_named("Set-Cookie").is_empty());
    }
    let clicked = Request::new("GET", &format!("/register/confirm?token={token}")).send(silent.service.address());
    assert_eq!(clicked.status, 200, "a link opened is a form");
    assert_eq!((silent.count("accounts"), silent.count("sessions")), (0, 0));
    // What the mailbox's owner makes is theirs alone, and the other sign-up is dead by then.
    silent.ask("victim@mail.example", &json!({ "password": OTHER }));
    let own = silent.mails.wait_for_mail_to("victim@mail.example", 2).token();
    assert_eq!(silent.confirm(&own, OTHER).status, 201);
    assert_invalid(&silent.confirm(&token, PASSWORD));
    let theirs = |password: &str| {
        let body = json!({ "email": "victim@mail.example", "password": password });
        post(&silent.service, "/auth/login", &body).status
    };
    assert_eq!((theirs(PASSWORD), theirs(OTHER)), (401, 200));
    assert_eq!((silent.count("accounts"), silent.count("sessions")), (1, 2));
}

/// The other way: whoever has chosen the password has no mailbox.
fn a_sign_up_with_a_strangers_address_grants_nothing(backend: Backend) {
    let silent = Silent::start(backend);
    let answer = silent.sign_up("victim@mail.example", &json!({ "username": "mallory" }));
    let token = silent.mails.wait_for_mail_to("victim@mail.example", 1).token();
    let given = format!("{:?}{}", answer.headers, answer.text());
    assert!(!given.contains(&token) && !given.contains(&token[..12]), "no part of the token is in the answer");
    for guessed in ["", "x", "victim@mail.example", "1", "00000000-0000-0000-0000-000000000000"] {
        let answer = silent.confirm(guessed, PASSWORD);
        assert!([401, 422].contains(&answer.status), "{guessed:?}: {}", answer.text());
    }
    for name in ["victim@mail.example", "mallory"] {
        assert_eq!(sign_in_with(&silent.service, name, PASSWORD).status, 401, "{name}");
    }
    assert_eq!((silent.count("accounts"), silent.count("sessions")), (0, 0));
}

fn every_refused_confirmation_is_byte_for_byte_the_same(backend: Backend) {
    let silent = Silent::start(backend);
    let unknown = silent.confirm("nobody-ever-mailed-this-token-of-letters", PASSWORD);
    assert_invalid(&unknown);
    let expected = whole(&unknown);
    let spent = silent.token_of("spent@mail.example");
    assert_eq!(silent.confirm(&spent, PASSWORD).status, 201);
    let overtried = silent.token_of("overtried@mail.example");
    (0..10).for_each(|_| assert_eq!(whole(&silent.confirm(&overtried, OTHER)), expected));
    let taken = silent.token_of("taken@mail.example");
    add_account(&silent.service, "taken@mail.example", None);
    let open = silent.token_of("open@mail.example");
    let mut torn = open.clone();
    torn.pop();
    for (what, token, password) in [
        ("a wrong password", &open, OTHER),
        ("one that is no password", &open, "x"),
        ("a spent token", &spent, PASSWORD),
        ("a spent token and a wrong password", &spent, OTHER),
        ("too many tries", &overtried, PASSWORD),
        ("an address that is taken by now", &taken, PASSWORD),
        ("a torn token", &torn, PASSWORD),
        ("a token of other letters", &"ü\u{1f600}".to_owned(), PASSWORD),
        ("a very long token", &"A".repeat(5000), PASSWORD),
    ] {
        assert_eq!(whole(&silent.confirm(token, password)), expected, "{what}");
    }
    silent.service.advance(Duration::from_secs(24 * 3600 + 1));
    assert_eq!(whole(&silent.confirm(&open, PASSWORD)), expected, "an expired token");
    silent.service.core().purge().unwrap();
    assert_eq!(whole(&silent.confirm(&open, PASSWORD)), expected, "a token whose row is gone");
    assert_eq!(silent.count("accounts"), 2);
}

fn nine_wrong_passwords_leave_a_tenth_attempt(backend: Backend) {
    let silent = Silent::start(backend);
    let token = silent.token_of("emily@mail.example");
    (0..9).for_each(|_| assert_invalid(&silent.confirm(&token, OTHER)));
    assert_eq!(silent.confirm(&token, PASSWORD).status, 201);
}

fn ten_wrong_passwords_invalidate_the_token_for_the_right_one_too(backend: Backend) {
    let silent = Silent::start(backend);
    let (token, beside) = (silent.token_of("emily@mail.example"), silent.token_of("ben@mail.example"));
    (0..10).for_each(|_| assert_invalid(&silent.confirm(&token, OTHER)));
    assert_invalid(&silent.confirm(&token, PASSWORD));
    silent.service.advance(Duration::from_hours(2));
    assert_invalid(&silent.confirm(&token, PASSWORD));
    assert_eq!(silent.count("accounts"), 0);
    assert_eq!(silent.confirm(&beside, PASSWORD).status, 201, "another sign-up's tries are its own");
    // The address is not lost with the token.
    silent.ask("emily@mail.example", &json!({}));
    let again = silent.mails.wait_for_mail_to("emily@mail.example", 2).token();
    assert_eq!(silent.confirm(&again, PASSWORD).status, 201);
}

fn parallel_guesses_get_no_more_than_ten_attempts(backend: Backend) {
    let silent = Silent::with(backend, |builder| builder.set("HASH_QUEUE", "64"));
    let token = silent.token_of("emily@mail.example");
    let (address, tried) = (silent.service.address(), token.clone());
    let answers = race(16, move |number| {
        let body = json!({ "token": tried, "password": format!("wrong-harbour-{number}") }).to_string();
        Request::new("POST", "/auth/register/confirm").json(&body).send(address)
    });
    answers.iter().for_each(assert_invalid);
    assert_invalid(&silent.confirm(&token, PASSWORD));
    assert_eq!(silent.count("accounts"), 0);
}

/// What racing confirmations were answered: how many got a session; the others were refused as any.
fn won(answers: &[Response]) -> usize {
    let lost = answers.iter().filter(|answer| answer.status != 201);
    lost.for_each(assert_invalid);
    answers.iter().filter(|answer| answer.status == 201).count()
}

fn parallel_confirmations_of_a_token_create_one_account_and_one_session(backend: Backend) {
    let silent = Silent::with(backend, |builder| builder.set("HASH_QUEUE", "64"));
    for round in 1..=3 {
        let token = silent.token_of(&format!("emily-{round}@mail.example"));
        let address = silent.service.address();
        let answers = race(8, move |_| {
            let body = json!({ "token": token, "password": PASSWORD }).to_string();
            Request::new("POST", "/auth/register/confirm").json(&body).send(address)
        });
        assert_eq!(won(&answers), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        assert_eq!((silent.count("accounts"), silent.count("sessions")), (round, round));
    }
}

/// Two who sign up with one address: each link needs its own password.
fn two_of(silent: &Silent, email: &str) -> [(String, &'static str); 2] {
    silent.ask(email, &json!({}));
    let first = silent.mails.wait_for_mail_to(email, 1).token();
    silent.ask(email, &json!({ "password": OTHER }));
    let second = silent.mails.wait_for_mail_to(email, 2).token();
    assert_ne!(first, second);
    [(first, PASSWORD), (second, OTHER)]
}

fn of_two_sign_ups_with_one_address_the_first_confirmed_wins(backend: Backend) {
    let silent = Silent::start(backend);
    for (winner, loser) in [(0, 1), (1, 0)] {
        let email = format!("emily-{winner}@mail.example");
        let both = two_of(&silent, &email);
        let ((token, password), (late, other)) = (&both[winner], &both[loser]);
        assert_invalid(&silent.confirm(token, other));
        assert_invalid(&silent.confirm(late, password));
        assert_eq!(silent.confirm(token, password).status, 201);
        assert_invalid(&silent.confirm(late, other));
        let body = |password: &str| json!({ "email": email, "password": password });
        assert_eq!(post(&silent.service, "/auth/login", &body(password)).status, 200);
        assert_eq!(post(&silent.service, "/auth/login", &body(other)).status, 401);
    }
    assert_eq!(silent.count("accounts"), 2);
}

fn parallel_confirmations_of_one_address_create_one_account(backend: Backend) {
    let silent = Silent::with(backend, |builder| builder.set("HASH_QUEUE", "64"));
    for round in 1..=3 {
        let both = two_of(&silent, &format!("emily-{round}@mail.example"));
        let address = silent.service.address();
        let answers = race(6, move |number| {
            let (token, password) = &both[number % 2];
            let body = json!({ "token": token, "password": password }).to_string();
            Request::new("POST", "/auth/register/confirm").json(&body).send(address)
        });
        assert_eq!(won(&answers), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        assert_eq!((silent.count("accounts"), silent.count("sessions")), (round, round));
    }
}

fn a_username_taken_meanwhile_is_a_conflict(backend: Backend) {
    let silent = Silent::start(backend);
    let token_of = |email: &str, name: &str| {
        silent.ask(email, &json!({ "username": name }));
        silent.mails.wait_for_mail_to(email, 1).token()
    };
    let (first, second) = (token_of("a@mail.example", "emily"), token_of("b@mail.example", "EMILY"));
    assert_eq!(silent.confirm(&first, PASSWORD).status, 201);
    assert_invalid(&silent.confirm(&second, OTHER));
    assert_refused(&silent.confirm(&second, PASSWORD), 409, "identifier_taken");
    assert_eq!((silent.count("accounts"), silent.count("sessions")), (1, 1));
    silent.ask("b@mail.example", &json!({ "username": "emily-too" }));
    let again = silent.mails.wait_for_mail_to("b@mail.example", 2).token();
    assert_eq!(silent.confirm(&again, PASSWORD).status, 201, "under another name");
}

fn a_name_that_became_another_accounts_username_is_a_conflict(backend: Backend) {
    let silent = Silent::start(backend);
    let token_of = |email: &str, field: &str| {
        silent.ask(email, &json!({ field: "emily" }));
        silent.mails.wait_for_mail_to(email, 1).token()
    };
    let (first, second) = (token_of("a@mail.example", "username"), token_of("b@mail.example", "name"));
    assert_eq!(silent.confirm(&first, PASSWORD).status, 201);
    assert_refused(&silent.confirm(&second, PASSWORD), 409, "identifier_taken");
    assert_eq!(silent.count("accounts"), 1);
}

fn a_pending_sign_up_is_purged_after_a_day(backend: Backend) {
    let silent = Silent::start(backend);
    let (early, late) = (silent.token_of("early@mail.example"), silent.token_of("late@mail.example"));
    silent.service.advance(Duration::from_secs(24 * 3600 - 60));
    silent.service.core().purge().unwrap();
    assert_eq!(silent.count("pending_sign_ups"), 2);
    assert_eq!(silent.confirm(&early, PASSWORD).status, 201);
    silent.service.advance(Duration::from_secs(61));
    assert_invalid(&silent.confirm(&late, PASSWORD));
    silent.service.core().purge().unwrap();
    assert_eq!(silent.count("pending_sign_ups"), 0);
    assert_invalid(&silent.confirm(&late, PASSWORD));
    assert_eq!((silent.count("accounts"), told(&silent.service, "sent")), (1, 2));
}

fn a_confirmation_takes_exactly_its_fields(backend: Backend) {
    let silent = Silent::start(backend);
    let token = silent.token_of("emily@mail.example");
    for (body, field) in [
        (json!({ "token": token }), "password"),
        (json!({ "password": PASSWORD }), "token"),
        (json!({ "token": 1, "password": PASSWORD }), "token"),
        (json!({ "token": null, "password": PASSWORD }), "token"),
        (json!({ "token": token, "password": 1 }), "password"),
        (json!({ "token": token, "password": PASSWORD, "email": "emily@mail.example" }), "email"),
        (json!({ "token": token, "password": PASSWORD, "username": "emily" }), "username"),
        (json!({ "token": token, "password": PASSWORD, "role": "ADMIN" }), "role"),
        (json!({ "token": token, "password": PASSWORD, "remember": "yes" }), "remember"),
        (json!({ "token": token, "password": PASSWORD, "tokens": 1 }), "tokens"),
        (json!({ "token": token, "password": PASSWORD, "deviceId": 1 }), "deviceId"),
    ] {
        let answer = post(&silent.service, "/auth/register/confirm", &body);
        assert_eq!((answer.status, code(&answer).as_str()), (422, "invalid_fields"), "{body}: {}", answer.text());
        let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
        assert_eq!(errors.iter().map(|error| &error["field"]).collect::<Vec<_>>(), [field], "{body}");
    }
    assert_eq!(silent.confirm(&token, PASSWORD).status, 201, "what is no try uses up none");
}
