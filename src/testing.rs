//! An isolated service for a test: its own database, keys and clock, on a free port, gone when dropped. For doorward's
//! own tests and for the suites of those who build on it; cheap hashes, so never for people.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;

use crate::clock::{Clock, Timestamp};
use crate::core::Core;
use crate::core::account::demo;
use crate::settings::{KnownDialect, Settings};
use crate::web::Server;
use crate::web::dialects;
use crate::web::mount::Dialect;
use crate::web::service::Doorward;

/// Noon of an ordinary day; tests move on from here.
const START: Timestamp = Timestamp::from_seconds(1_795_262_400);

static NEXT_FOLDER: AtomicU64 = AtomicU64::new(0);

/// What a test service starts with.
#[derive(Clone)]
pub struct Builder {
    vars: BTreeMap<String, String>,
    dialects: Vec<Dialect>,
    routes: fn(&mut ServiceConfig),
    clock: Clock,
    demo: bool,
}

/// A running service that nobody else knows.
pub struct TestService {
    running: RunningServer,
    builder: Builder,
    folder: TemporaryFolder,
}

struct RunningServer {
    address: SocketAddr,
    service: Doorward,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// A temporary folder that goes with its owner.
struct TemporaryFolder(PathBuf);

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Builder {
    /// Sets a setting by its name.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vars.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a dialect to those that come with doorward.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialects.push(dialect);
        self
    }

    /// Adds routes beside the mounts.
    #[must_use]
    pub fn routes(mut self, routes: fn(&mut ServiceConfig)) -> Self {
        self.routes = routes;
        self
    }

    /// Loads the sample accounts of `serve --demo`.
    #[must_use]
    pub fn demo(mut self) -> Self {
        self.demo = true;
        self
    }

    /// Starts the service; the reason, if it cannot.
    pub fn try_start(self) -> Result<TestService, String> {
        let number = NEXT_FOLDER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("doorward-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|why| why.to_string())?;
        let folder = TemporaryFolder(folder);
        let running = self.launch(&folder.0)?;
        Ok(TestService { running, builder: self, folder })
    }

    /// Starts the service.
    pub fn start(self) -> TestService {
        self.try_start().unwrap_or_else(|why| panic!("the test service does not start: {why}"))
    }

    /// The settings as they are given over the defaults of a test.
    fn settings(&self, folder: &Path) -> Result<Settings, String> {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut vars: BTreeMap<String, String> = [
            ("BIND", "127.0.0.1:0".to_owned()),
            ("TEST_MODE", "true".to_owned()),
            ("BCRYPT_COST", "4".to_owned()),
            ("WORKERS", "2".to_owned()),
            ("DRAIN_DELAY", "0".to_owned()),
            ("DATABASE_CONNECTIONS", "4".to_owned()),
            // A machine that stalls is no database that is away; a test of the latter says so.
            ("DATABASE_TIMEOUT", "20s".to_owned()),
            ("DATABASE_URL", format!("sqlite://{}", at("doorward.db"))),
            ("KEYS_FILE", at("doorward.keys")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if self.vars.get("TEST_MODE").is_none_or(|mode| mode == "true") {
            let lifted = ["THROTTLE_FREE_FAILURES", "THROTTLE_SIGN_UPS", "THROTTLE_REFRESHES"];
            vars.extend(lifted.map(|name| (name.to_owned(), "off".to_owned())));
        }
        vars.extend(self.vars.clone());
        let known: Vec<KnownDialect> =
            self.dialects.iter().map(|dialect| KnownDialect { name: dialect.name, prefix: dialect.prefix }).collect();
        Settings::from_vars(&vars, &known).map_err(|faults| faults.to_string())
    }

    fn launch(&self, folder: &Path) -> Result<RunningServer, String> {
        let settings = self.settings(folder)?;
        let opened = Doorward::open_with(&settings, self.clock.clone(), &self.dialects);
        let (service, _) = opened.map_err(|why| why.to_string())?;
        if self.demo {
            demo::load(service.core()).map_err(|why| why.to_string())?;
        }
        let (sender, receiver) = mpsc::channel();
        let (server_service, routes) = (service.clone(), self.routes);
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = Server::bind(&server_service, &settings, routes);
                drop(server_service);
                match server {
                    Ok(server) => {
                        let _ = sender.send(Ok((server.address(), server.handle())));
                        let _ = server.run().await;
                    }
                    Err(why) => drop(sender.send(Err(why.to_string()))),
                }
            });
        });
        let (address, handle) = receiver.recv().map_err(|why| why.to_string())??;
        Ok(RunningServer { address, service, handle, thread: Some(thread) })
    }
}

impl TestService {
    /// A service over its own SQLite file, whose clock stands still.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A service that can be told more before it starts.
    pub fn builder() -> Builder {
        Builder {
            vars: BTreeMap::new(),
            dialects: dialects::ALL.to_vec(),
            routes: |_| {},
            clock: Clock::settable(START),
            demo: false,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.running.address)
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.builder.clock
    }

    /// Moves its clock forward.
    pub fn advance(&self, by: Duration) {
        self.builder.clock.advance(by);
    }

    /// The rules behind the wire, for what no wire offers: adding privileged accounts, housekeeping now.
    pub fn core(&self) -> &Core {
        self.running.service.core()
    }

    /// The folder that holds its files.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Stops it and starts it again on the same rows, keys and clock, at another address.
    pub fn restart(&mut self) {
        self.running.stop();
        self.running = self.builder.launch(&self.folder.0).unwrap_or_else(|why| panic!("no restart: {why}"));
    }
}

impl RunningServer {
    fn stop(&mut self) {
        // The command is sent by the call; awaiting it would only wait for what `join` waits for.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        self.running.stop();
    }
}
