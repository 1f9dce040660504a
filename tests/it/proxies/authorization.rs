//! Apps that use the Authorization header themselves, behind each proxy: the cookie decides about the request, and the app gets
//! the header.

use super::{Proxy, Site, behind_every_proxy, get};
use crate::support::decode_jwt;
use crate::support::http::{Browser, Request};

behind_every_proxy!(
    the_apps_own_authorization_reaches_it,
    a_navigation_with_the_apps_own_authorization_is_led_as_without_it,
    a_dead_token_of_ours_is_refused_beside_a_live_cookie,
);

/// Headers of other services, by scheme.
const OF_APPS: [&str; 14] = [
    "Basic ZW1pbHk6c2VjcmV0",
    "Bearer abc.def.ghi",
    "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2lnbmVkIGVsc2V3aGVyZQ",
    "Bearer two words",
    "Bearer",
    "Token 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b",
    "token token=\"abc\"",
    "ApiKey abc",
    "Digest username=\"emily\", realm=\"app\", nonce=\"1\", uri=\"/\", response=\"0\"",
    "AWS4-HMAC-SHA256 Credential=A/20270101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=00",
    "Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa8=",
    "Hawk id=\"a\", ts=\"1\", nonce=\"n\", mac=\"m\"",
    "just-a-key",
];

fn the_apps_own_authorization_reaches_it(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    for header in OF_APPS {
        let request = Request::new("POST", "/api").header("Authorization", header);
        let before = site.app.reached();
        let refused = site.send(request.clone());
        assert_eq!((refused.status, site.app.reached()), (401, before), "{header} is no sign-in: {}", refused.text());
        let answer = browser.send(request.header("Host", super::HOST));
        assert_eq!(answer.status, 200, "{header}: {} {}", answer.text(), site.proxy.log());
        let environment = &answer.json()["environment"];
        assert_eq!(environment["HTTP_AUTHORIZATION"][0], header);
        assert_eq!(environment["HTTP_REMOTE_USER"][0], "emily", "{header}");
    }
}

/// A browser keeps sending the header of an app that asked for Basic.
fn a_navigation_with_the_apps_own_authorization_is_led_as_without_it(proxy: Proxy) {
    let site = Site::start(proxy);
    let navigate = |browser: &mut Browser, target: &str| {
        let request = Request::new("GET", target).header("Host", super::HOST).header("Accept", "text/html");
        browser.send(request.header("Authorization", OF_APPS[0]))
    };
    let mut browser = site.register("emily");
    let without_access = {
        let mut browser = browser.clone();
        browser.set_cookie("accessToken", "");
        browser
    };
    for _ in 0..6 {
        assert_eq!(navigate(&mut browser, "/deep").status, 200);
    }
    let mut browser = without_access;
    let led = navigate(&mut browser, "/deep");
    let target = led.header("location").unwrap().strip_prefix(&format!("http://{}", super::HOST)).unwrap().to_owned();
    assert!(led.status == 302 && target.starts_with("/auth/continue?rd="), "{led:?}");
    let back = navigate(&mut browser, &target);
    assert_eq!((back.status, back.header("location")), (303, Some("http://app.example.com/deep")));
    assert_eq!(navigate(&mut browser, "/deep").status, 200);
    let stranger = navigate(&mut Browser::new(site.proxy.address()), "/deep");
    assert!(stranger.header("location").is_some_and(|url| url.contains("/login?rd=")), "{stranger:?}");
}

fn a_dead_token_of_ours_is_refused_beside_a_live_cookie(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut other = site.register("otto");
    let dead = other.cookie("accessToken").unwrap();
    let mut browser = site.register("emily");
    let with = |browser: &mut Browser, header: &str| {
        browser.send(Request::new("GET", "/").header("Host", super::HOST).header("Authorization", header))
    };
    let live = with(&mut browser, &format!("Bearer {dead}"));
    assert_eq!(live.json()["environment"]["HTTP_REMOTE_USER"][0], "otto", "a live token of ours has precedence");
    assert_eq!(other.send(Request::new("POST", "/auth/logout").header("Host", super::HOST)).status, 200);
    let reached = site.app.reached();
    assert_eq!(with(&mut browser, &format!("Bearer {dead}")).status, 401, "of {}", decode_jwt(&dead).1["sid"]);
    assert_eq!(with(&mut browser, &format!("Token {dead}")).status, 401, "not as the header requires it");
    assert_eq!(site.app.reached(), reached);
    assert_eq!(get(&mut browser, "/").status, 200);
}
