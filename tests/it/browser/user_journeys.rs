//! User journeys: follow a deep link, sign in on the way, use two tabs and two devices, sign out.

use super::site::Site;
use super::webdriver::{Chromium, StoredCookie};
use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(
    a_sign_in_returns_to_the_deep_link_and_a_sign_out_ends_every_tab,
    sign_in_and_sign_out_work_without_scripts,
    a_password_change_and_the_button_end_other_devices,
    a_websocket_of_the_app_opens_for_its_user,
);

const NEW: &str = "another-quiet-harbour";

fn sign_in(browser: &Chromium, password: &str) {
    browser.fill("#identifier", "emily");
    browser.fill("#password", password);
    browser.click("button[type=submit]");
}

/// Signs in from another device, directly at the service.
fn sign_in_elsewhere(site: &Site) -> Browser {
    let mut browser = Browser::new(site.service.address());
    let body = serde_json::json!({ "username": "emily", "password": PASSWORD }).to_string();
    let answer = browser.send(Request::new("POST", "/auth/login").header("User-Agent", "curl/8.5.0").json(&body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    browser
}

fn register(site: &Site) {
    let body = serde_json::json!({ "username": "emily", "password": PASSWORD }).to_string();
    let answer = Request::new("POST", "/auth/register").json(&body).send(site.service.address());
    assert_eq!(answer.status, 201, "{}", answer.text());
}

fn of_session(cookies: Vec<StoredCookie>) -> Vec<StoredCookie> {
    let names = ["__Host-accessToken", "__Host-refreshToken"];
    cookies.into_iter().filter(|cookie| names.contains(&cookie.name.as_str())).collect()
}

/// The console reports a refused sign-in as a network error; every other message is a defect of ours.
fn assert_no_console_error(browser: &Chromium) {
    let expected =
        |line: &String| line.contains("/login") && line.contains("the server responded with a status of 401");
    let console_errors: Vec<String> = browser.console_errors().into_iter().filter(|line| !expected(line)).collect();
    assert_eq!(console_errors, Vec::<String>::new());
}

fn a_sign_in_returns_to_the_deep_link_and_a_sign_out_ends_every_tab(backend: Backend) {
    let site = Site::start(backend, |builder, _| builder);
    register(&site);
    let browser = Chromium::start();
    walk(&site, &browser);
    let seen = browser.run("arguments[0](document.cookie)", vec![]);
    assert!(!seen.as_str().unwrap().contains("Token"), "no script sees a token: {seen}");
}

fn sign_in_and_sign_out_work_without_scripts(backend: Backend) {
    let site = Site::start(backend, |builder, _| builder);
    register(&site);
    let browser = Chromium::start();
    let elsewhere = site.at("other.example.com", "/");
    browser.open(&elsewhere);
    browser.wait_for_text("a script ran");
    browser.without_scripts();
    browser.open(&elsewhere);
    browser.wait_for_text("no script ran");
    walk(&site, &browser);
}

fn walk(site: &Site, browser: &Chromium) {
    let deep = site.url("/deep/link?a=b&c=d");
    browser.open(&deep);
    browser.wait_for_url("the sign-in page", |url| url.contains("/login?rd="));
    sign_in(browser, "not-the-password");
    browser.wait_for_text("Incorrect email, username or password.");
    assert_eq!(browser.focused("role").as_deref(), Some("alert"), "a screen reader announces it");
    sign_in(browser, PASSWORD);
    browser.wait_for_url("the deep link", |url| url == deep);
    browser.wait_for_text("GET /deep/link?a=b&c=d");
    browser.wait_for_text("Remote-User");
    let kept = of_session(browser.cookies());
    assert_eq!(kept.len(), 2, "{kept:?}");
    for cookie in &kept {
        // A domain without a leading dot means a host-only cookie.
        let place = (cookie.domain.as_str(), cookie.path.as_str(), cookie.same_site.as_str());
        assert_eq!(place, ("app.example.com", "/", "Lax"), "{cookie:?}");
        assert!(cookie.secure && cookie.http_only, "{cookie:?}");
    }

    browser.new_tab();
    browser.open(&site.url("/account"));
    browser.wait_for_text("This device");
    browser.to_tab(0);
    browser.open(&site.url("/logout"));
    browser.click("button[type=submit]");
    browser.wait_for_text("You are signed out");
    assert_eq!(of_session(browser.cookies()).len(), 0);
    browser.to_tab(1);
    browser.reload();
    browser.wait_for_url("the sign-in page", |url| url.contains("/login?rd="));
    browser.open(&deep);
    browser.wait_for_url("the sign-in page", |url| url.contains("/login?rd="));
    assert_no_console_error(browser);
    browser.to_tab(0);
    assert_no_console_error(browser);
}

fn a_password_change_and_the_button_end_other_devices(backend: Backend) {
    let site = Site::start(backend, |builder, _| builder);
    register(&site);
    let (mut one, mut two) = (sign_in_elsewhere(&site), Browser::new(site.service.address()));
    let browser = Chromium::start();
    browser.open(&site.url("/account"));
    sign_in(&browser, PASSWORD);
    browser.wait_for_text("This device");
    let is_in = |other: &mut Browser| other.get("/auth/me").status == 200;
    assert!(is_in(&mut one));
    browser.click("button[aria-label='Sign out curl']");
    browser.wait_for_text("The device has been signed out.");
    assert!(!is_in(&mut one));

    two.clone_from(&sign_in_elsewhere(&site));
    for (current, shown) in
        [("not-the-password", "The current password is incorrect."), (PASSWORD, "has been changed.")]
    {
        browser.fill("#current", current);
        browser.fill("#new", NEW);
        browser.click("form[action='/account/password'] button");
        browser.wait_for_text(shown);
    }
    assert_eq!(browser.focused("role").as_deref(), Some("status"));
    assert!(!is_in(&mut two));
    browser.click("form[action='/account/sign-out-everywhere'] button");
    browser.wait_for_text("You are signed out");
    browser.open(&site.url("/account"));
    sign_in(&browser, NEW);
    browser.wait_for_text("This device");
    let expected = |line: &String| line.contains("/account/password") && line.contains("a status of 403");
    let console_errors: Vec<String> = browser.console_errors().into_iter().filter(|line| !expected(line)).collect();
    assert_eq!(console_errors, Vec::<String>::new());
}

fn a_websocket_of_the_app_opens_for_its_user(backend: Backend) {
    let site = Site::start(backend, |builder, _| builder);
    register(&site);
    let browser = Chromium::start();
    let socket = site.url("/socket").replace("https:", "wss:");
    let exchange = || {
        let script = "const [url, done] = arguments, socket = new WebSocket(url);
            socket.onopen = () => socket.send('hello');
            socket.onmessage = message => done(message.data);
            socket.onerror = () => done('error');";
        browser.run(script, vec![socket.clone().into()])
    };
    browser.open(&site.at("other.example.com", "/"));
    assert_eq!(exchange(), "error", "without a session");
    let page = site.url("/deep");
    browser.open(&page);
    sign_in(&browser, PASSWORD);
    browser.wait_for_url("the app's page", |url| url == page);
    browser.wait_for_text("GET /deep");
    assert_eq!(exchange(), "hello");
}
