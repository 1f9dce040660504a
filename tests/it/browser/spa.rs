//! Single-page apps in a real browser: the client of docs/spa.md as it stands there, in each combination of page and API that the
//! document names, those that do not work included.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use doorward::testing::TestService;
use serde_json::{Value, json};

use super::site::Site;
use super::webdriver::Chromium;
use crate::support::child_server::{Daemon, find};
use crate::support::{Backend, PASSWORD, on_sqlite};

on_sqlite!(
    the_documented_client_works_on_a_subdomain,
    the_documented_client_works_behind_a_development_proxy,
    the_documented_client_works_without_a_proxy_on_the_same_host_name,
    cookies_of_another_host_name_are_dropped,
    cookies_of_another_site_are_dropped,
);

/// The first example of the document, with this URL of the API.
fn client(api: &str) -> String {
    let page = include_str!("../../../docs/spa.md");
    let example = page.split("```js\n").nth(1).unwrap().split("```").next().unwrap();
    let first = example.lines().next().unwrap();
    assert!(first.starts_with("const api = \"\""), "{first}");
    example.replace(first, &format!("const api = {api:?};"))
}

/// Runs an expression after the client; what it returns, as JSON.
fn run(browser: &Chromium, api: &str, expression: &str) -> Value {
    let script = format!(
        "const done = arguments[arguments.length - 1];\n{}\n(async () => {{ {expression} }})().then(done, why => done(String(why)));",
        client(api)
    );
    browser.run(&script, vec![])
}

const STATUSES: &str =
    "const post = (path, body) => call(path, { method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body) });";

fn sign_up(browser: &Chromium, api: &str) -> Value {
    let account = json!({ "username": "emily", "password": PASSWORD });
    run(browser, api, &format!("{STATUSES} return (await post('/auth/register', {account})).status;"))
}

fn session(browser: &Chromium, api: &str) -> Value {
    run(browser, api, "return (await call('/auth/session')).json();")
}

/// The walk of a page that works: sign-up, reload, expiry, several requests at once, sign-out.
fn assert_it_works(browser: &Chromium, service: &TestService, api: &str) {
    assert_eq!(session(browser, api), Value::Null, "a stranger");
    assert_eq!(sign_up(browser, api), 201);
    assert_eq!(session(browser, api)["user"]["username"], "emily");
    service.advance(Duration::from_secs(3600));
    assert_eq!(session(browser, api), json!({ "refreshable": true }));
    let refreshes = |service: &TestService| {
        let text = service.core().metrics_text().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("doorward_refreshes_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = refreshes(service);
    let all = "return Promise.all([1, 2, 3, 4, 5].map(async () => (await call('/auth/me')).status));";
    assert_eq!(run(browser, api, all), json!([200, 200, 200, 200, 200]), "on a dead access token");
    // A 401 that arrives after the shared refresh has ended begins another one.
    let shared = refreshes(service) - before;
    assert!((1..5).contains(&shared), "{shared} refreshes for five requests");
    assert_eq!(run(browser, api, "return (await call('/auth/logout', { method: 'POST' })).status;"), 200);
    assert_eq!(session(browser, api), Value::Null);
}

fn the_documented_client_works_on_a_subdomain() {
    let site = Site::start(Backend::Sqlite, |builder, port| {
        builder.set("CORS_ORIGINS", format!("https://spa.example.com:{port}"))
    });
    let browser = Chromium::start();
    browser.open(&site.at("spa.example.com", "/"));
    assert_it_works(&browser, &site.service, site.url("").trim_end_matches('/'));
}

/// A page, and what a development server passes on under `/auth`: with another `Host`, as their proxies do.
fn development_server(api: SocketAddr) -> Daemon {
    Daemon::start("nginx", |folder: &Path, listen: SocketAddr| {
        let path = folder.display();
        let text = format!(
            "daemon off;\npid {path}/nginx.pid;\nerror_log {path}/error.log notice;\nevents {{}}\nhttp {{\naccess_log off;\n\
             client_body_temp_path {path}/body;\nproxy_temp_path {path}/proxy;\nserver {{\nlisten {listen};\ndefault_type text/html;\n\
             location /auth/ {{ proxy_pass http://{api}; }}\n\
             location / {{ return 200 '<!doctype html><link rel=icon href=data:,><title>app</title>'; }}\n}}\n}}\n"
        );
        std::fs::write(folder.join("nginx.conf"), text).unwrap();
        let mut command = Command::new(find("nginx", "nginx-light"));
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
        command
    })
}

fn the_documented_client_works_behind_a_development_proxy() {
    let service = Backend::Sqlite.service().start();
    let server = development_server(service.address());
    for host in ["localhost", "127.0.0.1"] {
        let service_of_host = Backend::Sqlite.service().start();
        let server = if host == "localhost" { &server } else { &development_server(service_of_host.address()) };
        let service = if host == "localhost" { &service } else { &service_of_host };
        let browser = Chromium::start();
        browser.open(&format!("http://{host}:{}/", server.address().port()));
        assert_it_works(&browser, service, "");
    }
}

/// A page of its own origin, and a service that lists it.
fn listed(host: &str) -> (TestService, Daemon, String) {
    // The page's port is known once it is served, so the service starts afterwards and the proxy leads nowhere.
    let server = development_server("127.0.0.1:1".parse().unwrap());
    let page = format!("http://{host}:{}", server.address().port());
    let service = Backend::Sqlite.service().set("CORS_ORIGINS", page.clone()).start();
    (service, server, page)
}

fn the_documented_client_works_without_a_proxy_on_the_same_host_name() {
    for host in ["localhost", "127.0.0.1"] {
        let (service, _server, page) = listed(host);
        let browser = Chromium::start();
        browser.open(&page);
        assert_it_works(&browser, &service, &format!("http://{host}:{}", service.address().port()));
    }
}

fn cookies_of_another_host_name_are_dropped() {
    for (page_host, api_host) in [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")] {
        let (service, _server, page) = listed(page_host);
        let browser = Chromium::start();
        browser.open(&page);
        let api = format!("http://{api_host}:{}", service.address().port());
        assert_eq!(sign_up(&browser, &api), 201, "answered as if all were well");
        assert_eq!(session(&browser, &api), Value::Null, "{page} {api}");
    }
}

fn cookies_of_another_site_are_dropped() {
    let site =
        Site::start(Backend::Sqlite, |builder, port| builder.set("CORS_ORIGINS", format!("https://evil.test:{port}")));
    let browser = Chromium::start();
    browser.open(&site.at("evil.test", "/"));
    let url = site.url("");
    let api = url.trim_end_matches('/');
    assert_eq!(sign_up(&browser, api), 201, "answered as if all were well");
    assert_eq!(session(&browser, api), Value::Null);
}
