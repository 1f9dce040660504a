//! WebDriver client for Chromium, one step at a time: each step waits until the elements it needs are present. The
//! profile is empty and is removed with the browser.

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use ureq::http::Method;

use crate::support::child_server::{Daemon, find};

/// How long a step waits for the browser on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser window.
pub struct Chromium {
    runtime: Runtime,
    client: Option<Client>,
    scripts: Cell<bool>,
    _profile: tempfile::TempDir,
    _driver: Daemon,
}

/// A cookie as the browser stores it.
#[derive(Debug)]
pub struct StoredCookie {
    pub name: String,
    pub domain: String,
    pub path: String,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: String,
}

/// What chromedriver can do beyond WebDriver: the DevTools protocol, and the console.
#[derive(Debug)]
struct Beyond {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Beyond {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

impl Chromium {
    /// Every host name resolves to this machine, whatever the network's DNS says.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let home = profile.path().to_owned();
        let driver = Daemon::start("chromedriver", |_, listen: SocketAddr| {
            let mut command = Command::new(find("chromedriver", "chromium-driver"));
            command.arg(format!("--port={}", listen.port())).env("HOME", &home);
            command
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let data = format!("--user-data-dir={}", profile.path().join("profile").display());
        let capabilities = json!({
            "goog:chromeOptions": { "binary": find("chromium", "chromium"), "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--ignore-certificate-errors", "--remote-debugging-pipe", "--lang=en-US",
                "--host-resolver-rules=MAP * 127.0.0.1", "--window-size=1000,900", data,
            ]},
            "goog:loggingPrefs": { "browser": "ALL" },
            "acceptInsecureCerts": true,
        });
        let Value::Object(capabilities) = capabilities else { panic!("no object") };
        let url = format!("http://{}", driver.address());
        let client =
            runtime.block_on(ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&url));
        let client = client.unwrap_or_else(|why| panic!("Chromium does not start: {why}\n{}", driver.log()));
        Self { runtime, client: Some(client), scripts: Cell::new(true), _profile: profile, _driver: driver }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    fn beyond(&self, path: &'static str, body: Value) -> Value {
        let shown = self.runtime.block_on(self.client().issue_cmd(Beyond { path, body }));
        shown.unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.beyond("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// Disables scripts of pages, in later tabs too; the driver's own scripts still run.
    pub fn without_scripts(&self) {
        self.scripts.set(false);
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    }

    pub fn open(&self, url: &str) {
        self.runtime.block_on(self.client().goto(url)).unwrap_or_else(|why| panic!("{url}: {why}"));
    }

    pub fn url(&self) -> String {
        self.runtime.block_on(self.client().current_url()).unwrap().to_string()
    }

    /// Waits until the address satisfies the condition.
    pub fn wait_for_url(&self, what: &str, is_there: impl Fn(&str) -> bool) {
        let arrived = async {
            loop {
                if self.client().current_url().await.is_ok_and(|url| is_there(url.as_str())) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let arrived = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, arrived).await.is_ok() });
        assert!(arrived, "{what}: still at {}\n{}", self.url(), self.text());
    }

    /// The visible text of the page.
    pub fn text(&self) -> String {
        let read = async { self.client().find(Locator::Css("body")).await?.text().await };
        self.runtime.block_on(read).unwrap_or_else(|why| format!("({why})"))
    }

    /// Waits until the page contains this text.
    pub fn wait_for_text(&self, expected: &str) {
        let shown = async {
            loop {
                let read = async { self.client().find(Locator::Css("body")).await?.text().await };
                if read.await.is_ok_and(|text| text.contains(expected)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let shown = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, shown).await.is_ok() });
        assert!(shown, "{expected:?} is not said at {}: {}", self.url(), self.text());
    }

    pub fn fill(&self, field: &str, text: &str) {
        let filled = async {
            let wait = self.client().wait().at_most(PATIENCE);
            let found = wait.for_element(Locator::Css(field)).await?;
            found.clear().await?;
            found.send_keys(text).await
        };
        self.runtime.block_on(filled).unwrap_or_else(|why| panic!("{field} at {}: {why}", self.url()));
    }

    pub fn click(&self, element: &str) {
        let clicked = async {
            let wait = self.client().wait().at_most(PATIENCE);
            wait.for_element(Locator::Css(element)).await?.click().await
        };
        self.runtime.block_on(clicked).unwrap_or_else(|why| panic!("{element} at {}: {why}", self.url()));
    }

    /// An attribute of the element that has the focus.
    pub fn focused(&self, attribute: &str) -> Option<String> {
        let read = async { self.client().active_element().await?.attr(attribute).await };
        self.runtime.block_on(read).unwrap()
    }

    /// The value that a script in the page returns; `done` is the callback that it calls.
    pub fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        let ran = self.runtime.block_on(self.client().execute_async(script, arguments));
        ran.unwrap_or_else(|why| panic!("{script}: {why}"))
    }

    /// Opens another tab and switches to it. The first tab's number is 0.
    pub fn new_tab(&self) {
        let opened = async {
            let tab = self.client().new_window(true).await?;
            self.client().switch_to_window(tab.handle).await
        };
        self.runtime.block_on(opened).unwrap();
        if !self.scripts.get() {
            self.without_scripts();
        }
    }

    pub fn to_tab(&self, number: usize) {
        let switched = async {
            let tabs = self.client().windows().await?;
            self.client().switch_to_window(tabs[number].clone()).await
        };
        self.runtime.block_on(switched).unwrap();
    }

    pub fn reload(&self) {
        self.runtime.block_on(self.client().refresh()).unwrap();
    }

    /// The cookies of every host.
    pub fn cookies(&self) -> Vec<StoredCookie> {
        let kept = self.devtools("Network.getAllCookies", &json!({}));
        let text = |cookie: &Value, name: &str| cookie[name].as_str().unwrap_or_default().to_owned();
        let read = |cookie: &Value| StoredCookie {
            name: text(cookie, "name"),
            domain: text(cookie, "domain"),
            path: text(cookie, "path"),
            secure: cookie["secure"] == true,
            http_only: cookie["httpOnly"] == true,
            same_site: text(cookie, "sameSite"),
        };
        kept["cookies"].as_array().unwrap().iter().map(read).collect()
    }

    /// The console messages since the last call: errors, and what a content security policy blocked.
    pub fn console_errors(&self) -> Vec<String> {
        let log = self.beyond("se/log", json!({ "type": "browser" }));
        log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub fn screenshot(&self) -> Vec<u8> {
        self.runtime.block_on(self.client().screenshot()).unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, client.close()).await });
        }
    }
}
