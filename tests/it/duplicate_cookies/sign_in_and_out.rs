//! Duplicate session cookies, as a change of COOKIE_DOMAIN or a sibling subdomain leaves them: a sign-in and a sign-out work with
//! them, and clear them; nothing else does.

use doorward::testing::{Builder, TestService};
use serde_json::json;

use crate::pages::{form, hidden, send};
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, Tokens, is_accepted, on_both_backends, register, sign_in};

on_both_backends!(
    a_sign_in_clears_cookies_of_every_domain,
    a_sign_out_ends_the_session_of_each,
    the_pages_lead_to_the_sign_in_which_works,
    a_prefixed_cookie_has_no_other_domain,
);

fn on_a_subdomain(builder: Builder) -> Builder {
    builder.set("PUBLIC_URL", "http://auth.example.com").set("TEST_MODE", "false").set("BCRYPT_COST", "10")
}

/// A `Cookie` header with the tokens of both, as a browser sends them after COOKIE_DOMAIN has changed.
fn both(one: &Tokens, other: &Tokens) -> String {
    format!(
        "accessToken={}; refreshToken={}; accessToken={}; refreshToken={}",
        one.access, one.refresh, other.access, other.refresh
    )
}

/// Domains of the cleared cookies of a name, sorted; "" is none.
fn cleared(answer: &Response, name: &str) -> Vec<String> {
    let cleared = answer.set_cookies().into_iter().filter(|cookie| cookie.name == name && cookie.is_cleared());
    let domain = |attribute: &String| attribute.strip_prefix("Domain=").map(ToOwned::to_owned);
    let mut domains: Vec<String> =
        cleared.map(|cookie| cookie.attributes.iter().find_map(domain).unwrap_or_default()).collect();
    domains.sort();
    domains
}

fn a_sign_in_clears_cookies_of_every_domain(backend: Backend) {
    for (domain, others) in [
        (None, vec!["auth.example.com", "example.com"]),
        (Some("example.com"), vec!["", "auth.example.com"]),
        (Some("auth.example.com"), vec!["", "example.com"]),
    ] {
        let builder = on_a_subdomain(backend.service());
        let service = domain.into_iter().fold(builder, |builder, domain| builder.set("COOKIE_DOMAIN", domain)).start();
        let one = Tokens::in_jar_of(&register(&service, "emily"));
        let other = Tokens::in_jar_of(&sign_in(&service, "emily"));
        let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
        for cookies in [both(&one, &other), format!("accessToken={}", one.access)] {
            let request = Request::new("POST", "/auth/login").json(&body).cookie_header(&cookies);
            let answer = request.send(service.address());
            assert_eq!(answer.status, 200, "{domain:?}: {}", answer.text());
            for name in ["accessToken", "refreshToken"] {
                assert_eq!(cleared(&answer, name), others, "{domain:?} {name}");
            }
        }
        let fresh = Request::new("POST", "/auth/login").json(&body).send(service.address());
        assert_eq!(cleared(&fresh, "accessToken"), [""; 0], "a browser without cookies has none to clear");
    }
}

fn a_sign_out_ends_the_session_of_each(backend: Backend) {
    for (path, named) in
        [("/auth/logout", false), ("/auth/logout", true), ("/flat/auth/logout", false), ("/pin/auth/logout", false)]
    {
        let service = on_a_subdomain(backend.service()).start();
        let one = Tokens::in_jar_of(&register(&service, "emily"));
        let [other, third] = [(); 2].map(|()| Tokens::in_jar_of(&sign_in(&service, "emily")));
        let request = Request::new("POST", path).cookie_header(&both(&one, &other));
        let request = if named { request.bearer(&third.access) } else { request };
        let answer = request.send(service.address());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(cleared(&answer, "refreshToken"), ["", "auth.example.com", "example.com"], "{path}");
        for ended in [&one, &other] {
            assert!(!is_accepted(&service, &ended.access), "{path}");
        }
        assert_eq!(is_accepted(&service, &third.access), !named, "{path}: only what the request names");
        let rubbish = Request::new("POST", path).cookie_header("accessToken=a; accessToken=b");
        assert_eq!(rubbish.send(service.address()).status, 200, "{path}: cookies of no session are cleared too");
    }
}

fn the_pages_lead_to_the_sign_in_which_works(backend: Backend) {
    let service = backend.service().start();
    let one = Tokens::in_jar_of(&register(&service, "emily"));
    let other = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let cookies = both(&one, &other);
    let get = |path: &str| Request::new("GET", path).cookie_header(&cookies).send(service.address());
    for (path, target) in [("/account", "/login?rd=%2Faccount"), ("/auth/continue?rd=%2Fdeep", "/login?rd=%2Fdeep")] {
        assert_eq!(get(path).header("location"), Some(target), "{path}");
    }
    let page = get("/login");
    assert_eq!(page.status, 200, "{}", page.text());
    let mut browser = Browser::new(service.address());
    let opened = browser.get("/login");
    browser.set_cookie("accessToken", &format!("{}; accessToken={}", one.access, other.access));
    let signed_in = send(&mut browser, &opened, "/login", &[("identifier", "emily"), ("password", PASSWORD)]);
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());
    ask_to_sign_out(&service, &cookies);
    assert!(!is_accepted(&service, &one.access) && !is_accepted(&service, &other.access));
}

/// Signs out by the page.
fn ask_to_sign_out(service: &TestService, cookies: &str) {
    let get = Request::new("GET", "/logout").cookie_header(cookies).send(service.address());
    let token = hidden(&get, "token").unwrap_or_else(|| panic!("{}", get.text()));
    let answer = form("/logout", &[("token", &token)]).cookie_header(cookies).send(service.address());
    assert_eq!(answer.status, 303, "{}", answer.text());
}

fn a_prefixed_cookie_has_no_other_domain(backend: Backend) {
    let builder = on_a_subdomain(backend.service()).set("PUBLIC_URL", "https://auth.example.com");
    let service = builder.start();
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let mut browser = Browser::new(service.address());
    assert_eq!(browser.post("/auth/register", &body).status, 201);
    let again = browser.post("/auth/login", &body);
    assert_eq!((again.status, cleared(&again, "__Host-accessToken").len()), (200, 0));
}
