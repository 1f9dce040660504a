//! Screenshots of every page in light mode, dark mode and phone width, saved in `target/screenshots`; and no page
//! scrolls sideways on a phone.

use std::path::Path;

use serde_json::json;

use super::site::Site;
use super::webdriver::Chromium;
use crate::support::{Backend, PASSWORD, on_sqlite};

on_sqlite!(no_page_is_wider_than_a_phone);

/// Name, colour scheme, width and height.
const SHAPES: [(&str, &str, u32, u32); 3] =
    [("light", "light", 1000, 900), ("dark", "dark", 1000, 900), ("phone", "light", 390, 844)];

fn shoot(browser: &Chromium, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    for (shape, scheme, width, height) in SHAPES {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.devtools("Emulation.setDeviceMetricsOverride", &size);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools("Emulation.setEmulatedMedia", &features);
        let wide = browser
            .run("arguments[0](document.documentElement.scrollWidth - document.documentElement.clientWidth)", vec![]);
        assert_eq!(wide, 0, "{name} is wider than {width}");
        std::fs::write(folder.join(format!("{name}-{shape}.png")), browser.screenshot()).unwrap();
    }
}

fn no_page_is_wider_than_a_phone() {
    let site = Site::start(Backend::Sqlite, |builder, _| builder);
    let browser = Chromium::start();
    let deep: String = url::form_urlencoded::byte_serialize(site.url("/deep").as_bytes()).collect();
    browser.open(&site.url(&format!("/login?rd={deep}")));
    shoot(&browser, "sign-in");
    browser.fill("#identifier", "emily");
    browser.fill("#password", "not-the-password");
    browser.click("button[type=submit]");
    browser.wait_for_text("Incorrect email");
    shoot(&browser, "sign-in-refused");
    browser.open(&site.url("/register"));
    shoot(&browser, "register");
    browser.fill("#username", "em ily");
    browser.fill("#password", "password123");
    browser.click("button[type=submit]");
    browser.wait_for_text("Check the marked fields.");
    shoot(&browser, "register-refused");
    browser.fill("#email", "emily.johnson@example.com");
    browser.fill("#username", "emily");
    browser.fill("#password", PASSWORD);
    browser.click("button[type=submit]");
    browser.wait_for_text("This device");
    let body = json!({ "username": "emily", "password": PASSWORD, "deviceName": "Kitchen tablet" }).to_string();
    crate::support::http::Request::new("POST", "/auth/login").json(&body).send(site.service.address());
    browser.open(&site.url("/account?done=device"));
    shoot(&browser, "account");
    browser.fill("#current", "not-the-password");
    browser.fill("#new", "another-quiet-harbour");
    browser.click("form[action='/account/password'] button");
    browser.wait_for_text("The current password is incorrect.");
    shoot(&browser, "account-refused");
    for _ in 0..3 {
        browser.open(&site.url("/login?rd=%2Fauthor"));
    }
    browser.wait_for_text("Too many redirects");
    shoot(&browser, "circles");
    browser.open(&site.url("/logout"));
    shoot(&browser, "sign-out");
    browser.click("button[type=submit]");
    browser.wait_for_text("You are signed out");
    shoot(&browser, "signed-out");
}
