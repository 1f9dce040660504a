//! Sign-out: once a logout is answered, every token of the session is refused, in whatever state they are and however
//! often it is repeated.

mod spent_tokens;

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Browser, Request, Response};
use crate::support::{
    Backend, PASSWORD, Tokens, code, is_accepted, on_both_backends, race, refresh_with, register, sign_in,
};

on_both_backends!(
    no_token_works_after_the_logout,
    a_logout_works_with_an_expired_access_token,
    a_logout_may_be_repeated,
    a_refresh_token_alone_signs_out,
    a_client_without_cookies_signs_out,
    a_logout_everywhere_ends_every_session,
    a_token_of_an_ended_session_ends_no_later_one,
    forged_tokens_end_no_session,
    a_logout_ends_the_refresh_grace,
    a_logout_wins_over_concurrent_refreshes,
    a_logout_everywhere_wins_over_concurrent_refreshes,
    a_session_is_ended_from_another_device,
    another_accounts_session_cannot_be_ended,
    ending_the_own_session_clears_the_cookies,
);

fn assert_invalid(service: &TestService, tokens: &Tokens) {
    assert!(!is_accepted(service, &tokens.access));
    let refused = refresh_with(service, &tokens.refresh);
    assert_eq!((refused.status, code(&refused).as_str()), (401, "session_ended"));
}

fn assert_signed_out(answer: &Response) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cleared: Vec<String> = answer.set_cookies().iter().filter(|c| c.is_cleared()).map(|c| c.name.clone()).collect();
    assert_eq!(cleared, ["accessToken", "refreshToken"]);
}

/// Signs in from another browser; its tokens.
fn tokens_of(service: &TestService, username: &str) -> Tokens {
    Tokens::in_jar_of(&sign_in(service, username))
}

/// A request with both cookies.
fn post_with(path: &str, tokens: &Tokens) -> Request {
    let cookies = format!("accessToken={}; refreshToken={}", tokens.access, tokens.refresh);
    Request::new("POST", path).cookie_header(&cookies)
}

/// The ids of an account's sessions, the current one first.
fn sessions(browser: &mut Browser) -> Vec<String> {
    let list = browser.get("/auth/sessions").json();
    let mut list = list["sessions"].as_array().unwrap().clone();
    list.sort_by_key(|session| !session["current"].as_bool().unwrap());
    list.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

fn no_token_works_after_the_logout(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let other = tokens_of(&service, "emily");
    let dead = Tokens::in_jar_of(&browser);
    let answer = browser.post_empty("/auth/logout");
    assert_signed_out(&answer);
    assert_eq!(answer.json()["message"], "Logout successful");
    assert_invalid(&service, &dead);
    other.assert_valid(&service);
}

fn a_logout_works_with_an_expired_access_token(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    for path in ["/auth/logout", "/auth/logout-all"] {
        let mut browser = sign_in(&service, "emily");
        let dead = Tokens::in_jar_of(&browser);
        service.advance(Duration::from_hours(1));
        assert_eq!(browser.get("/auth/me").status, 401);
        assert_signed_out(&browser.post_empty(path));
        assert_invalid(&service, &dead);
    }
}

fn a_logout_may_be_repeated(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let tokens = Tokens::in_jar_of(&browser);
    for _ in 0..3 {
        assert_signed_out(&post_with("/auth/logout", &tokens).send(service.address()));
    }
    browser.forget();
    assert_signed_out(&browser.post_empty("/auth/logout"));
    service.advance(Duration::from_hours(1));
    assert_signed_out(&post_with("/auth/logout", &tokens).send(service.address()));
    assert_invalid(&service, &tokens);
}

fn a_refresh_token_alone_signs_out(backend: Backend) {
    let service = backend.service().start();
    let tokens = Tokens::in_jar_of(&register(&service, "emily"));
    let by_cookie = Request::new("POST", "/auth/logout").cookie_header(&format!("refreshToken={}", tokens.refresh));
    assert_signed_out(&by_cookie.send(service.address()));
    assert_invalid(&service, &tokens);
    // The tab that was closed before the answer arrived still holds the parent.
    let parent = tokens_of(&service, "emily");
    let child = Tokens::set_by(&refresh_with(&service, &parent.refresh));
    let by_parent = Request::new("POST", "/auth/logout").cookie_header(&format!("refreshToken={}", parent.refresh));
    assert_signed_out(&by_parent.send(service.address()));
    assert_invalid(&service, &child);
}

fn a_client_without_cookies_signs_out(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let by_bearer = tokens_of(&service, "emily");
    let answer = Request::new("POST", "/auth/logout").bearer(&by_bearer.access).send(service.address());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_invalid(&service, &by_bearer);
    let by_body = tokens_of(&service, "emily");
    let body = json!({ "refreshToken": by_body.refresh }).to_string();
    let answer = Request::new("POST", "/auth/logout").json(&body).send(service.address());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_invalid(&service, &by_body);
}

fn a_logout_everywhere_ends_every_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let mut all = vec![Tokens::in_jar_of(&browser)];
    all.extend((0..3).map(|_| tokens_of(&service, "emily")));
    let parent = tokens_of(&service, "emily");
    all.push(Tokens::set_by(&refresh_with(&service, &parent.refresh)));
    all.push(parent);
    let stranger = Tokens::in_jar_of(&register(&service, "bob"));
    assert_signed_out(&browser.post_empty("/auth/logout-all"));
    for tokens in &all {
        assert_invalid(&service, tokens);
    }
    stranger.assert_valid(&service);
    for _ in 0..2 {
        assert_signed_out(&post_with("/auth/logout-all", &all[0]).send(service.address()));
    }
    tokens_of(&service, "emily").assert_valid(&service);
}

fn a_token_of_an_ended_session_ends_no_later_one(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    for end in ["/auth/logout-all", "/auth/logout"] {
        let mut browser = sign_in(&service, "emily");
        let dead = Tokens::in_jar_of(&browser);
        assert_signed_out(&browser.post_empty(end));
        let later = tokens_of(&service, "emily");
        post_with("/auth/logout-all", &dead).send(service.address());
        post_with("/auth/logout", &dead).send(service.address());
        later.assert_valid(&service);
    }
}

fn forged_tokens_end_no_session(backend: Backend) {
    let service = backend.service().start();
    let live = Tokens::in_jar_of(&register(&service, "emily"));
    // The same session and account ids, signed with another service's key.
    let foreign = Tokens::in_jar_of(&register(&TestService::start(), "emily"));
    let rubbish = Tokens { access: "a.b.c".to_owned(), refresh: "rubbish".to_owned() };
    let swapped = Tokens { access: live.refresh.clone(), refresh: live.access.clone() };
    for forged in [foreign, rubbish, swapped] {
        for path in ["/auth/logout", "/auth/logout-all"] {
            let refused = post_with(path, &forged).send(service.address());
            assert_eq!(refused.status, 401, "{path}: {}", refused.text());
            assert!(refused.set_cookies().is_empty(), "nothing is cleared");
        }
    }
    live.assert_valid(&service);
}

fn a_logout_ends_the_refresh_grace(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    for (path, child_in_use) in
        [("/auth/logout", false), ("/auth/logout", true), ("/auth/logout-all", false), ("/auth/logout-all", true)]
    {
        let parent = tokens_of(&service, "emily");
        let child = Tokens::set_by(&refresh_with(&service, &parent.refresh));
        if child_in_use {
            assert!(is_accepted(&service, &child.access));
        }
        assert_signed_out(&post_with(path, &child).send(service.address()));
        assert_invalid(&service, &parent);
        assert_invalid(&service, &child);
    }
}

/// Ends that many sessions, each concurrently with three refreshes of it; whatever those received must be refused.
fn race_refreshes_against(backend: Backend, path: &'static str, rounds: usize) {
    let service = backend.service().start();
    register(&service, "emily");
    let mut won = 0;
    for round in 0..rounds {
        let tokens = tokens_of(&service, "emily");
        let (address, raced) = (service.address(), tokens.clone());
        let answers = race(4, move |number| {
            let path = if number == 0 { path } else { "/auth/refresh" };
            post_with(path, &raced).send(address)
        });
        assert_signed_out(&answers[0]);
        assert_invalid(&service, &tokens);
        for refresh in &answers[1..] {
            assert!([200, 401].contains(&refresh.status), "round {round}: {}", refresh.text());
            if refresh.status == 200 {
                won += 1;
                assert_invalid(&service, &Tokens::set_by(refresh));
            }
        }
    }
    assert!(won > 0, "no refresh ever came before the logout: this raced nothing");
}

fn a_logout_wins_over_concurrent_refreshes(backend: Backend) {
    race_refreshes_against(backend, "/auth/logout", 200);
}

fn a_logout_everywhere_wins_over_concurrent_refreshes(backend: Backend) {
    race_refreshes_against(backend, "/auth/logout-all", 100);
}

fn a_session_is_ended_from_another_device(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let lost = tokens_of(&service, "emily");
    let [_, lost_id] = <[String; 2]>::try_from(sessions(&mut browser)).unwrap();
    let answer = browser.delete(&format!("/auth/sessions/{lost_id}"));
    assert!([200, 204].contains(&answer.status), "{}", answer.text());
    assert!(answer.set_cookies().is_empty(), "the own cookies stay");
    assert_invalid(&service, &lost);
    assert_eq!(sessions(&mut browser).len(), 1);
    let again = browser.delete(&format!("/auth/sessions/{lost_id}"));
    assert!([200, 204, 404].contains(&again.status), "{}", again.text());
    Tokens::in_jar_of(&browser).assert_valid(&service);
}

fn another_accounts_session_cannot_be_ended(backend: Backend) {
    let service = backend.service().start();
    let mut emily = register(&service, "emily");
    let mut bob = register(&service, "bob");
    let foreign = sessions(&mut bob).remove(0);
    let mut shifted = foreign.clone().into_bytes();
    shifted[35] = if shifted[35] == b'0' { b'1' } else { b'0' };
    let unknown = String::from_utf8(shifted).unwrap();
    for id in [foreign.as_str(), &unknown, "00000000-0000-0000-0000-000000000000", "1", "current", "x%00y"] {
        let refused = emily.delete(&format!("/auth/sessions/{id}"));
        assert_eq!((refused.status, code(&refused).as_str()), (404, "session_not_found"), "{id}");
    }
    let unasked = Request::new("DELETE", &format!("/auth/sessions/{foreign}")).send(service.address());
    assert_eq!(unasked.status, 401);
    Tokens::in_jar_of(&bob).assert_valid(&service);
    Tokens::in_jar_of(&emily).assert_valid(&service);
}

fn ending_the_own_session_clears_the_cookies(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let other = tokens_of(&service, "emily");
    let own = Tokens::in_jar_of(&browser);
    let id = sessions(&mut browser).remove(0);
    assert_signed_out(&browser.delete(&format!("/auth/sessions/{id}")));
    assert_invalid(&service, &own);
    other.assert_valid(&service);
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    assert_eq!(browser.post("/auth/login", &body).status, 200, "and may sign in again");
}
