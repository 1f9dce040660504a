//! Access control behind each proxy: which requests reach the app.

use super::{Proxy, Site, behind_every_proxy, get};
use crate::forward_auth::{AMBIGUOUS_PATHS, add_account};
use crate::support::PASSWORD;
use crate::support::http::{Browser, Request, exchange_raw};

behind_every_proxy!(
    only_signed_in_callers_reach_the_app,
    a_browser_is_redirected_to_sign_in_with_the_return_url,
    a_caller_without_the_role_is_refused,
    no_request_reaches_the_app_while_doorward_is_down,
    forged_forwarded_headers_grant_nothing,
    an_ambiguous_path_is_public_through_no_proxy,
);

fn only_signed_in_callers_reach_the_app(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::new(method, "/deep?a=b&c=%2F").body(Some("text/plain"), "what the app is to get");
        let before = site.app.reached();
        let refused = site.send(request.clone());
        assert_eq!((refused.status, site.app.reached()), (401, before), "{method} {}", refused.text());
        let passed = browser.send(request.header("Host", super::HOST));
        assert_eq!(passed.status, 200, "{method} {} {}", passed.text(), site.proxy.log());
        let shown = passed.json();
        assert_eq!(shown["start"], format!("{method} /deep?a=b&c=%2F HTTP/1.1"));
        assert_eq!(shown["body"], "what the app is to get");
        assert!(passed.headers_named("set-cookie").contains(&"of-the-app=1"));
    }
    let (mut other, access) = (Browser::new(site.proxy.address()), browser.cookie("accessToken").unwrap());
    assert_eq!(browser.send(Request::new("POST", "/auth/logout").header("Host", super::HOST)).status, 200);
    other.set_cookie("accessToken", &access);
    let before = site.app.reached();
    assert_eq!((get(&mut other, "/deep").status, site.app.reached()), (401, before), "signed out");
}

fn a_browser_is_redirected_to_sign_in_with_the_return_url(proxy: Proxy) {
    let site = Site::start(proxy);
    let html = |target: &str| site.send(Request::new("GET", target).header("Accept", "text/html,*/*;q=0.8"));
    let led = html("/deep?a=b&c=d");
    let way = "http://app.example.com/login?rd=http%3A%2F%2Fapp.example.com%2Fdeep%3Fa%3Db%26c%3Dd";
    assert_eq!((led.status, led.header("location")), (302, Some(way)), "{}", led.text());
    let page = html("/login");
    assert_eq!(page.status, 200, "doorward's own pages are there: {}", page.text());
    assert_eq!(site.app.reached(), 0);
    let script = site.send(Request::new("GET", "/deep").header("Sec-Fetch-Mode", "cors"));
    assert_eq!(script.status, 401);
    assert!(script.header("www-authenticate").is_some());
}

fn a_caller_without_the_role_is_refused(proxy: Proxy) {
    let site = Site::with(proxy, "?role=ADMIN", |builder| builder);
    let mut user = site.register("emily");
    assert_eq!((get(&mut user, "/").status, site.app.reached()), (403, 0));
    add_account(site.service(), "boss", "ADMIN", &[]);
    let mut boss = Browser::new(site.proxy.address());
    let body = serde_json::json!({ "username": "boss", "password": PASSWORD }).to_string();
    let request = Request::new("POST", "/auth/login").header("Host", super::HOST).json(&body);
    assert_eq!(boss.send(request).status, 200);
    assert_eq!((get(&mut boss, "/").status, site.app.reached()), (200, 1));
}

fn no_request_reaches_the_app_while_doorward_is_down(proxy: Proxy) {
    let mut site = Site::start(proxy);
    let mut browser = site.register("emily");
    assert_eq!(get(&mut browser, "/").status, 200);
    site.service = None;
    for _ in 0..3 {
        let refused = get(&mut browser, "/");
        assert!([500, 502, 503, 504].contains(&refused.status), "{}", refused.status);
    }
    assert_eq!(site.app.reached(), 1);
}

/// With a public path, so that a forged path would pay off.
fn with_rules(proxy: Proxy) -> (tempfile::TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, "app.example.com /public/* public\napp.example.com /admin/* role=ADMIN\n").unwrap();
    let site = Site::with(proxy, "", |builder| builder.set("RULES_FILE", file.display().to_string()));
    (folder, site)
}

fn forged_forwarded_headers_grant_nothing(proxy: Proxy) {
    let (_folder, site) = with_rules(proxy);
    assert_eq!(site.send(Request::new("GET", "/public/a")).status, 200);
    let url = "http://app.example.com/public/a";
    let forged: [(&str, &str); 16] = [
        ("X-Forwarded-Uri", "/public/a"),
        ("X-Forwarded-Path", "/public/a"),
        ("X-Forwarded-Prefix", "/public"),
        ("X-Forwarded-Host", "other.example.com"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Proto", "https"),
        ("X-Original-URI", "/public/a"),
        ("X-Original-URL", url),
        ("X-Original-Method", "GET"),
        ("X-Rewrite-URL", "/public/a"),
        ("X_Forwarded_Uri", "/public/a"),
        ("X-Forwarded_Uri", "/public/a"),
        ("Forwarded", "for=1.2.3.4;host=other.example.com"),
        ("Connection", "X-Forwarded-Uri, X-Forwarded-Host, close"),
        ("Connection", "Cookie, Remote-User, close"),
        ("X-HTTP-Method-Override", "OPTIONS"),
    ];
    let reached = site.app.reached();
    for (name, value) in forged {
        let refused = site.send(Request::new("GET", "/secret").header(name, value));
        assert!([400, 401, 403].contains(&refused.status), "{name}: {} {}", refused.status, refused.text());
    }
    assert_eq!(site.app.reached(), reached);
    // No client chooses the address that it is recorded under.
    let mut browser = site.register("emily");
    let body = serde_json::json!({ "username": "emily", "password": PASSWORD }).to_string();
    let request = Request::new("POST", "/auth/login").header("Host", super::HOST).json(&body);
    let request =
        request.header("X-Forwarded-For", "6.6.6.6").header("X-Real-IP", "6.6.6.6").header("Forwarded", "for=6.6.6.6");
    assert_eq!(browser.send(request).status, 200);
    let sessions = get(&mut browser, "/auth/sessions").json();
    assert_eq!(sessions["sessions"][0]["address"], "127.0.0.1", "{sessions}");
}

fn an_ambiguous_path_is_public_through_no_proxy(proxy: Proxy) {
    let (_folder, site) = with_rules(proxy);
    for plain in ["/public/a", "/public", "/public/caf%C3%A9", "/public/a%20b.css?x=../admin"] {
        assert_eq!(site.send(Request::new("GET", plain)).status, 200, "{plain}");
    }
    let mut browser = site.register("emily");
    let reached = site.app.reached();
    for odd in AMBIGUOUS_PATHS {
        for bytes in
            [raw(odd, ""), raw(odd, &format!("Cookie: accessToken={}\r\n", browser.cookie("accessToken").unwrap()))]
        {
            let answer = exchange_raw(site.proxy.address(), &bytes);
            let start = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
            assert!(!start.contains(" 200 "), "{odd}: {start}");
        }
        assert_eq!(site.app.reached(), reached, "{odd}");
    }
    assert_eq!(get(&mut browser, "/").status, 200);
}

fn raw(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{more}Connection: close\r\n\r\n", super::HOST).into_bytes()
}
