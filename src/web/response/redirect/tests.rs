//! Unit tests of the redirect rule: the table that `tests/it/redirects.rs` sends over HTTP, and further cases.

use std::collections::BTreeMap;

use super::*;

#[derive(serde::Deserialize)]
struct Payloads {
    refused: BTreeMap<String, Vec<String>>,
    allowed: Vec<(String, String)>,
}

fn payloads() -> Payloads {
    serde_json::from_str(include_str!("../../../../tests/it/redirects/payloads.json")).unwrap()
}

fn redirects(public_url: Option<&str>) -> Redirects {
    let own = public_url.map(|url| Url::parse(url).unwrap());
    Redirects::of(own, vec!["good.test".parse().unwrap()], "/home".to_owned())
}

#[test]
fn forbidden_redirect_targets_become_the_default_page() {
    let rule = redirects(Some("https://auth.example"));
    let refused: Vec<String> = payloads().refused.into_values().flatten().collect();
    assert!(refused.len() >= 80, "{}", refused.len());
    for payload in refused {
        assert_eq!(rule.target(Some(&payload)), "/home", "{payload:?}");
        assert_eq!(rule.sign_in_page(Some(&payload)), "https://auth.example/login", "{payload:?}");
    }
    assert_eq!(rule.target(None), "/home");
    let long = format!("/{}", "a".repeat(RETURN_MAX));
    assert_eq!(rule.target(Some(&long)), "/home");
}

#[test]
fn allowed_redirect_targets_are_serialised_by_the_url_standard() {
    let rule = redirects(Some("https://auth.example"));
    for (payload, expected) in payloads().allowed {
        let target = rule.target(Some(&payload));
        assert_eq!(target, expected, "{payload:?}");
        assert_eq!(rule.target(Some(&target)), target, "{payload:?} is serialised differently the second time");
        let page = rule.sign_in_page(Some(&payload));
        let query = page.strip_prefix("https://auth.example/login?").unwrap();
        assert_eq!(back_in(query).as_deref(), Some(expected.as_str()), "{page}");
    }
}

#[test]
fn without_a_public_url_redirects_are_paths_and_https_only() {
    let rule = redirects(None);
    assert_eq!(rule.target(Some("/account?a=b")), "/account?a=b");
    assert_eq!(rule.target(Some("https://app.good.test/x")), "https://app.good.test/x");
    for payload in ["http://good.test/", "http://localhost/", "https://doorward.invalid/", "//doorward.invalid/"] {
        assert_eq!(rule.target(Some(payload)), "/home", "{payload}");
    }
    assert_eq!(rule.sign_in_page(Some("/a?b=c&d")), "/login?rd=%2Fa%3Fb%3Dc%26d");
    assert_eq!(rule.continue_page(None), "/auth/continue");
}

#[test]
fn with_an_http_public_url_redirects_may_use_http() {
    let rule = redirects(Some("http://auth.example:8080"));
    for (payload, expected) in [
        ("http://good.test/x", "http://good.test/x"),
        ("https://app.good.test:8443/x", "https://app.good.test:8443/x"),
        ("http://auth.example:8080/account", "http://auth.example:8080/account"),
        ("http://auth.example/account", "/home"),
        ("http://evil.test/", "/home"),
        ("javascript://good.test/", "/home"),
    ] {
        assert_eq!(rule.target(Some(payload)), expected, "{payload}");
    }
    let sources = " https://good.test:* https://*.good.test:* http://good.test:* http://*.good.test:*";
    assert_eq!(rule.sources(), sources);
    assert_eq!(redirects(None).sources(), " https://good.test:* https://*.good.test:*");
}

#[test]
fn two_redirect_targets_in_a_query_count_only_if_equal() {
    for (query, expected) in [
        ("rd=%2Fa%3Fb%3Dc", Some("/a?b=c")),
        ("x=1&rd=/a&y=2", Some("/a")),
        ("rd=/a&rd=/a", Some("/a")),
        ("rd=/a&rd=//evil", None),
        ("rd=", None),
        ("RD=/a", None),
        ("", None),
    ] {
        assert_eq!(back_in(query).as_deref(), expected, "{query}");
    }
}

#[test]
fn a_redirect_target_is_limited_after_serialisation_too() {
    let rule = redirects(None);
    let path = |count: usize| format!("/x?{}", ">".repeat(count));
    assert_eq!(rule.target(Some(&path(1000))), format!("/x?{}", "%3E".repeat(1000)));
    assert_eq!(rule.target(Some(&path(2000))), "/home");
}
