//! Passwords: the policy, that every character counts, and what a change of password, role or status ends.

use doorward::core::{AccountId, AccountStatus};
use doorward::testing::TestService;
use serde_json::{Value, json};

use crate::support::http::{Browser, Request, Response};
use crate::support::{
    Backend, PASSWORD, Tokens, code, is_accepted, on_both_backends, race, refresh_with, register, sign_in,
};

on_both_backends!(
    an_invalid_password_change_is_refused_and_changes_nothing,
    a_password_change_ends_every_other_session,
    a_password_change_ends_the_refresh_grace,
    a_client_without_cookies_gets_its_new_tokens_in_the_body,
    a_profile_change_does_not_end_the_session_that_changed_the_password,
    after_two_concurrent_changes_exactly_one_password_works,
    passwords_that_differ_in_any_byte_differ,
    a_password_is_compared_exactly_as_typed,
    sixty_four_emoji_are_a_valid_password,
    composed_and_decomposed_letters_are_the_same_password,
    the_same_password_in_another_normal_form_is_not_a_new_one,
    the_password_policy_applies_at_sign_up,
    the_minimum_length_is_a_setting,
    a_role_change_ends_every_session_immediately,
    a_status_change_ends_every_session_immediately,
    an_inactive_account_is_reported_only_with_the_right_password,
);

const OTHER: &str = "another-harbour-lantern";

fn post(service: &TestService, path: &str, body: &Value) -> Response {
    Request::new("POST", path).json(&body.to_string()).send(service.address())
}

/// The status of a registration.
fn registered(service: &TestService, username: &str, password: &str) -> u16 {
    post(service, "/auth/register", &json!({ "username": username, "password": password })).status
}

/// The status of a sign-in.
fn signed_in(service: &TestService, username: &str, password: &str) -> u16 {
    post(service, "/auth/login", &json!({ "username": username, "password": password })).status
}

fn change(browser: &mut Browser, current: &str, new: &str) -> Response {
    let body = json!({ "currentPassword": current, "newPassword": new }).to_string();
    browser.post("/auth/change-password", &body)
}

fn account_of(browser: &mut Browser) -> AccountId {
    AccountId(browser.get("/auth/me").json()["id"].as_i64().unwrap())
}

fn an_invalid_password_change_is_refused_and_changes_nothing(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily-harbour");
    let too_long = "long-enough-to-be-too-long ".repeat(5);
    let rows = [
        ("not-the-current-one", OTHER, 403, "current_password_wrong"),
        (PASSWORD, "short-1", 422, "invalid_fields"),
        (PASSWORD, &too_long, 422, "invalid_fields"),
        (PASSWORD, "password123", 422, "invalid_fields"),
        (PASSWORD, "emily-harbour", 422, "invalid_fields"),
        (PASSWORD, "Emily-Harbour", 422, "invalid_fields"),
        (PASSWORD, PASSWORD, 422, "password_unchanged"),
    ];
    for (current, new, status, expected) in rows {
        let refused = change(&mut browser, current, new);
        assert_eq!((refused.status, code(&refused).as_str()), (status, expected), "{new}");
        assert!(refused.set_cookies().is_empty());
    }
    for body in [json!({ "newPassword": OTHER }), json!({ "currentPassword": PASSWORD })] {
        let refused = browser.post("/auth/change-password", &body.to_string());
        assert_eq!((refused.status, code(&refused).as_str()), (422, "invalid_fields"), "{body}");
    }
    let unasked =
        post(&service, "/auth/change-password", &json!({ "currentPassword": PASSWORD, "newPassword": OTHER }));
    assert_eq!((unasked.status, code(&unasked).as_str()), (401, "token_missing"));
    Tokens::in_jar_of(&browser).assert_valid(&service);
    assert_eq!(signed_in(&service, "emily-harbour", PASSWORD), 200);
}

fn a_password_change_ends_every_other_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let others: Vec<Tokens> = (0..3).map(|_| Tokens::in_jar_of(&sign_in(&service, "emily"))).collect();
    let renewed = Tokens::set_by(&refresh_with(&service, &others[2].refresh));
    let stranger = Tokens::in_jar_of(&register(&service, "bob"));
    let answer = change(&mut browser, PASSWORD, OTHER);
    let new = Tokens::set_by(&answer);
    for tokens in others.iter().chain([&renewed]) {
        tokens.assert_invalid(&service);
    }
    assert_eq!(signed_in(&service, "emily", PASSWORD), 401);
    assert_eq!(signed_in(&service, "emily", OTHER), 200);
    new.assert_valid(&service);
    stranger.assert_valid(&service);
}

fn a_password_change_ends_the_refresh_grace(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let mut password = (PASSWORD, OTHER);
    for child_in_use in [false, true] {
        let mut browser = Browser::new(service.address());
        browser.post("/auth/login", &json!({ "username": "emily", "password": password.0 }).to_string());
        let old = Tokens::in_jar_of(&browser);
        let new = Tokens::set_by(&change(&mut browser, password.0, password.1));
        assert_ne!(new.refresh, old.refresh);
        if child_in_use {
            assert!(is_accepted(&service, &new.access));
        }
        assert!(!is_accepted(&service, &old.access), "the own old access token is dead");
        let refused = refresh_with(&service, &old.refresh);
        assert_eq!(refused.status, 401, "the own old refresh token was rescued: {}", refused.text());
        // It may come from a tab that asked at the same moment, which must not cost the browser its new cookies.
        assert!(refused.set_cookies().is_empty());
        new.assert_valid(&service);
        password = (password.1, password.0);
    }
}

fn a_client_without_cookies_gets_its_new_tokens_in_the_body(backend: Backend) {
    let service = backend.service().start();
    let old = Tokens::in_jar_of(&register(&service, "emily"));
    let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER }).to_string();
    let request = Request::new("POST", "/auth/change-password").bearer(&old.access).json(&body);
    let answer = request.send(service.address());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = |name: &str| answer.json()[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
    let new = Tokens { access: token("accessToken"), refresh: token("refreshToken") };
    assert!(answer.set_cookies().is_empty());
    assert!(!is_accepted(&service, &old.access));
    new.assert_valid(&service);
}

/// The envelope contract keeps the tokens at a change of the password: its revocation excepts the session, and later notices to
/// the other nodes must not.
fn a_profile_change_does_not_end_the_session_that_changed_the_password(backend: Backend) {
    let mut service = backend.service().set("DIALECTS", "native,envelope").start();
    let register = json!({ "email": "ada@example.org", "password": PASSWORD, "name": "Ada" });
    assert_eq!(post(&service, "/envelope/auth/register", &register).status, 201);
    let login = || {
        let login =
            post(&service, "/envelope/auth/login", &json!({ "email": "ada@example.org", "password": PASSWORD }));
        login.json()["data"]["accessToken"].as_str().unwrap_or_else(|| panic!("{}", login.text())).to_owned()
    };
    let (kept, other) = (login(), login());
    let body = json!({ "oldPassword": PASSWORD, "newPassword": "Another-harbour-lantern-2" });
    let change = Request::new("POST", "/envelope/auth/change-password").bearer(&kept).json(&body.to_string());
    let changed = change.send(service.address());
    assert_eq!(changed.status, 200, "{}", changed.text());
    let assert_kept = |service: &TestService, when: &str| {
        assert!(is_accepted(service, &kept), "{when}");
        assert!(!is_accepted(service, &other), "{when}");
    };
    assert_kept(&service, "the change itself");
    let profile = Request::new("PATCH", "/auth/me").bearer(&kept).json(r#"{"firstName":"Augusta"}"#);
    assert_eq!(profile.send(service.address()).status, 200);
    assert_kept(&service, "a change of the profile");
    let account = service.core().find_account_by("ada@example.org").unwrap();
    service.core().set_email_verified(&account, true).unwrap();
    assert_kept(&service, "a verified address");
    service.restart();
    assert_kept(&service, "a restart");
}

fn after_two_concurrent_changes_exactly_one_password_works(backend: Backend) {
    let service = backend.service().start();
    for round in 0..10 {
        let name = format!("emily{round}");
        let first = register(&service, &name);
        // From one session, and from two sessions.
        let second = if round % 2 == 0 { first.clone() } else { sign_in(&service, &name) };
        let browsers = [first, second];
        let new = ["first-harbour-lantern", "second-harbour-lantern"];
        let answers = race(2, move |number| change(&mut browsers[number].clone(), PASSWORD, new[number]));
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.contains(&200), "round {round}: {statuses:?}");
        // The loser may be refused for its session or its password, or be asked to retry and be refused then.
        assert!(
            statuses.iter().all(|status| [200, 401, 403, 409, 503].contains(status)),
            "round {round}: {statuses:?}"
        );
        let mut to_come_back = answers.iter().filter(|answer| answer.status == 503);
        assert!(to_come_back.all(|answer| answer.header("retry-after").is_some()), "round {round}");
        let works = new.map(|password| signed_in(&service, &name, password) == 200);
        assert_eq!(works.iter().filter(|works| **works).count(), 1, "round {round}: {statuses:?} {works:?}");
        let winner = works.iter().position(|works| *works).unwrap();
        assert_eq!(statuses[winner], 200, "round {round}: a refused change took effect");
        assert_eq!(signed_in(&service, &name, PASSWORD), 401);
        assert_eq!(signed_in(&service, &name, new[winner]), 200);
    }
}

/// 128 bytes, each different from its neighbours.
fn longest() -> String {
    (0..128).filter_map(|at| char::from_u32(48 + at * 7 % 75)).collect()
}

fn passwords_that_differ_in_any_byte_differ(backend: Backend) {
    let service = backend.service().start();
    let password = longest();
    assert_eq!(registered(&service, "emily", &password), 201);
    for rows in [[1, 71, 72], [73, 100, 128]] {
        for at in rows {
            let mut other = password.clone();
            other.replace_range(at - 1..at, "~");
            assert_eq!(signed_in(&service, "emily", &other), 401, "byte {at} does not count");
        }
        assert_eq!(signed_in(&service, "emily", &password), 200);
    }
    for length in [71, 72, 73, 127] {
        assert_eq!(signed_in(&service, "emily", &password[..length]), 401, "{length} bytes are enough");
    }
    assert_eq!(signed_in(&service, "emily", &password), 200);
}

fn a_password_is_compared_exactly_as_typed(backend: Backend) {
    let service = backend.service().start();
    let rows = [
        ("trailing", "quiet-harbour-lantern ", "quiet-harbour-lantern"),
        ("added", "quiet-harbour-lantern", "quiet-harbour-lantern "),
        ("leading", " quiet-harbour-lantern", "quiet-harbour-lantern"),
        ("case", "Quiet-harbour-lantern", "quiet-harbour-lantern"),
        ("nul", "quiet-harb\0our-lantern", "quiet-harb\0ELSE"),
        ("nul-end", "quiet-harbour-lantern\0", "quiet-harbour-lantern"),
        ("newline", "quiet-harbour-lantern\n", "quiet-harbour-lantern"),
        ("fullwidth", "ｑuiet-harbour-lantern", "quiet-harbour-lantern"),
    ];
    for (name, password, other) in rows {
        assert_eq!(registered(&service, name, password), 201, "{name}");
        assert_eq!(signed_in(&service, name, other), 401, "{name}");
        assert_eq!(signed_in(&service, name, password), 200, "{name}");
    }
}

fn sixty_four_emoji_are_a_valid_password(backend: Backend) {
    let service = backend.service().start();
    let emoji = |last: &str| "🦀".repeat(63) + last;
    assert_eq!(registered(&service, "emily", &emoji("🦀")), 201);
    assert_eq!(signed_in(&service, "emily", &emoji("🦞")), 401);
    assert_eq!(signed_in(&service, "emily", &emoji("")), 401);
    assert_eq!(signed_in(&service, "emily", &emoji("🦀")), 200);
    assert_eq!(registered(&service, "bob", &"🦀".repeat(128)), 201, "characters are counted, not bytes");
    assert_eq!(signed_in(&service, "bob", &"🦀".repeat(128)), 200);
}

fn composed_and_decomposed_letters_are_the_same_password(backend: Backend) {
    let service = backend.service().start();
    let (composed, decomposed) = ("caf\u{e9}-harbour-lantern", "cafe\u{301}-harbour-lantern");
    for (name, typed, retyped) in [("emily", composed, decomposed), ("bob", decomposed, composed)] {
        assert_eq!(registered(&service, name, typed), 201);
        assert_eq!(signed_in(&service, name, retyped), 200, "{name}");
        assert_eq!(signed_in(&service, name, "cafe-harbour-lantern"), 401, "{name}");
    }
}

fn the_same_password_in_another_normal_form_is_not_a_new_one(backend: Backend) {
    let service = backend.service().start();
    let (composed, decomposed) = ("caf\u{e9}-harbour-lantern", "cafe\u{301}-harbour-lantern");
    let mut browser = Browser::new(service.address());
    let body = json!({ "username": "emily", "password": decomposed }).to_string();
    assert_eq!(browser.post("/auth/register", &body).status, 201);
    for (current, new) in [(decomposed, composed), (composed, composed), (composed, decomposed)] {
        let same = change(&mut browser, current, new);
        assert_eq!(same.status, 422, "{}", same.text());
        assert_eq!(code(&same), "password_unchanged");
    }
}

fn the_password_policy_applies_at_sign_up(backend: Backend) {
    let service = backend.service().start();
    let longest = longest();
    let rows = [
        ("a1", "zq7-xw", 422),
        ("a2", "zq7-xwv", 422),
        ("a3", "zq7-xwvk", 201),
        ("a4", longest.as_str(), 201),
        ("a5", &format!("{longest}x"), 422),
        ("a6", "password", 422),
        ("a7", "12345678", 422),
        ("a8", "PASSWORD", 422),
        ("a9", "iloveyou1", 422),
        ("b1", "", 422),
        ("b2", "🦀🦀🦀🦀🦀🦀🦀", 422),
        ("b3", "привет мир", 201),
        ("b4", "   zq  x   ", 201),
        ("emily-harbour", "emily-harbour", 422),
        ("emily-lantern", "EMILY-lantern", 422),
    ];
    for (name, password, status) in rows {
        let answer = post(&service, "/auth/register", &json!({ "username": name, "password": password }));
        assert_eq!(answer.status, status, "{name} {password:?}: {}", answer.text());
        if status == 422 {
            assert_eq!(code(&answer), "invalid_fields");
            assert_eq!(registered(&service, name, "quite-another-lantern"), 201, "nothing is left of a refused one");
        }
    }
}

fn the_minimum_length_is_a_setting(backend: Backend) {
    let service = backend.service().set("PASSWORD_MIN_LENGTH", "15").start();
    assert_eq!(registered(&service, "emily", "harbour-lanter"), 422);
    assert_eq!(registered(&service, "emily", "harbour-lantern"), 201);
    assert!(backend.service().set("PASSWORD_MIN_LENGTH", "7").try_start().is_err(), "never under 8");
}

/// Fails unless every token of the list is refused, at a replayed refresh as well.
fn assert_all_invalid(service: &TestService, tokens: &[Tokens]) {
    tokens.iter().for_each(|tokens| tokens.assert_invalid(service));
}

fn a_role_change_ends_every_session_immediately(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let id = account_of(&mut browser);
    let parent = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let child = Tokens::set_by(&refresh_with(&service, &parent.refresh));
    let bystander = Tokens::in_jar_of(&register(&service, "bob"));
    assert_eq!(browser.get("/auth/me").json()["role"], "USER");
    service.core().set_role(id, "ADMIN").unwrap();
    assert_all_invalid(&service, &[Tokens::in_jar_of(&browser), parent, child]);
    let mut again = sign_in(&service, "emily");
    assert_eq!(again.get("/auth/me").json()["role"], "ADMIN");
    assert_eq!(crate::support::decode_jwt(&Tokens::in_jar_of(&again).access).1["role"], "ADMIN");
    Tokens::in_jar_of(&again).assert_valid(&service);
    bystander.assert_valid(&service);
}

fn a_status_change_ends_every_session_immediately(backend: Backend) {
    let service = backend.service().start();
    let id = account_of(&mut register(&service, "emily"));
    for status in [AccountStatus::Inactive, AccountStatus::Locked, AccountStatus::Suspended] {
        let parent = Tokens::in_jar_of(&sign_in(&service, "emily"));
        let child = Tokens::set_by(&refresh_with(&service, &parent.refresh));
        service.core().set_status(id, status).unwrap();
        let all = [parent, child];
        assert!(all.iter().all(|tokens| !is_accepted(&service, &tokens.access)), "{status:?}");
        for tokens in &all {
            let refused = refresh_with(&service, &tokens.refresh);
            assert!([401, 403].contains(&refused.status), "{status:?}: {}", refused.text());
        }
        service.core().set_status(id, AccountStatus::Active).unwrap();
        assert_all_invalid(&service, &all);
    }
    Tokens::in_jar_of(&sign_in(&service, "emily")).assert_valid(&service);
}

fn an_inactive_account_is_reported_only_with_the_right_password(backend: Backend) {
    let service = backend.service().start();
    let id = account_of(&mut register(&service, "emily"));
    let login = |password: &str| {
        let answer = post(&service, "/auth/login", &json!({ "username": "emily", "password": password }));
        assert!(answer.set_cookies().is_empty());
        (answer.status, code(&answer))
    };
    for status in [AccountStatus::Inactive, AccountStatus::Locked, AccountStatus::Suspended] {
        service.core().set_status(id, status).unwrap();
        assert_eq!(login(OTHER), (401, "invalid_credentials".to_owned()), "{status:?}");
        assert_eq!(login(PASSWORD), (403, "account_not_active".to_owned()), "{status:?}");
    }
    service.core().set_status(id, AccountStatus::Active).unwrap();
    assert_eq!(signed_in(&service, "emily", PASSWORD), 200);
}
