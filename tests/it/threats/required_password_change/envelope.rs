//! Required password change in the envelope contract, whose answer has no room for new tokens: the old access token is
//! invalidated, and the refresh token that was kept gives the new ones.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::{NEW, OLD, entered, restricted, says_so, send_request};
use crate::support::http::{Request, Response};
use crate::support::{Backend, Tokens, decode_jwt, on_both_backends, race};

on_both_backends!(
    a_contract_without_tokens_in_the_answer_gets_them_by_a_refresh,
    a_change_concurrent_with_refreshes_leaves_no_restricted_token_alive,
);

fn change(address: SocketAddr, access: &str) -> Response {
    let body = json!({ "oldPassword": OLD, "newPassword": NEW }).to_string();
    Request::new("POST", "/envelope/auth/change-password").bearer(access).json(&body).send(address)
}

fn refresh(address: SocketAddr, refresh: &str) -> Response {
    let body = json!({ "refreshToken": refresh }).to_string();
    Request::new("POST", "/envelope/auth/refresh-token").json(&body).send(address)
}

fn data(answer: &Response) -> Tokens {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = |name: &str| answer.json()["data"][name].as_str().unwrap().to_owned();
    Tokens { access: token("accessToken"), refresh: token("refreshToken") }
}

fn a_contract_without_tokens_in_the_answer_gets_them_by_a_refresh(backend: Backend) {
    let service = restricted(backend.service());
    let session_tokens = entered(&service, "/envelope");
    let changed = change(service.address(), &session_tokens.access);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(
        send_request(&service, &session_tokens.access, "/envelope/auth/me").status,
        401,
        "as an expired one: time to refresh"
    );
    // Long after as well, since the token was not used otherwise.
    service.advance(Duration::from_hours(2));
    let next = data(&refresh(service.address(), &session_tokens.refresh));
    assert!(!says_so(&next.access));
    assert_eq!(send_request(&service, &next.access, "/envelope/auth/me").status, 200);
    // The kept token is then spent, as by any refresh.
    service.advance(Duration::from_secs(31));
    assert_eq!(refresh(service.address(), &session_tokens.refresh).status, 401);
    assert_eq!(send_request(&service, &next.access, "/envelope/auth/me").status, 401);
}

fn a_change_concurrent_with_refreshes_leaves_no_restricted_token_alive(backend: Backend) {
    let mut compared = 0;
    for _ in 0..20 {
        if compared == 2 {
            break;
        }
        let service = restricted(backend.service());
        let (session_tokens, to) = (entered(&service, "/envelope"), service.address());
        let shared = session_tokens.clone();
        let answers = race(4, move |number| match number {
            0 => change(to, &shared.access),
            _ => refresh(to, &shared.refresh),
        });
        assert!([200, 401].contains(&answers[0].status), "{}", answers[0].text());
        if answers[0].status == 401 {
            // A refresh was first, and its tokens replaced those of the change.
            continue;
        }
        compared += 1;
        let refreshed: Vec<Tokens> = answers[1..].iter().filter(|answer| answer.status == 200).map(data).collect();
        for tokens in &refreshed {
            assert_ne!(
                send_request(&service, &tokens.access, "/envelope/auth/me").status,
                403,
                "only a dead one may say so"
            );
        }
        let generation = |tokens: &&Tokens| decode_jwt(&tokens.access).1["gen"].as_i64();
        let last = refreshed.iter().max_by_key(generation).unwrap_or(&session_tokens);
        let next = data(&refresh(to, &last.refresh));
        assert_eq!(send_request(&service, &next.access, "/envelope/auth/me").status, 200);
    }
    assert!(compared > 0, "the change never came first");
}
