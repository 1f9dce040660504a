//! Required password change (SP 800-63B-4 section 3.1.1.2, on compromise): the account signs in, changes its password
//! and signs out, and may do nothing else, in any contract and on any node. The pages are tested in
//! pages/required_password_change.rs.

mod envelope;

use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web;
use doorward::Caller;
use doorward::clock::Timestamp;
use doorward::core::credential::password::GivenSecret;
use doorward::core::error::{Error, Refusal};
use doorward::core::token::claims::AccessClaims;
use doorward::core::{AccountUuid, SessionId};
use doorward::secret::Secret;
use doorward::testing::{Builder, TestService};
use serde_json::{Value, json};

use super::{BY_EMAIL, CHECKS, EMILY, beside, emily};
use crate::support::http::{Browser, Request, Response};
use crate::support::process::until;
use crate::support::{
    Backend, Tokens, assert_refused, code, decode_jwt, on_both_backends, post, refresh_with, sessions_of,
};

on_both_backends!(
    only_the_change_and_a_sign_out_are_allowed,
    the_change_lifts_the_restriction_and_leaves_no_restricted_token_alive,
    a_refused_change_lifts_nothing,
    every_dialect_reports_it_in_its_own_shape,
    every_dialect_still_signs_out,
    live_tokens_are_invalidated_on_every_node,
    a_check_renews_no_restricted_token,
    the_check_against_the_table_is_restricted_too,
    a_password_set_by_an_operator_must_be_changed_too,
    an_account_without_a_password_is_not_restricted,
);

const OLD: &str = "emilyspass";
const NEW: &str = "another-quiet-harbour";

/// The message of contracts without one of their own.
const WORDS: &str = "Change the password before any other operation, or sign out.";

/// How long a revocation may take to reach a node on a stalled machine; 2 s are promised.
const SOON: Duration = Duration::from_secs(30);

fn require(service: &TestService, required: bool) {
    let core = service.core();
    let account = core.find_account_by("emilys").unwrap();
    core.require_password_change(&account, required).unwrap();
}

/// A demo whose emilys must change her password.
fn restricted(builder: Builder) -> TestService {
    let service = builder.demo().start();
    require(&service, true);
    service
}

fn change(browser: &mut Browser, current: &str, new: &str) -> Response {
    let body = json!({ "currentPassword": current, "newPassword": new });
    browser.post("/auth/change-password", &body.to_string())
}

fn says_so(access: &str) -> bool {
    let claims = decode_jwt(access).1;
    assert!(claims.get("mcp").is_none_or(|claim| *claim == true), "it is said when it is so, and not otherwise");
    claims.get("mcp").is_some()
}

/// A request that presents the access token by header and by cookie.
fn with(access: &str, method: &str, path: &str) -> Request {
    Request::new(method, path).bearer(access).cookie_header(&format!("accessToken={access}"))
}

fn send_request(service: &TestService, access: &str, path: &str) -> Response {
    with(access, "GET", path).send(service.address())
}

fn own_routes(app: &mut web::ServiceConfig) {
    let who = || web::get().to(|caller: Caller| async move { caller.account.to_string() });
    let inner = web::scope("/inner").wrap(from_fn(doorward::require_session));
    app.route("/who", who()).service(inner.route("/open", web::get().to(|| async { "open" })));
}

fn only_the_change_and_a_sign_out_are_allowed(backend: Backend) {
    let service = restricted(backend.service().routes(own_routes));
    let mut browser = emily(&service);
    for round in 0..3 {
        let access = Tokens::in_jar_of(&browser).access;
        assert!(says_so(&access));
        let session = decode_jwt(&access).1["sid"].as_str().unwrap().to_owned();
        for path in ["/auth/me", "/auth/sessions", "/auth/verify", "/auth/forward", "/who", "/inner/open"] {
            let refused = send_request(&service, &access, path);
            assert_refused(&refused, 403, "password_change_required");
            assert!(refused.headers_named("Remote-User").is_empty(), "{path}");
            assert_eq!(refused.header("www-authenticate"), None, "another token would not do");
        }
        for path in CHECKS {
            assert_eq!(with(&access, "HEAD", path).send(service.address()).status, 403, "{path}");
        }
        let navigation = with(&access, "GET", "/auth/forward").header("Accept", "text/html");
        let led = navigation.send(service.address());
        assert_eq!((led.status, led.header("location")), (302, Some("/account")), "a person is led to the form");
        assert_refused(&browser.patch("/auth/me", r#"{"firstName":"X"}"#), 403, "password_change_required");
        assert_refused(&browser.delete(&format!("/auth/sessions/{session}")), 403, "password_change_required");
        // Refreshes do not lift it, immediately or after the access token has expired.
        service.advance(Duration::from_mins(20 * round));
        assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    }
    let account = service.core().find_account_by("emilys").unwrap();
    assert_eq!((account.first_name.as_deref(), account.must_change_password), (Some("Emily"), true));
    assert_eq!(browser.post_empty("/auth/logout").status, 200);
    assert_eq!(sessions_of(service.core(), account.uuid).len(), 0);
}

fn the_change_lifts_the_restriction_and_leaves_no_restricted_token_alive(backend: Backend) {
    let service = restricted(backend.service());
    let (mut browser, other) = (emily(&service), Tokens::in_jar_of(&emily(&service)));
    let first = Tokens::in_jar_of(&browser);
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    let second = Tokens::in_jar_of(&browser);
    let changed = change(&mut browser, OLD, NEW);
    assert_eq!(changed.status, 200, "{}", changed.text());
    let session_tokens = Tokens::in_jar_of(&browser);
    assert!(!says_so(&session_tokens.access));
    for path in ["/auth/me", "/auth/verify", "/auth/forward"] {
        assert_eq!(send_request(&service, &session_tokens.access, path).status, 200, "{path}");
    }
    for old in [first, second, other] {
        old.assert_invalid(&service);
    }
    let next = session_tokens.assert_valid(&service);
    assert!(!says_so(&next.access));
    assert!(!service.core().find_account_by("emilys").unwrap().must_change_password);
    assert_eq!(post(&service, "/auth/login", &json!({ "username": "emilys", "password": OLD })).status, 401);
    let again = post(&service, "/auth/login", &json!({ "username": "emilys", "password": NEW, "tokens": "body" }));
    assert_eq!(send_request(&service, again.json()["accessToken"].as_str().unwrap(), "/auth/me").status, 200);
}

fn a_refused_change_lifts_nothing(backend: Backend) {
    let service = restricted(backend.service());
    let mut browser = emily(&service);
    for (current, new, status, expected) in [
        ("not-the-password", NEW, 403, "current_password_wrong"),
        (OLD, "short", 422, "invalid_fields"),
        (OLD, "password123", 422, "invalid_fields"),
    ] {
        assert_refused(&change(&mut browser, current, new), status, expected);
        assert_refused(&browser.get("/auth/me"), 403, "password_change_required");
    }
    // Nor does the same password again; the demo's would break another rule first.
    let core = service.core();
    let account = core.find_account_by("emilys").unwrap();
    core.set_secret(&account, &GivenSecret::Password(Secret::new(NEW))).unwrap();
    let login = json!({ "username": "emilys", "password": NEW }).to_string();
    assert_eq!(browser.post("/auth/login", &login).status, 200);
    assert_refused(&change(&mut browser, NEW, NEW), 422, "password_unchanged");
    assert_refused(&browser.get("/auth/me"), 403, "password_change_required");
    assert!(core.find_account_by("emilys").unwrap().must_change_password);
}

/// Signs in at a mount; its answer.
fn enter(service: &TestService, path: &str, body: &str) -> Response {
    let answer = Request::new("POST", path).json(body).send(service.address());
    assert!([200, 201].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    answer
}

/// The sign-in route and body of each mount, and the position of both tokens in its answer.
const ENTRANCES: [(&str, &str, &str, &str); 4] = [
    ("/flat/auth/login", EMILY, "/accessToken", "/refreshToken"),
    ("/store/auth/signin", r#"{"login":"emilys","password":"emilyspass"}"#, "/access_token", "/refresh_token"),
    ("/signin/api/v1/auths/sign-in", EMILY, "/accessToken", "/refreshToken"),
    ("/envelope/auth/login", BY_EMAIL, "/data/accessToken", "/data/refreshToken"),
];

fn entered(service: &TestService, mount: &str) -> Tokens {
    let (path, body, access, refresh) = ENTRANCES.into_iter().find(|(path, ..)| path.starts_with(mount)).unwrap();
    let answer = enter(service, path, body).json();
    let token = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    Tokens { access: token(access), refresh: token(refresh) }
}

/// Gives emilys a name and a PIN, and signs her in with them.
fn entered_by_pin(service: &TestService) -> Tokens {
    let core = service.core();
    let account = core.find_account_by("emilys").unwrap();
    core.set_secret(&account, &GivenSecret::Pin(Secret::new("271828"))).unwrap();
    let name = doorward::core::account::Profile { name: Some(Some("Emily".to_owned())), ..Default::default() };
    core.change_profile(account.uuid, &name, &doorward::core::session::caller::Client::operator()).unwrap();
    Tokens::set_by(&enter(service, "/pin/auth/login", r#"{"name":"Emily","pin":"271828"}"#))
}

fn every_dialect_reports_it_in_its_own_shape(backend: Backend) {
    let service = restricted(backend.service());
    let pin = entered_by_pin(&service);
    for (tokens, path, expected) in [
        (entered(&service, "/flat"), "/flat/auth/me", json!({ "message": WORDS })),
        (
            entered(&service, "/store"),
            "/store/user",
            json!({ "statusCode": 403, "message": WORDS, "timestamp": null, "path": "/store/user" }),
        ),
        (
            entered(&service, "/envelope"),
            "/envelope/auth/me",
            json!({ "success": false, "message": WORDS, "data": null, "timestamp": null }),
        ),
        (pin, "/pin/users/me", json!({ "message": WORDS })),
    ] {
        assert!(says_so(&tokens.access), "{path}");
        let refused = send_request(&service, &tokens.access, path);
        assert_eq!((refused.status, refused.header("content-type")), (403, Some("application/json")), "{path}");
        let mut body = refused.json();
        if body.get("timestamp").is_some() {
            assert!(body["timestamp"].take().as_str().is_some_and(|at| at.starts_with("20")), "{path}");
        }
        assert_eq!(body, expected, "{path}");
        assert!(refused.set_cookies().is_empty());
    }
    // A session of one contract is refused in all.
    let access = entered(&service, "/signin").access;
    for path in CHECKS {
        assert_eq!(send_request(&service, &access, path).status, 403, "{path}");
    }
}

fn every_dialect_still_signs_out(backend: Backend) {
    let service = restricted(backend.service());
    let sign_out = |tokens: &Tokens, path: &str| {
        assert_eq!(send_request(&service, &tokens.access, "/auth/me").status, 403, "{path}");
        assert_eq!(with(&tokens.access, "POST", path).send(service.address()).status, 200, "{path}");
        assert_eq!(send_request(&service, &tokens.access, "/auth/me").status, 401, "{path}");
    };
    sign_out(&entered_by_pin(&service), "/pin/auth/logout");
    for path in ["/auth/logout", "/auth/logout-all"] {
        sign_out(&Tokens::in_jar_of(&emily(&service)), path);
    }
    for (mount, path) in [
        ("/flat", "/flat/auth/logout"),
        ("/signin", "/signin/api/v1/auths/sign-out"),
        ("/envelope", "/envelope/auth/logout"),
        ("/envelope", "/envelope/auth/logout-all"),
    ] {
        sign_out(&entered(&service, mount), path);
    }
    let account = service.core().find_account_by("emilys").unwrap().uuid;
    assert_eq!(sessions_of(service.core(), account).len(), 0);
}

fn live_tokens_are_invalidated_on_every_node(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let first = builder.demo().start();
    let second = beside(&first, &tables).start();
    let status = |node: &TestService, access: &str| send_request(node, access, "/auth/verify").status;
    let enter = |node: &TestService| Tokens::in_jar_of(&emily(node));
    let session_tokens = [enter(&first), enter(&second)];
    for tokens in &session_tokens {
        assert_eq!([status(&first, &tokens.access), status(&second, &tokens.access)], [200; 2]);
    }
    require(&first, true);
    for tokens in &session_tokens {
        assert_eq!(status(&first, &tokens.access), 401, "immediately on the node where it was set");
        until(SOON, "the other node to hear of it", || (status(&second, &tokens.access) == 401).then_some(()));
        assert_eq!(refresh_with(&second, &tokens.refresh).status, 401);
    }
    let restricted = enter(&second);
    assert_eq!([status(&first, &restricted.access), status(&second, &restricted.access)], [403; 2]);
    // Once lifted, no token still carries the restriction.
    require(&second, false);
    assert_eq!(status(&second, &restricted.access), 401);
    until(SOON, "the other node to hear of it", || (status(&first, &restricted.access) == 401).then_some(()));
    let free = enter(&first);
    assert_eq!([status(&first, &free.access), status(&second, &free.access)], [200; 2]);
    // A change on one node counts on both.
    require(&first, true);
    let mut browser = emily(&second);
    assert_eq!(change(&mut browser, OLD, NEW).status, 200);
    let changed = Tokens::in_jar_of(&browser);
    assert_eq!([status(&first, &changed.access), status(&second, &changed.access)], [200; 2]);
}

fn a_check_renews_no_restricted_token(backend: Backend) {
    let service = restricted(backend.service().set("VERIFY_RENEW", "true"));
    let mut browser = emily(&service);
    let check = |browser: &Browser| {
        let cookies = format!("accessToken=old.and.over; refreshToken={}", Tokens::in_jar_of(browser).refresh);
        Request::new("GET", "/auth/verify").cookie_header(&cookies).send(service.address())
    };
    for access in ["alive", "over"] {
        let presented = if access == "alive" { browser.get("/auth/verify") } else { check(&browser) };
        assert_refused(&presented, 403, "password_change_required");
    }
    service.advance(Duration::from_mins(20));
    assert_refused(&check(&browser), 403, "password_change_required");
    assert_refused(&browser.get("/auth/verify"), 403, "password_change_required");
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    assert_eq!(change(&mut browser, OLD, NEW).status, 200);
    let renewed = check(&browser);
    assert_eq!((renewed.status, renewed.set_cookies().len()), (200, 1));
    assert!(!says_so(&renewed.set_cookies()[0].value));
}

fn the_check_against_the_table_is_restricted_too(backend: Backend) {
    let service = restricted(backend.service());
    let access = Tokens::in_jar_of(&emily(&service)).access;
    let shown = decode_jwt(&access).1;
    let claims = AccessClaims {
        account: AccountUuid(shown["sub"].as_str().unwrap().parse().unwrap()),
        session: SessionId(shown["sid"].as_str().unwrap().parse().unwrap()),
        generation: shown["gen"].as_i64().unwrap(),
        epoch: shown["epoch"].as_i64().unwrap(),
        role: shown["role"].as_str().unwrap().to_owned(),
        must_change_password: true,
        issued_at: Timestamp::from_seconds(shown["iat"].as_i64().unwrap()),
        expires_at: Timestamp::from_seconds(shown["exp"].as_i64().unwrap()),
        id: shown["jti"].as_str().unwrap().to_owned(),
    };
    let core = service.core();
    let refused = core.resolve_session_from_table(&claims);
    assert!(matches!(refused, Err(Error::Refusal(Refusal::PasswordChangeRequired))), "{refused:?}");
    assert!(core.resolve_restricted_session_from_table(&claims).is_ok_and(|caller| caller.must_change_password));
    assert_eq!(core.resolve_session(&access).err(), Some(Refusal::PasswordChangeRequired));
    require(&service, false);
    for dead in [core.resolve_session_from_table(&claims), core.resolve_restricted_session_from_table(&claims)] {
        assert!(matches!(dead, Err(Error::Refusal(Refusal::SessionEnded))), "{dead:?}");
    }
}

fn a_password_set_by_an_operator_must_be_changed_too(backend: Backend) {
    let service = restricted(backend.service());
    let core = service.core();
    let account = core.find_account_by("emilys").unwrap();
    core.set_secret(&account, &GivenSecret::Password(Secret::new("for-one-day-only"))).unwrap();
    let mut browser = Browser::new(service.address());
    let login = json!({ "username": "emilys", "password": "for-one-day-only" }).to_string();
    assert_eq!(browser.post("/auth/login", &login).status, 200);
    assert_eq!(code(&browser.get("/auth/me")), "password_change_required");
    assert_eq!(change(&mut browser, "for-one-day-only", NEW).status, 200);
    assert_eq!(browser.get("/auth/me").status, 200);
}

fn an_account_without_a_password_is_not_restricted(backend: Backend) {
    let service = backend.service().demo().start();
    let core = service.core();
    let account = core.find_account_by("cooluser1").unwrap();
    let refused = core.require_password_change(&account, true);
    assert!(matches!(refused, Err(Error::Refusal(Refusal::InvalidFields(_)))), "{refused:?}");
    let tokens = Tokens::set_by(&enter(&service, "/pin/auth/login", r#"{"name":"cooluser1","pin":"0000"}"#));
    assert_eq!(send_request(&service, &tokens.access, "/pin/users/me").status, 200);
    core.require_password_change(&account, false).unwrap();
}
