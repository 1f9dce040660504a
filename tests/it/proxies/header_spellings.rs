//! Spellings of header names behind each proxy: an app that maps names to variables, as CGI programs and PHP do, gets no identity
//! and no forwarded header of a client, and no client takes away what the proxy wrote.

use serde_json::Value;

use super::{Proxy, Site, behind_every_proxy, get, with_public_paths};
use crate::forward_auth::{IDENTITY, ODD_OCTETS};
use crate::support::http::{Request, Response};

behind_every_proxy!(
    no_spelling_of_an_identity_header_reaches_an_app,
    no_spelling_of_a_forwarded_header_reaches_an_app,
    a_connection_header_takes_nothing_away_from_the_app,
);

/// What clients write into the headers that they must not set.
pub(super) const FORGED: &str = "forged-by-a-client";

/// Headers by which apps let a proxy describe the request, or its user.
pub(super) const FORWARDED: [&str; 27] = [
    "Forwarded",
    "Remote-Groups",
    "X-Forwarded",
    "X-Forwarded-Access-Token",
    "X-Forwarded-By",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Email",
    "X-Forwarded-For",
    "X-Forwarded-Groups",
    "X-Forwarded-Host",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Roles",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-User",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-URI",
    "X-Original-URL",
    "X-Real-IP",
    "X-Rewrite-URL",
];

/// The name with each byte that an app may take for its hyphens.
pub(super) fn spellings(name: &str) -> impl Iterator<Item = String> {
    let imitations = ODD_OCTETS.chars().map(move |odd| name.replace('-', &odd.to_string()));
    imitations.chain([name.to_owned()]).filter(|name| !name.is_empty())
}

/// The variables of a header's name in a CGI program.
pub(super) fn variables(answer: &Response, name: &str) -> Vec<String> {
    let variable = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
    match &answer.json()["environment"][variable] {
        Value::Null => vec![],
        values => serde_json::from_value(values.clone()).unwrap(),
    }
}

fn no_spelling_of_an_identity_header_reaches_an_app(proxy: Proxy) {
    let (_folder, site) = with_public_paths(proxy);
    let mut browser = site.register("emily");
    let genuine = get(&mut browser, "/");
    for name in IDENTITY {
        for form in spellings(name).flat_map(|form| [form.to_ascii_lowercase(), form.to_ascii_uppercase(), form]) {
            let request = |path: &str| Request::new("GET", path).header(&form, FORGED);
            let private = browser.send(request("/").header("Host", super::HOST));
            assert_eq!(private.status, 200, "{form}: {} {}", private.text(), site.proxy.log());
            assert_eq!(variables(&private, name), variables(&genuine, name), "{form}");
            let public = site.send(request("/public/a"));
            assert_eq!(public.status, 200, "{form}: {} {}", public.text(), site.proxy.log());
            assert!(variables(&public, name).iter().all(String::is_empty), "{form}: {}", public.text());
            assert!(!(private.text() + &public.text()).contains(FORGED), "{form}");
        }
    }
}

fn no_spelling_of_a_forwarded_header_reaches_an_app(proxy: Proxy) {
    let (_folder, site) = with_public_paths(proxy);
    let mut browser = site.register("emily");
    for name in FORWARDED {
        for form in spellings(name) {
            let request = |path: &str| Request::new("GET", path).header(&form, FORGED);
            for answer in [browser.send(request("/").header("Host", super::HOST)), site.send(request("/public/a"))] {
                // What no proxy removes, the check refuses.
                assert!([200, 403].contains(&answer.status), "{form}: {} {}", answer.status, answer.text());
                assert!(!answer.text().contains(FORGED), "{form}: {}", answer.text());
            }
        }
        let answer = browser.send(Request::new("GET", "/").header("Host", super::HOST).header(name, FORGED));
        assert_eq!(answer.status, 200, "{name}: as it is written in the configuration: {}", answer.text());
    }
}

fn a_connection_header_takes_nothing_away_from_the_app(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    let genuine = get(&mut browser, "/");
    let described = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"];
    for name in IDENTITY.into_iter().chain(described) {
        for connection in [format!("close, {name}"), format!("keep-alive, {name}"), name.to_ascii_lowercase()] {
            let request = Request::new("GET", "/").header("Host", super::HOST).header("Connection", &connection);
            let answer = browser.send(request);
            assert_eq!(answer.status, 200, "{connection}: {}", answer.text());
            assert_eq!(variables(&answer, name), variables(&genuine, name), "{connection}");
            let passed_on = variables(&answer, "Connection").join(",").to_ascii_lowercase();
            assert!(!passed_on.contains(&name.to_ascii_lowercase()), "{passed_on}");
        }
    }
    assert_eq!(variables(&genuine, "Remote-User"), ["emily"]);
    assert_eq!(variables(&genuine, "X-Forwarded-Host"), [super::HOST]);
}
