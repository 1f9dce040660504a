//! Forged tokens: every token that this service did not issue is refused in the same way, by header, by cookie and at
//! refresh, and none harms the session that it names. The tests know the signing key, so that each forgery fails for
//! exactly one reason.

mod forge;

use std::net::TcpListener;

use doorward::testing::{Builder, TestService};
use serde_json::json;

use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, code, on_both_backends, print_figure, refresh_with, register};
use forge::{Forge, KEY, OTHER_KEY, forgeries, signed};

on_both_backends!(
    no_forged_access_token_is_accepted,
    no_forged_refresh_token_is_accepted,
    no_key_is_fetched_from_a_url_in_a_token,
    the_forge_is_accepted_when_it_changes_nothing,
    access_and_refresh_tokens_are_not_interchangeable,
    an_access_token_with_out_of_range_numbers_is_refused,
    a_refresh_token_with_out_of_range_numbers_is_refused,
    a_clock_ahead_is_tolerated_up_to_the_skew,
    a_token_of_another_service_is_refused,
    every_protected_route_says_what_is_wrong_with_the_token,
    a_bearer_header_has_one_scheme_and_one_token,
    a_cookie_contains_a_token_verbatim,
    a_token_contains_no_personal_data,
);

const NO_CREDENTIALS: &str = r#"Bearer realm="doorward""#;
const INVALID_TOKEN: &str = r#"Bearer realm="doorward", error="invalid_token""#;
const INVALID_REQUEST: &str = r#"Bearer realm="doorward", error="invalid_request""#;

fn start(backend: Backend) -> TestService {
    service(backend).start()
}

fn service(backend: Backend) -> Builder {
    backend.service().set("JWT_SECRET", KEY)
}

/// Access and refresh token of a new account.
fn genuine(service: &TestService, username: &str) -> (String, String) {
    let browser = register(service, username);
    (browser.cookie("accessToken").unwrap(), browser.cookie("refreshToken").unwrap())
}

fn me_with(service: &TestService, access: &str) -> [Response; 2] {
    let by_header = Request::new("GET", "/auth/me").bearer(access);
    let by_cookie = Request::new("GET", "/auth/me").cookie_header(&format!("accessToken={access}"));
    [by_header, by_cookie].map(|request| request.send(service.address()))
}

fn refreshed_with(service: &TestService, refresh: &str) -> [Response; 2] {
    let in_body = Request::new("POST", "/auth/refresh").json(&json!({ "refreshToken": refresh }).to_string());
    [refresh_with(service, refresh), in_body.send(service.address())]
}

/// The faults in the refusals; empty if all are right.
fn faults(name: &str, answers: [Response; 2]) -> Vec<String> {
    let refused = |answer: &Response| {
        let challenge = answer.header("WWW-Authenticate") == Some(INVALID_TOKEN);
        answer.status == 401 && challenge && code(answer) == "token_invalid" && answer.set_cookies().is_empty()
    };
    let wrong = answers.into_iter().filter(|answer| !refused(answer));
    let challenge = |answer: &Response| answer.header("WWW-Authenticate").map(ToOwned::to_owned);
    let shown = |answer: &Response| answer.text().chars().take(70).collect::<String>();
    wrong.map(|answer| format!("{name}: {} {:?} {}", answer.status, challenge(&answer), shown(&answer))).collect()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} not refused as they should be:\n{}", faults.len(), faults.join("\n"));
}

fn no_forged_access_token_is_accepted(backend: Backend) {
    let service = start(backend);
    let (access, _) = genuine(&service, "emily");
    let strings = ["iss", "aud", "sub", "sid", "role", "jti", "use"];
    let forged = forgeries(&Forge::of(&access), &strings, &["gen", "epoch", "iat", "exp"]);
    let faults: Vec<String> = forged.iter().flat_map(|(name, token)| faults(name, me_with(&service, token))).collect();
    assert_none(&faults);
    print_figure(&format!("{} kinds of forged access tokens, by header and by cookie: none accepted", forged.len()));
    for answer in me_with(&service, &access) {
        assert_eq!((answer.status, answer.json()["username"].as_str()), (200, Some("emily")));
    }
}

fn no_forged_refresh_token_is_accepted(backend: Backend) {
    let service = start(backend);
    let (access, refresh) = genuine(&service, "emily");
    let forged = forgeries(&Forge::of(&refresh), &["iss", "sub", "sid", "use"], &["gen", "iat", "exp"]);
    let faults: Vec<String> =
        forged.iter().flat_map(|(name, token)| faults(name, refreshed_with(&service, token))).collect();
    assert_none(&faults);
    print_figure(&format!("{} kinds of forged refresh tokens, by cookie and in the body: none accepted", forged.len()));
    assert!(me_with(&service, &access).iter().all(|answer| answer.status == 200), "its session lives");
    assert!(refreshed_with(&service, &refresh).iter().all(|answer| answer.status == 200), "and refreshes");
}

/// RFC 7515 sections 4.1.2 to 4.1.5: members that name a URL to fetch a key from, or contain one.
fn no_key_is_fetched_from_a_url_in_a_token(backend: Backend) {
    let service = start(backend);
    let (access, refresh) = genuine(&service, "emily");
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let place = trap.local_addr().unwrap();
    for (token, answers) in [(access, me_with as fn(&TestService, &str) -> [Response; 2]), (refresh, refreshed_with)] {
        let forge = Forge::of(&token);
        for member in ["jku", "x5u", "iss", "kid"] {
            let header = forge.header.replace('}', &format!(r#","{member}":"http://{place}/keys"}}"#));
            let forged = signed(&header, &forge.payload, KEY.as_bytes());
            assert_none(&faults(member, answers(&service, &forged)));
        }
    }
    // A request for the key would be in the socket's queue by now, since the answers have arrived.
    let fetched = trap.accept().map(|(_, from)| from).map_err(|why| why.kind());
    assert_eq!(fetched, Err(std::io::ErrorKind::WouldBlock), "the key was requested");
}

fn the_forge_is_accepted_when_it_changes_nothing(backend: Backend) {
    let service = start(backend);
    let (access, refresh) = genuine(&service, "emily");
    for (token, answers) in [(access, me_with as fn(&TestService, &str) -> [Response; 2]), (refresh, refreshed_with)] {
        let forge = Forge::of(&token);
        assert_eq!(signed(&forge.header, &forge.payload, KEY.as_bytes()), token, "the same key, the same bytes");
        let reordered = forge.with("iss", &forge.claims["iss"]);
        assert!(answers(&service, &reordered).iter().all(|answer| answer.status == 200), "{reordered}");
    }
}

fn access_and_refresh_tokens_are_not_interchangeable(backend: Backend) {
    let service = start(backend);
    let (access, refresh) = genuine(&service, "emily");
    let (of_access, of_refresh) = (Forge::of(&access), Forge::of(&refresh));
    let key = KEY.as_bytes();
    for (name, token) in [
        ("a refresh token", refresh.clone()),
        ("a refresh token that says access", of_refresh.with("use", &json!("access"))),
        ("a refresh token under an access token's header", signed(&of_access.header, &of_refresh.payload, key)),
        ("an access token under a refresh token's header", signed(&of_refresh.header, &of_access.payload, key)),
        ("an access token for refreshing", of_access.with("use", &json!("refresh"))),
    ] {
        assert_none(&faults(name, me_with(&service, &token)));
    }
    for (name, token) in [
        ("an access token", access.clone()),
        ("an access token that says refresh", of_access.with("use", &json!("refresh"))),
        ("an access token under a refresh token's header", signed(&of_refresh.header, &of_access.payload, key)),
        ("a refresh token for access", of_refresh.with("use", &json!("access"))),
    ] {
        assert_none(&faults(name, refreshed_with(&service, &token)));
    }
    assert!(me_with(&service, &access).iter().all(|answer| answer.status == 200));
}

/// Numbers that this service never issues, under its own signature.
const OUT_OF_BOUNDS: [(&str, i64); 11] = [
    ("exp", 0),
    ("exp", -1),
    ("exp", i64::MIN),
    ("exp", i64::MAX),
    ("iat", -1),
    ("iat", i64::MIN),
    ("iat", i64::MAX),
    ("nbf", -1),
    ("nbf", i64::MAX),
    ("gen", -1),
    ("gen", i64::MIN),
];

fn an_access_token_with_out_of_range_numbers_is_refused(backend: Backend) {
    let service = start(backend);
    let (access, _) = genuine(&service, "emily");
    let forge = Forge::of(&access);
    let numbers = OUT_OF_BOUNDS.iter().chain(&[("epoch", -1), ("epoch", i64::MIN)]);
    let faults: Vec<String> = numbers
        .flat_map(|(claim, odd)| faults(&format!("{claim} {odd}"), me_with(&service, &forge.with(claim, &json!(odd)))))
        .collect();
    assert_none(&faults);
}

fn a_refresh_token_with_out_of_range_numbers_is_refused(backend: Backend) {
    let service = start(backend);
    let mut found = vec![];
    for (number, (claim, odd)) in OUT_OF_BOUNDS.iter().enumerate() {
        // One session for each case: an old generation is reuse and ends the session.
        let (_, refresh) = genuine(&service, &format!("emily{number}"));
        let forged = Forge::of(&refresh).with(claim, &json!(odd));
        let refused = |answer: &Response| answer.status == 401 && answer.header("WWW-Authenticate").is_some();
        let accepted = refreshed_with(&service, &forged).into_iter().filter(|answer| !refused(answer));
        found.extend(accepted.map(|answer| format!("{claim} {odd}: {}", answer.status)));
    }
    assert_none(&found);
}

fn a_clock_ahead_is_tolerated_up_to_the_skew(backend: Backend) {
    let service = service(backend).set("CLOCK_SKEW", "5s").start();
    let (access, _) = genuine(&service, "emily");
    let (forge, now) = (Forge::of(&access), service.clock().now().seconds());
    for (claim, ahead, expected) in [
        ("iat", 5, (200, None)),
        ("iat", 6, (401, Some("token_invalid"))),
        ("nbf", 5, (200, None)),
        ("nbf", 6, (401, Some("token_invalid"))),
        ("exp", 1, (200, None)),
        // No leeway: the token has expired at the second it names.
        ("exp", 0, (401, Some("token_expired"))),
        ("iat", 86400, (401, Some("token_invalid"))),
    ] {
        let mut claims = forge.claims.clone();
        claims.insert("iat".to_owned(), json!(now - 60));
        claims.insert(claim.to_owned(), json!(now + ahead));
        claims.entry("exp").and_modify(|exp| *exp = if claim == "exp" { exp.clone() } else { json!(now + 90_000) });
        for answer in me_with(&service, &forge.with_payload(&json!(claims).to_string())) {
            let shown = (answer.status == 401).then(|| code(&answer));
            assert_eq!((answer.status, shown.as_deref()), expected, "{claim} {ahead} s ahead: {}", answer.text());
            let challenge = (answer.status == 401).then_some(INVALID_TOKEN);
            assert_eq!(answer.header("WWW-Authenticate"), challenge);
        }
    }
}

fn a_token_of_another_service_is_refused(backend: Backend) {
    let ours = start(backend);
    genuine(&ours, "emily");
    for (setting, value) in [("JWT_SECRET", OTHER_KEY), ("ISSUER", "another"), ("AUDIENCE", "another")] {
        let theirs = service(backend).set(setting, value).start();
        let (access, refresh) = genuine(&theirs, "emily");
        assert_none(&faults(setting, me_with(&ours, &access)));
        let answers = refreshed_with(&ours, &refresh);
        // A refresh token has no audience; there the session is the one that does not exist here.
        assert!(answers.iter().all(|answer| answer.status == 401), "{setting}: {answers:?}");
    }
}

fn every_protected_route_says_what_is_wrong_with_the_token(backend: Backend) {
    let service = start(backend);
    let (access, _) = genuine(&service, "emily");
    let forged = access[..access.len() - 4].to_owned() + "AAAA";
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another-quiet-harbour" }).to_string();
    for (method, path, body) in [
        ("GET", "/auth/me", None),
        ("PATCH", "/auth/me", Some("{\"firstName\":\"Eve\"}")),
        ("POST", "/auth/change-password", Some(change.as_str())),
        ("POST", "/auth/logout-all", None),
        ("GET", "/auth/sessions", None),
        ("DELETE", "/auth/sessions/0198c0de-0000-7000-8000-000000000000", None),
    ] {
        let request = Request::new(method, path);
        let request = if let Some(body) = body { request.json(body) } else { request };
        let bare = request.send(service.address());
        assert_eq!((bare.status, code(&bare).as_str()), (401, "token_missing"), "{method} {path}");
        assert_eq!(bare.header("WWW-Authenticate"), Some(NO_CREDENTIALS), "{method} {path}");
        let by_cookie = request.clone().cookie_header(&format!("accessToken={forged}"));
        let answers = [request.bearer(&forged), by_cookie].map(|request| request.send(service.address()));
        assert_none(&faults(&format!("{method} {path}"), answers));
    }
    assert_eq!(me_with(&service, &access)[0].json()["firstName"], json!(null), "nothing was changed");
}

fn a_bearer_header_has_one_scheme_and_one_token(backend: Backend) {
    let service = start(backend);
    let (access, _) = genuine(&service, "emily");
    let (malformed, invalid) = ((400, INVALID_REQUEST), (401, INVALID_TOKEN));
    for (line, expected) in [
        (format!("bearer {access}"), (200, "")),
        (format!("BEARER {access}"), (200, "")),
        (format!("Bearer  {access}"), malformed),
        (format!("Bearer {access} x"), malformed),
        (format!("Bearer {access},{access}"), malformed),
        (format!("Bearer {access};x"), malformed),
        (format!("Bearer \"{access}\""), malformed),
        (format!("Bearer {}", access.replace('.', " ")), malformed),
        (format!("Bearer {}", access.replace('.', "\t")), malformed),
        (format!("Bearer {}", access.replace('.', "%2E")), malformed),
        ("Bearer a b".to_owned(), malformed),
        ("Bearer".to_owned(), invalid),
        (format!("Basic {access}"), invalid),
        ("Basic ZW1pbHk6cGFzc3dvcmQ=".to_owned(), invalid),
        (format!("Token {access}"), invalid),
        (access.clone(), invalid),
    ] {
        // A valid cookie beside it makes no difference: the header takes precedence, valid or not.
        for cookie in ["", &format!("accessToken={access}")] {
            let request = Request::new("GET", "/auth/me").header("Authorization", &line).cookie_header(cookie);
            let answer = request.send(service.address());
            let challenge = answer.header("WWW-Authenticate").unwrap_or_default();
            assert_eq!((answer.status, challenge), expected, "{line:?} {cookie:?}: {}", answer.text());
        }
    }
    let bearer = || Request::new("GET", "/auth/me").bearer(&access);
    let twice = bearer().header("Authorization", format!("Bearer {access}")).send(service.address());
    assert_eq!((twice.status, code(&twice).as_str()), (400, "authorization_malformed"));
    assert_eq!(twice.header("WWW-Authenticate"), Some(INVALID_REQUEST));
}

fn a_cookie_contains_a_token_verbatim(backend: Backend) {
    let service = start(backend);
    let (access, _) = genuine(&service, "emily");
    let spellings = [
        format!("\"{access}\""),
        access.replace('.', "%2E"),
        access.replace('.', " . "),
        access.replace('.', "\t.\t"),
        access.replace('.', "\u{a0}."),
        format!("Bearer {access}"),
        access.to_uppercase(),
    ];
    for spelling in spellings {
        let request = Request::new("GET", "/auth/me").cookie_header(&format!("accessToken={spelling}"));
        let answer = request.send(service.address());
        assert_eq!((answer.status, code(&answer).as_str()), (401, "token_invalid"), "{spelling}");
    }
}

/// A token's payload is readable by anyone, and browsers drop a cookie line of more than 4096 bytes.
fn a_token_contains_no_personal_data(backend: Backend) {
    let service = service(backend).set("SIGNUP_ROLE", "R".repeat(64)).start();
    let (local, domain) = ("m".repeat(64), "d".repeat(59));
    let person = json!({
        "username": "u".repeat(64), "email": format!("{local}@{domain}.{domain}.{domain}.example"), "password": PASSWORD,
        "firstName": "Emily-canary", "phone": "+1 555-canary", "profile": { "city": "Springfield-canary" },
    });
    let registered = Request::new("POST", "/auth/register").json(&person.to_string()).send(service.address());
    assert_eq!(registered.status, 201, "{}", registered.text());
    for cookie in registered.set_cookies() {
        assert!(cookie.line.len() < 4096, "{} bytes", cookie.line.len());
        let Forge { header, payload, claims, .. } = Forge::of(&cookie.value);
        for personal in ["uuuu", "mmmm", "canary", "127.0.0.1", PASSWORD] {
            assert!(!payload.contains(personal) && !header.contains(personal), "{personal}: {payload}");
        }
        let mut names: Vec<&str> = claims.keys().map(String::as_str).collect();
        names.sort_unstable();
        let access = ["aud", "epoch", "exp", "gen", "iat", "iss", "jti", "role", "sid", "sub", "use"];
        let refresh = ["exp", "gen", "iat", "iss", "sid", "sub", "use"];
        assert_eq!(names, if cookie.name == "accessToken" { &access[..] } else { &refresh[..] });
    }
}
