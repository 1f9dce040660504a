//! Sessions: reading begins none, and a database outage neither loses nor revives one.

use doorward::testing::TestService;
use serde_json::json;

use super::{CHECKS, cookies_of, emily, state};
use crate::mounts::Away;
use crate::support::http::Request;
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, Tokens, decode_jwt, is_accepted, on_both_backends, refresh_with};

on_both_backends!(
    reading_begins_no_session_and_changes_none,
    a_refresh_that_cannot_be_written_spends_no_token,
    a_sign_out_that_cannot_be_written_is_reported_and_keeps_the_cookies,
    tokens_have_enough_entropy,
);

fn reading_begins_no_session_and_changes_none(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.demo().start();
    let browser = emily(&service);
    let (cookies, before) = (cookies_of(&browser), state(&service, &tables));
    let paths = CHECKS.iter().copied().chain(["/", "/healthz", "/readyz", "/nowhere", "/flat", "/pin/auth"]);
    for path in paths {
        for method in ["GET", "HEAD", "OPTIONS"] {
            for request in [
                Request::new(method, path),
                Request::new(method, path).cookie_header(&cookies),
                Request::new(method, path).bearer(&browser.cookie("accessToken").unwrap()),
                Request::new(method, path).cookie_header("accessToken=x; refreshToken=y"),
            ] {
                let answer = request.send(service.address());
                assert!(answer.headers_named("Set-Cookie").is_empty(), "{method} {path}: {:?}", answer.headers);
            }
        }
    }
    assert_eq!(state(&service, &tables), before);
}

/// Terminated connections are re-established in time.
fn wait_until_it_answers(service: &TestService, session_tokens: &Tokens) {
    until(PATIENCE, "the database", || {
        let answer = Request::new("GET", "/auth/me").bearer(&session_tokens.access).send(service.address());
        let ready = Request::new("GET", "/readyz").send(service.address());
        (answer.status != 503 && ready.status == 200).then_some(())
    });
}

fn a_refresh_that_cannot_be_written_spends_no_token(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("DATABASE_TIMEOUT", "2s").demo().start();
    let session_tokens = Tokens::in_jar_of(&emily(&service));
    let away = Away::take(&tables, service.folder());
    let refused = refresh_with(&service, &session_tokens.refresh);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    assert!(refused.headers_named("Set-Cookie").is_empty());
    away.give_back();
    wait_until_it_answers(&service, &session_tokens);
    let renewed = session_tokens.assert_valid(&service);
    assert_eq!(
        decode_jwt(&renewed.refresh).1["gen"],
        json!(decode_jwt(&session_tokens.refresh).1["gen"].as_i64().unwrap() + 1)
    );
}

fn a_sign_out_that_cannot_be_written_is_reported_and_keeps_the_cookies(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("DATABASE_TIMEOUT", "2s").demo().start();
    let mut browser = emily(&service);
    let session_tokens = Tokens::in_jar_of(&browser);
    let away = Away::take(&tables, service.folder());
    for path in ["/auth/logout", "/auth/logout-all"] {
        let refused = browser.post_empty(path);
        assert_eq!(refused.status, 503, "{path}: {}", refused.text());
        assert!(refused.header("retry-after").is_some() && refused.headers_named("Set-Cookie").is_empty());
    }
    away.give_back();
    wait_until_it_answers(&service, &session_tokens);
    assert!(is_accepted(&service, &session_tokens.access), "what was not acknowledged has not happened");
    assert_eq!(browser.post_empty("/auth/logout").status, 200);
    session_tokens.assert_invalid(&service);
}

fn tokens_have_enough_entropy(backend: Backend) {
    let service = backend.service().demo().start();
    let session_tokens = Tokens::in_jar_of(&emily(&service));
    for token in [&session_tokens.access, &session_tokens.refresh] {
        let signature = token.rsplit('.').next().unwrap();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
        assert_eq!(bytes.len(), 32, "256 bits");
    }
    // The contract's UUID has 122 bits; they are derived, and only digests are stored.
    let body = json!({ "email": "emily.johnson@x.dummyjson.com", "password": "emilyspass" }).to_string();
    let answer = Request::new("POST", "/envelope/auth/login").json(&body).send(service.address());
    let opaque = answer.json()["data"]["refreshToken"].as_str().map(ToOwned::to_owned);
    let opaque = opaque.unwrap_or_else(|| panic!("{}", answer.text()));
    let shape = opaque.split('-').map(str::len).collect::<Vec<_>>();
    assert_eq!(shape, [8, 4, 4, 4, 12], "{opaque}");
}
