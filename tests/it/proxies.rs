//! Reverse proxies (nginx, Caddy, HAProxy) with the shipped configurations, in front of a real doorward and an app that
//! reports what it received: which requests reach the app, with which identity, and that no client can impersonate the
//! proxy. What the checks decide is tested in forward_auth.rs.

mod access_control;
mod authorization;
mod check_paths;
pub mod configurations;
mod doctor_walk;
mod fastcgi;
mod header_spellings;
mod identity_headers;
mod renewal;
mod uploads;
pub mod upstream_app;
mod websockets;

use doorward::testing::{Builder, TestService};
use serde_json::Value;

use crate::support::child_server::Daemon;
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD};
use configurations::Proxy;
use upstream_app::App;

/// The host name in the shipped configurations.
const HOST: &str = "app.example.com";

/// Makes each named function a test behind each proxy: `fn(Proxy)`.
macro_rules! behind_every_proxy {
    ($($name:ident),+ $(,)?) => {
        mod nginx {
            $(#[test] fn $name() { super::$name(crate::proxies::configurations::Proxy::Nginx); })+
        }
        mod caddy {
            $(#[test] fn $name() { super::$name(crate::proxies::configurations::Proxy::Caddy); })+
        }
        mod haproxy {
            $(#[test] fn $name() { super::$name(crate::proxies::configurations::Proxy::Haproxy); })+
        }
    };
}
use behind_every_proxy;

/// Makes each named function a test behind each proxy and on each backend: `fn(Proxy, Backend)`.
macro_rules! behind_every_proxy_on_both_backends {
    ($($name:ident),+ $(,)?) => {
        mod on_both_backends {
            crate::proxies::behind_every_proxy_on_both_backends!(@ nginx, Nginx, $($name),+);
            crate::proxies::behind_every_proxy_on_both_backends!(@ caddy, Caddy, $($name),+);
            crate::proxies::behind_every_proxy_on_both_backends!(@ haproxy, Haproxy, $($name),+);
        }
    };
    (@ $module:ident, $proxy:ident, $($name:ident),+) => {
        mod $module {
            use crate::support::Backend;

            crate::support::on_both_backends!($($name),+);

            $(fn $name(backend: Backend) { super::super::$name(crate::proxies::configurations::Proxy::$proxy, backend); })+
        }
    };
}
use behind_every_proxy_on_both_backends;

/// doorward, a proxy that checks with it, and the app behind.
struct Site {
    service: Option<TestService>,
    proxy: Daemon,
    app: App,
}

impl Site {
    fn start(proxy: Proxy) -> Self {
        Self::with(proxy, "", |builder| builder)
    }

    /// With a query for the check, and settings.
    fn with(proxy: Proxy, query: &str, set: impl FnOnce(Builder) -> Builder) -> Self {
        Self::on(Backend::Sqlite, proxy, query, set)
    }

    fn on(backend: Backend, proxy: Proxy, query: &str, set: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = backend.service().set("TRUSTED_PROXIES", "127.0.0.1");
        let service = set(builder.set("PUBLIC_URL", format!("http://{HOST}"))).start();
        let app = App::start();
        let proxy = proxy.start(service.address(), app.address(), query);
        Self { service: Some(service), proxy, app }
    }

    fn service(&self) -> &TestService {
        self.service.as_ref().unwrap()
    }

    fn send(&self, request: Request) -> Response {
        request.header("Host", HOST).send(self.proxy.address())
    }

    /// A browser that came through the proxy to register.
    fn register(&self, username: &str) -> Browser {
        let mut browser = Browser::new(self.proxy.address());
        let body = serde_json::json!({ "username": username, "password": PASSWORD }).to_string();
        let answer = browser.send(Request::new("POST", "/auth/register").header("Host", HOST).json(&body));
        assert_eq!(answer.status, 201, "{} {}", answer.text(), self.proxy.log());
        browser
    }
}

/// A site whose paths under /public/ need no sign-in.
fn with_public_paths(proxy: Proxy) -> (tempfile::TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, "* /public/* public\n").unwrap();
    let site = Site::with(proxy, "", |builder| builder.set("RULES_FILE", file.display().to_string()));
    (folder, site)
}

/// A request of this browser to the app.
fn get(browser: &mut Browser, target: &str) -> Response {
    browser.send(Request::new("GET", target).header("Host", HOST))
}

/// The received headers whose names are equal to this one for some servers.
fn received(answer: &Response, name: &str) -> Vec<(String, String)> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let headers: Vec<(String, String)> = match answer.json()["headers"].clone() {
        Value::Array(headers) => headers.into_iter().map(|pair| serde_json::from_value(pair).unwrap()).collect(),
        other => panic!("no headers in {other}"),
    };
    headers.into_iter().filter(|(known, _)| plain(known) == plain(name)).collect()
}
