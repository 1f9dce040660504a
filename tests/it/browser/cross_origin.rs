//! CORS in a real browser: a page of a listed origin reads answers with `fetch` and `credentials: 'include'`, a page of
//! any other origin reads nothing and changes nothing. And a sign-in redirects back to another listed host.

use serde_json::json;

use super::site::Site;
use super::webdriver::Chromium;
use crate::support::{Backend, PASSWORD, on_sqlite};

on_sqlite!(cors_answers_only_listed_origins, a_sign_in_redirects_back_to_another_listed_host);

/// Sends the request and reports status and body, or that the browser denied the page the answer.
const FETCH: &str = "const [url, options, done] = arguments;
    fetch(url, { credentials: 'include', ...options })
        .then(async answer => done({ status: answer.status, body: await answer.text() }))
        .catch(() => done({ status: 'none' }));";

fn json_post(body: &serde_json::Value) -> serde_json::Value {
    json!({ "method": "POST", "headers": { "Content-Type": "application/json" }, "body": body.to_string() })
}

fn cors_answers_only_listed_origins() {
    let site = Site::start(Backend::Sqlite, |builder, port| {
        builder.set("CORS_ORIGINS", format!("https://spa.example.com:{port}"))
    });
    let account = json!({ "username": "emily", "password": PASSWORD });
    let browser = Chromium::start();
    let send_request =
        |path: &str, options: serde_json::Value| browser.run(FETCH, vec![json!(site.url(path)), options]);

    browser.open(&site.at("spa.example.com", "/"));
    assert_eq!(send_request("/auth/me", json!({}))["status"], 401);
    assert_eq!(send_request("/auth/register", json_post(&account))["status"], 201, "after a preflight");
    let me = send_request("/auth/me", json!({}));
    assert_eq!(me["status"], 200, "{me}");
    assert!(me["body"].as_str().unwrap().contains("emily"), "with the cookies that were set: {me}");
    assert_eq!(send_request("/auth/refresh", json_post(&json!({})))["status"], 200);
    for name in ["X-Own", "traceparent", "X-Requested-With"] {
        let headers = json!({ "headers": { name: "1" } });
        assert_eq!(send_request("/auth/me", headers)["status"], 200, "{name}: a listed origin sends what it likes");
    }
    assert_eq!(send_request("/auth/me", json!({ "method": "PUT" }))["status"], "none", "nor a method");

    // A sibling host, to which the browser sends the cookies, and a foreign site.
    for host in ["evil.example.com", "evil.test"] {
        browser.open(&site.at(host, "/"));
        for (path, options) in [
            ("/auth/me", json!({})),
            ("/auth/logout", json_post(&json!({}))),
            ("/auth/login", json_post(&account)),
            ("/auth/logout", json!({ "method": "POST" })),
            ("/login", json!({})),
        ] {
            assert_eq!(send_request(path, options.clone())["status"], "none", "{host} {path} {options}");
        }
        // In mode `no-cors` there is no preflight, so the service itself must refuse the request.
        for (path, body) in [("/auth/logout", ""), ("/logout", "token=x"), ("/account/sign-out-everywhere", "token=x")]
        {
            let options = json!({
                "method": "POST", "mode": "no-cors", "body": body,
                "headers": { "Content-Type": "application/x-www-form-urlencoded" },
            });
            assert_eq!(send_request(path, options)["status"], "none", "{host} {path}");
        }
    }
    browser.open(&site.at("spa.example.com", "/"));
    assert_eq!(send_request("/auth/me", json!({}))["status"], 200, "the session lives");
    assert_eq!(send_request("/auth/logout", json_post(&json!({})))["status"], 200);
    assert_eq!(send_request("/auth/me", json!({}))["status"], 401);
}

fn a_sign_in_redirects_back_to_another_listed_host() {
    let site = Site::start(Backend::Sqlite, |builder, _| builder);
    let browser = Chromium::start();
    let back = site.at("other.example.com", "/landing?a=b");
    let query: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
    browser.open(&site.url(&format!("/register?rd={query}")));
    browser.fill("#username", "emily");
    browser.fill("#password", PASSWORD);
    browser.click("button[type=submit]");
    browser.wait_for_url("the other host", |url| url == back);
    browser.open(&site.url(&format!("/logout?rd={query}")));
    browser.click("button[type=submit]");
    browser.wait_for_url("the other host", |url| url == back);
    browser.open(&site.url(&format!("/login?rd={query}")));
    browser.wait_for_text("to continue to other.example.com");
    browser.fill("#identifier", "emily");
    browser.fill("#password", PASSWORD);
    browser.click("button[type=submit]");
    browser.wait_for_url("the other host", |url| url == back);
    assert_eq!(browser.console_errors(), Vec::<String>::new(), "no content security policy blocked it");
}
