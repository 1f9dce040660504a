//! `/auth/verify`: a status and every identity header, for any method.

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::json;

use super::fast_path::{assert_same, by_cookie, on_a_kept_connection};
use super::{ODD_OCTETS, add_account, check, identity};
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
    an_imitated_header_name_is_refused,
    a_header_that_is_no_token_of_ours_leaves_the_decision_to_the_cookie,
    a_dead_token_of_ours_in_the_header_is_refused,
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
    let account = service.core().find_account_by("emily").unwrap();
    service.core().set_email_verified(&account, true).unwrap();
    let id = account.uuid.to_string();
    let expected = ["Emily", &id, "emily@example.com", "Emily Johnson", "USER", "", &session, ""];
    let by_cookie = check(&service, "/auth/verify", &tokens.access);
    let by_header = Request::new("GET", "/auth/verify").bearer(&tokens.access).send(service.address());
    for answer in [by_cookie, by_header] {
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
        assert_eq!(identity(&answer), expected);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.set_cookies().is_empty());
    }
    let anonymous = Request::new("GET", "/auth/verify").send(service.address());
    assert_refused(&anonymous, 401, "token_missing");
    assert_eq!(anonymous.header("www-authenticate"), Some("Bearer realm=\"doorward\""));
    assert!(super::IDENTITY.iter().all(|name| anonymous.header(name).is_none()));
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
        (
            "a token of ours in another scheme",
            get().cookie_header(&cookie).header("Authorization", format!("T {access}")),
        ),
        ("two headers", get().bearer(&access).bearer(&access)),
        ("two headers of others", get().cookie_header(&cookie).bearer("x").bearer("y")),
        ("another scheme", get().header("Authorization", "Basic eDp5")),
        ("another's token", get().bearer("x")),
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

fn a_header_that_is_no_token_of_ours_leaves_the_decision_to_the_cookie(backend: Backend) {
    let service = backend.service().set("VERIFY_RENEW", "true").start();
    let (browser, other) = (register(&service, "emily"), backend.service().start());
    let tokens = Tokens::in_jar_of(&browser);
    let elsewhere = Tokens::in_jar_of(&register(&other, "emily")).access;
    let (head, tail) = tokens.access.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", tail.chars().rev().collect::<String>());
    for header in [
        "Basic eDp5".to_owned(),
        format!("Bearer {elsewhere}"),
        format!("Bearer {forged}"),
        format!("Bearer {}", "x".repeat(8000)),
        "Bearer a b".to_owned(),
        "Digest a=b, c=d".to_owned(),
        "Bearer".to_owned(),
        String::new(),
    ] {
        let with = |request: Request| request.header("Authorization", &header).send(service.address());
        let answer = with(by_cookie("/auth/verify", &tokens.access));
        assert_eq!((answer.status, identity(&answer)[0].as_str()), (200, "emily"), "{header}");
        let renewed =
            with(Request::new("GET", "/auth/verify").cookie_header(&format!("refreshToken={}", tokens.refresh)));
        assert_eq!((renewed.status, renewed.set_cookies().len()), (200, 1), "{header}");
        assert_refused(&with(Request::new("GET", "/auth/verify")), 401, "token_missing");
    }
}

fn a_dead_token_of_ours_in_the_header_is_refused(backend: Backend) {
    for algorithm in ["hs256", "es256"] {
        let service = backend.service().set("TOKEN_ALGORITHM", algorithm).set("VERIFY_RENEW", "true").start();
        let mut ended = register(&service, "otto");
        let revoked = Tokens::in_jar_of(&ended);
        ended.post_empty("/auth/logout");
        let expired = Tokens::in_jar_of(&register(&service, "anna"));
        service.advance(Duration::from_mins(16));
        let live = Tokens::in_jar_of(&register(&service, "emily"));
        let cookie = format!("accessToken={}; refreshToken={}", live.access, live.refresh);
        for (token, expected) in [
            (&revoked.access, "token_expired"),
            (&expired.access, "token_expired"),
            (&live.refresh, "token_invalid"),
            (&expired.refresh, "token_invalid"),
        ] {
            let request = Request::new("GET", "/auth/verify").cookie_header(&cookie).bearer(token);
            assert_refused(&request.send(service.address()), 401, expected);
        }
        let mut ended = sign_in(&service, "emily");
        let revoked = Tokens::in_jar_of(&ended);
        ended.post_empty("/auth/logout");
        let request = Request::new("GET", "/auth/verify").cookie_header(&cookie).bearer(&revoked.access);
        assert_refused(&request.send(service.address()), 401, "session_ended");
        let good = Request::new("GET", "/auth/verify").cookie_header(&cookie).send(service.address());
        assert_eq!(good.status, 200, "the cookie alone");
    }
}

fn ending_a_session_denies_its_next_check(backend: Backend) {
    let service = backend.service().start();
    let status_of_check = |tokens: &Tokens| check(&service, "/auth/verify", &tokens.access).status;
    let mut browser = register(&service, "emily");
    let tokens = Tokens::in_jar_of(&browser);
    assert_eq!(status_of_check(&tokens), 200);
    browser.post_empty("/auth/logout");
    assert_eq!(status_of_check(&tokens), 401);
    let tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
    assert_eq!(status_of_check(&tokens), 200);
    service.core().set_role(service.core().find_account_by("emily").unwrap().id, "ADMIN").unwrap();
    assert_eq!(status_of_check(&tokens), 401);
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

fn an_imitated_header_name_is_refused(backend: Backend) {
    let service = backend.service().set("REMOTE_USER_HEADER", "X-Who").start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let check = |path: &str, name: &str| {
        let request = by_cookie(path, &access).header(name, "admin");
        let answer = request.send(service.address());
        assert_same(&on_a_kept_connection(&service, request), &answer);
        answer
    };
    for odd in ODD_OCTETS.chars() {
        for name in [
            "X-Who",
            "Remote-Role",
            "REMOTE-PERMISSIONS",
            "x-forwarded-host",
            "X-Forwarded-User",
            "X-Forwarded",
            "X-Real-IP",
            "X-Rewrite-URL",
        ] {
            let name = name.replace('-', &odd.to_string());
            for path in ["/auth/verify", "/auth/forward"] {
                let answer = check(path, &name);
                assert_eq!((answer.status, code(&answer).as_str()), (403, "invalid_forwarded_headers"), "{name}");
            }
        }
        for name in ["X-Other", "Remote-Users", "Forwarded-X", "X-Whom", "X-Forwarder", "X-Rewrite-URLs"] {
            let name = name.replace('-', &odd.to_string());
            assert_eq!(check("/auth/verify", &name).status, 200, "{name}");
        }
    }
    for name in ["X-Forwarded_Uri", "x_forwarded-uri", "X-Forwarded.Client-Cert"] {
        assert_eq!(check("/auth/verify", name).status, 403, "{name}");
    }
    // As a proxy writes them, that overwrites the client's.
    for name in
        ["X-Who", "x-who", "Remote-Role", "X-Forwarded-User", "X-Forwarded", "X-Forwarded-Client-Cert", "X-Rewrite-URL"]
    {
        assert_eq!(check("/auth/verify", name).status, 200, "{name}");
    }
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
