//! `/auth/verify`: a status and every identity header, for any method.

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use super::{add_account, check, identity};
use crate::multi_node::beside;
use crate::support::http::{Browser, Request};
use crate::support::process::until;
use crate::support::{
    Backend, Tokens, assert_refused, code, decode_jwt, on_both_backends, post, register, registered, sign_in,
};

on_both_backends!(
    a_live_token_is_answered_with_every_identity_header,
    a_name_of_any_script_fits_a_header,
    every_method_is_answered_alike_and_origin_is_not_checked,
    required_role_and_permissions_are_enforced,
    a_check_answers_200_401_403_or_503_and_nothing_else,
    ending_a_session_denies_its_next_check,
    a_profile_change_shows_at_the_next_check_on_every_node,
    an_underscore_header_spoofs_no_identity,
    header_names_are_settings,
    the_endpoint_is_at_the_root_and_under_the_native_prefix,
);

fn a_live_token_is_answered_with_every_identity_header(backend: Backend) {
    let service = backend.service().start();
    let person =
        json!({ "username": "Emily", "email": "emily@example.com", "firstName": "Emily", "lastName": "Johnson" });
    let registered = registered(&service, person);
    let tokens = Tokens { access: registered.set_cookies()[0].value.clone(), refresh: String::new() };
    let session = decode_jwt(&tokens.access).1["sid"].as_str().unwrap().to_owned();
    let expected = ["Emily", "1", "emily@example.com", "Emily Johnson", "USER", "", &session, ""];
    let by_cookie = check(&service, "/auth/verify", &tokens.access);
    let by_header = Request::new("GET", "/auth/verify").bearer(&tokens.access).send(service.address());
    for answer in [by_cookie, by_header] {
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
        assert_eq!(identity(&answer), expected);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.set_cookies().is_empty());
    }
    let nobody = Request::new("GET", "/auth/verify").send(service.address());
    assert_refused(&nobody, 401, "token_missing");
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"doorward\""));
    assert!(super::IDENTITY.iter().all(|name| nobody.header(name).is_none()));
}

fn a_name_of_any_script_fits_a_header(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    browser.patch("/auth/me", &json!({ "firstName": "José", "lastName": "100%" }).to_string());
    let answer = browser.get("/auth/verify");
    assert_eq!(answer.header("remote-name"), Some("Jos%C3%A9 100%25"));
}

fn every_method_is_answered_alike_and_origin_is_not_checked(backend: Backend) {
    let service = backend.service().start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        for path in ["/auth/verify", "/auth/forward"] {
            let request = Request::new(method, path).header("Origin", "https://evil.example");
            let request = request.header("Sec-Fetch-Site", "cross-site").body(Some("text/plain"), "x".repeat(40_000));
            let allowed = request.clone().cookie_header(&format!("accessToken={access}")).send(service.address());
            assert_eq!((allowed.status, identity(&allowed)[0].as_str()), (200, "emily"), "{method} {path}");
            assert_eq!(request.send(service.address()).status, 401, "{method} {path}");
        }
    }
}

fn required_role_and_permissions_are_enforced(backend: Backend) {
    let service = backend.service().start();
    add_account(&service, "editor", "EDITOR", &["reports:read", "a,b"]);
    let access = Tokens::in_jar_of(&sign_in(&service, "editor")).access;
    for (query, status) in [
        ("role=EDITOR", 200),
        ("role=ADMIN", 403),
        ("role=editor", 403),
        ("role=ADMIN&role=EDITOR", 200),
        ("permission=reports:read", 200),
        ("permission=reports%3Aread&permission=a%2Cb", 200),
        ("permission=reports:read&permission=reports:write", 403),
        ("role=EDITOR&permission=reports:write", 403),
        ("role=", 403),
        ("rol=EDITOR", 403),
        ("Role=EDITOR", 403),
        ("assertion=maybe", 403),
        ("role=EDITOR&original=/a?role=ADMIN&x=y", 200),
    ] {
        let answer = check(&service, &format!("/auth/verify?{query}"), &access);
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
    let refused = check(&service, "/auth/verify?role=ADMIN", &access);
    assert_refused(&refused, 403, "permission_denied");
    assert!(refused.header("www-authenticate").is_some_and(|line| line.contains("insufficient_scope")));
    assert_eq!(check(&service, "/auth/verify", &access).header("remote-permissions"), Some("reports:read,a%2Cb"));
    assert_refused(&Request::new("GET", "/auth/verify?role=ADMIN").send(service.address()), 401, "token_missing");
}

fn a_check_answers_200_401_403_or_503_and_nothing_else(backend: Backend) {
    let service = backend.service().start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let cookie = format!("accessToken={access}");
    let get = || Request::new("GET", "/auth/verify");
    let long = format!("{cookie}; x={}", "y".repeat(20_000));
    for (what, request) in [
        ("two cookies that differ", get().cookie_header(&format!("{cookie}; accessToken=x"))),
        ("two lines that differ", get().cookie_header(&cookie).cookie_header("accessToken=x")),
        ("a bad header beside a good cookie", get().cookie_header(&cookie).bearer("x")),
        ("junk in the header", get().cookie_header(&cookie).header("Authorization", "Bearer a b")),
        ("two headers", get().bearer(&access).bearer(&access)),
        ("another scheme", get().header("Authorization", "Basic eDp5")),
        ("a refresh token as access token", get().cookie_header("accessToken=eyJhbGciOiJIUzI1NiJ9.e30.x")),
        ("cookies over 8 KiB", get().cookie_header(&long)),
        ("bytes that are no text", get().raw_header(b"Cookie", b"accessToken=\xff\xfe")),
    ] {
        let answer = request.send(service.address());
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(super::IDENTITY.iter().all(|name| answer.header(name).is_none()), "{what}");
        code(&answer);
    }
    // A malformed foreign cookie does not affect ours.
    let neighbour = get().raw_header(b"Cookie", format!("x=\u{0}; {cookie}").replace('\u{0}', "%zz").as_bytes());
    assert_eq!(neighbour.send(service.address()).status, 200);
}

fn ending_a_session_denies_its_next_check(backend: Backend) {
    let service = backend.service().start();
    let believed = |tokens: &Tokens| check(&service, "/auth/verify", &tokens.access).status;
    let mut browser = register(&service, "emily");
    let tokens = Tokens::in_jar_of(&browser);
    assert_eq!(believed(&tokens), 200);
    browser.post_empty("/auth/logout");
    assert_eq!(believed(&tokens), 401);
    let tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
    assert_eq!(believed(&tokens), 200);
    service.core().set_role(service.core().find_account_by("emily").unwrap().id, "ADMIN").unwrap();
    assert_eq!(believed(&tokens), 401);
    let browser = sign_in(&service, "emily");
    let tokens = Tokens::in_jar_of(&browser);
    assert_eq!(check(&service, "/auth/verify", &tokens.access).header("remote-role"), Some("ADMIN"));
    service.advance(Duration::from_mins(16));
    assert_refused(&check(&service, "/auth/verify", &tokens.access), 401, "token_expired");
}

fn a_profile_change_shows_at_the_next_check_on_every_node(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let first = builder.start();
    let second = beside(&first, &tables).start();
    let mut browser = register(&first, "emily");
    let access = Tokens::in_jar_of(&browser).access;
    let name = |node: &TestService| {
        let check = Request::new("GET", "/auth/verify").cookie_header(&format!("accessToken={access}"));
        let answer = check.send(node.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("remote-name").map(ToOwned::to_owned)
    };
    assert_eq!((name(&first).as_deref(), name(&second).as_deref()), (Some(""), Some("")));
    for new in ["Ada", "Grace"] {
        let changed = browser.patch("/auth/me", &json!({ "name": new }).to_string());
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert_eq!(name(&first).as_deref(), Some(new), "this node, before it answered");
        until(Duration::from_secs(30), "the other node to hear of it", || {
            (name(&second).as_deref() == Some(new)).then_some(())
        });
    }
    assert_eq!(browser.get("/auth/me").status, 200, "the session is live");
}

fn an_underscore_header_spoofs_no_identity(backend: Backend) {
    let service = backend.service().start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    for name in ["Remote_User", "remote_role", "REMOTE_PERMISSIONS", "X_Forwarded_Host", "X-Forwarded_Uri"] {
        let request = Request::new("GET", "/auth/verify").bearer(&access).header(name, "admin");
        let answer = request.send(service.address());
        assert_eq!((answer.status, code(&answer).as_str()), (403, "invalid_forwarded_headers"), "{name}");
    }
    let other = Request::new("GET", "/auth/verify").bearer(&access).header("X_Other", "1");
    assert_eq!(other.send(service.address()).status, 200);
}

fn header_names_are_settings(backend: Backend) {
    let builder = backend.service().set("REMOTE_USER_HEADER", "X-Who").set("REMOTE_ROLE_HEADER", "x-what");
    let service = builder.start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let answer = check(&service, "/auth/verify", &access);
    assert_eq!((answer.header("x-who"), answer.header("x-what")), (Some("emily"), Some("USER")));
    assert_eq!((answer.header("remote-user"), answer.header("remote-role")), (None, None));
    for (name, value, message) in [
        ("REMOTE_USER_HEADER", "X_Who", "is not a valid identity header"),
        ("REMOTE_USER_HEADER", "Remote-Id", "is used twice"),
        ("REMOTE_USER_HEADER", "Set-Cookie", "is not a valid identity header"),
        ("REMOTE_USER_HEADER", "X-Forwarded-User", "is not a valid identity header"),
        ("FORWARDED_HEADERS", "forwarded", "use x-forwarded, x-original or envoy"),
    ] {
        let refused = TestService::builder().set(name, value).try_start().err().unwrap().to_string();
        assert!(refused.contains(message), "{name}={value}: {refused}");
    }
}

fn the_endpoint_is_at_the_root_and_under_the_native_prefix(backend: Backend) {
    let service = backend.service().set("DIALECTS", "native=/api,pin=/").start();
    let body = json!({ "username": "emily", "password": crate::support::PASSWORD });
    let mut browser = Browser::new(service.address());
    assert_eq!(browser.post("/api/auth/register", &body.to_string()).status, 201);
    assert_eq!(browser.get("/auth/verify").status, 200);
    assert_eq!(browser.get("/api/auth/verify").status, 200);
    assert_eq!(browser.get("/api/auth/forward").status, 200);
    assert_eq!(post(&service, "/api/auth/verify", &json!({})).status, 401);
}
