//! VERIFY_RENEW: a check with a live refresh cookie and no usable access token issues an access token and changes
//! nothing else.

use std::time::Duration;

use doorward::testing::{Builder, TestService};

use super::identity;
use crate::support::http::{Request, Response};
use crate::support::{
    Backend, SETTLED, Tokens, code, decode_jwt, expiry_of, is_accepted, on_both_backends, race, refresh_with, register,
};

on_both_backends!(
    a_check_renews_the_access_token_and_keeps_the_generation,
    nothing_is_renewed_unless_the_setting_allows_it,
    two_hundred_checks_at_expiry_end_no_session,
    an_ended_session_is_not_renewed,
    a_spent_refresh_token_renews_nothing_and_ends_nothing,
    a_dead_bearer_token_is_not_replaced_by_the_refresh_cookie,
    a_renewed_token_dies_with_its_session,
    a_renewed_token_expires_with_the_session,
);

fn renewing(backend: Backend) -> Builder {
    backend.service().set("VERIFY_RENEW", "true")
}

fn with_refresh(service: &TestService, refresh: &str) -> Response {
    let cookies = format!("accessToken=old.and.over; refreshToken={refresh}");
    Request::new("GET", "/auth/verify").cookie_header(&cookies).send(service.address())
}

fn renewed(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(identity(answer)[0], "emily");
    let lines = answer.headers_named("set-cookie");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let cookie = &answer.set_cookies()[0];
    assert_eq!(cookie.name, "accessToken");
    assert_eq!(cookie.attributes, ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=900"]);
    cookie.value.clone()
}

fn a_check_renews_the_access_token_and_keeps_the_generation(backend: Backend) {
    let service = renewing(backend).start();
    let mut browser = register(&service, "emily");
    let first = Tokens::in_jar_of(&browser);
    for _ in 0..3 {
        service.advance(Duration::from_mins(20));
        assert!(!is_accepted(&service, &first.access));
        let access = renewed(&with_refresh(&service, &first.refresh));
        assert!(is_accepted(&service, &access));
        let (old, new) = (decode_jwt(&first.access).1, decode_jwt(&access).1);
        assert_eq!((&new["sid"], &new["gen"], &new["sub"]), (&old["sid"], &old["gen"], &old["sub"]));
        // With a live access token there is nothing to renew.
        let cookies = format!("accessToken={access}; refreshToken={}", first.refresh);
        let again = Request::new("GET", "/auth/verify").cookie_header(&cookies).send(service.address());
        assert_eq!((again.status, again.set_cookies().len()), (200, 0));
    }
    // The refresh token is not spent: it still gives the next generation.
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    assert_eq!(decode_jwt(&Tokens::in_jar_of(&browser).access).1["gen"], 1);
}

fn nothing_is_renewed_unless_the_setting_allows_it(backend: Backend) {
    let service = backend.service().start();
    let tokens = Tokens::in_jar_of(&register(&service, "emily"));
    let answer = with_refresh(&service, &tokens.refresh);
    assert_eq!((answer.status, answer.set_cookies().len()), (401, 0));
}

fn two_hundred_checks_at_expiry_end_no_session(backend: Backend) {
    let service = renewing(backend).start();
    let mut browser = register(&service, "emily");
    for _ in 0..3 {
        service.advance(Duration::from_mins(20));
        let session_tokens = Tokens::in_jar_of(&browser);
        let (to, refresh) = (service.address(), session_tokens.refresh.clone());
        let answers = race(40, move |number| {
            let send_request = |_| {
                let cookies = format!("accessToken={}; refreshToken={refresh}", session_tokens.access);
                let path = if number % 2 == 0 { "/auth/verify" } else { "/auth/forward" };
                Request::new("GET", path).cookie_header(&cookies).send(to)
            };
            (0..5).map(send_request).collect::<Vec<_>>()
        });
        let tokens: Vec<String> = answers.iter().flatten().map(renewed).collect();
        assert_eq!(tokens.len(), 200);
        assert!(tokens.iter().all(|access| is_accepted(&service, access)));
        // A refresh still works.
        assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    }
}

fn an_ended_session_is_not_renewed(backend: Backend) {
    let service = renewing(backend).start();
    let mut browser = register(&service, "emily");
    let tokens = Tokens::in_jar_of(&browser);
    browser.post_empty("/auth/logout");
    for refresh in [tokens.refresh.as_str(), "x", tokens.access.as_str(), "00000000-0000-4000-8000-000000000000"] {
        let answer = with_refresh(&service, refresh);
        assert_eq!((answer.status, answer.set_cookies().len()), (401, 0), "{}", answer.text());
    }
    let two = format!("refreshToken={}; refreshToken=x", tokens.refresh);
    assert_eq!(Request::new("GET", "/auth/verify").cookie_header(&two).send(service.address()).status, 401);
    let locked = Tokens::in_jar_of(&register(&service, "locked"));
    let account = service.core().find_account_by("locked").unwrap().id;
    service.core().set_status(account, doorward::core::AccountStatus::Locked).unwrap();
    assert_eq!(with_refresh(&service, &locked.refresh).status, 401);
}

fn a_spent_refresh_token_renews_nothing_and_ends_nothing(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("VERIFY_RENEW", "true").start();
    let recorded = || tables.number(&service, "SELECT count(*) FROM audit_events WHERE kind = 'spent_token_at_check'");
    let mut browser = register(&service, "emily");
    let parent = Tokens::in_jar_of(&browser);
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    // The successor has not been used: its holder may never have received it.
    let unshown = with_refresh(&service, &parent.refresh);
    assert_eq!((unshown.status, unshown.set_cookies().len(), recorded()), (401, 0, 0));
    assert_eq!(browser.get("/auth/verify").status, 200);
    let within_the_grace = with_refresh(&service, &parent.refresh);
    assert_eq!((within_the_grace.status, within_the_grace.set_cookies().len(), recorded()), (401, 0, 0));
    service.advance(SETTLED);
    let late = with_refresh(&service, &parent.refresh);
    assert_eq!((late.status, late.set_cookies().len(), recorded()), (401, 0, 1));
    let current = renewed(&with_refresh(&service, &Tokens::in_jar_of(&browser).refresh));
    assert_eq!(decode_jwt(&current).1["gen"], 1);
    assert_eq!(browser.post_empty("/auth/refresh").status, 200, "a request that waited in a proxy ends no session");
    assert_eq!(code(&refresh_with(&service, &parent.refresh)), "refresh_token_reused", "a refresh with it does");
}

fn a_dead_bearer_token_is_not_replaced_by_the_refresh_cookie(backend: Backend) {
    let service = renewing(backend).start();
    let dead = Tokens::in_jar_of(&register(&service, "otto")).access;
    service.advance(Duration::from_mins(16));
    let tokens = Tokens::in_jar_of(&register(&service, "emily"));
    let request = Request::new("GET", "/auth/verify").bearer(&dead);
    let answer = request.cookie_header(&format!("refreshToken={}", tokens.refresh)).send(service.address());
    assert_eq!((answer.status, answer.set_cookies().len()), (401, 0));
}

fn a_renewed_token_dies_with_its_session(backend: Backend) {
    let service = renewing(backend).start();
    let mut browser = register(&service, "emily");
    service.advance(Duration::from_hours(2));
    let access = renewed(&with_refresh(&service, &Tokens::in_jar_of(&browser).refresh));
    assert_eq!(browser.post_empty("/auth/logout").status, 200);
    // The revocation lasts as long as the token that was issued last.
    while service.core().now().seconds() < expiry_of(&access) {
        service.core().purge().unwrap();
        assert!(!is_accepted(&service, &access));
        service.advance(Duration::from_mins(5));
    }
}

fn a_renewed_token_expires_with_the_session(backend: Backend) {
    let service = renewing(backend).set("REFRESH_TTL", "1h").start();
    let tokens = Tokens::in_jar_of(&register(&service, "emily"));
    service.advance(Duration::from_mins(55));
    let answer = with_refresh(&service, &tokens.refresh);
    assert_eq!(answer.status, 200);
    service.advance(Duration::from_mins(6));
    assert_eq!(with_refresh(&service, &tokens.refresh).status, 401);
}
