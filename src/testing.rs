//! Test harness: a complete, isolated service for one test, with its own database, keys and clock, on a free port; dropping it
//! removes everything. For doorward's own tests and those of embedders. Its hashes are cheap, so it is unfit for production.

use std::collections::BTreeMap;
use std::error::Error;
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
use crate::web::service::Doorward;
use crate::web::service::mount::Dialect;

/// The initial time of the test clock: noon of an ordinary day.
const CLOCK_START: Timestamp = Timestamp::from_seconds(1_795_262_400);

/// Numbers the temporary folders of one process.
static NEXT_FOLDER: AtomicU64 = AtomicU64::new(0);

/// The cause of a failed start: settings, database, keys or address.
pub type StartError = Box<dyn Error + Send + Sync>;

/// The configuration of a test service.
#[derive(Clone)]
pub struct Builder {
    vars: BTreeMap<String, String>,
    dialects: Vec<Dialect>,
    routes: fn(&mut ServiceConfig),
    clock: Clock,
    demo: bool,
}

/// A running service of one test.
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

/// A temporary folder, removed on drop.
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

    /// Adds a dialect to the built-in ones.
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

    /// Starts the service, or returns why it cannot start.
    pub fn try_start(self) -> Result<TestService, StartError> {
        let number = NEXT_FOLDER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("doorward-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let folder = TemporaryFolder(folder);
        let running = self.launch(&folder.0)?;
        Ok(TestService { running, builder: self, folder })
    }

    /// Starts the service.
    ///
    /// # Panics
    ///
    /// If it cannot start.
    pub fn start(self) -> TestService {
        self.try_start().unwrap_or_else(|why| panic!("the test service does not start: {why}"))
    }

    /// The test's settings over the harness's defaults.
    fn settings(&self, folder: &Path) -> Result<Settings, StartError> {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut vars: BTreeMap<String, String> = [
            ("BIND", "127.0.0.1:0".to_owned()),
            ("TEST_MODE", "true".to_owned()),
            ("BCRYPT_COST", "4".to_owned()),
            ("SIGNUP", "true".to_owned()),
            ("WORKERS", "2".to_owned()),
            ("DRAIN_DELAY", "0".to_owned()),
            ("DATABASE_CONNECTIONS", "4".to_owned()),
            // A stalled test machine must not look like an unavailable database; tests of that set a shorter timeout.
            ("DATABASE_TIMEOUT", "20s".to_owned()),
            ("DATABASE_URL", format!("sqlite://{}", at("doorward.db"))),
            ("KEYS_FILE", at("doorward.keys")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if self.vars.get("TEST_MODE").is_none_or(|mode| mode == "true") {
            let limits =
                ["THROTTLE_FREE_FAILURES", "THROTTLE_ADDRESS", "THROTTLE_SIGN_UPS", "THROTTLE_REFRESHES", "WRITE_RATE"];
            vars.extend(limits.map(|name| (name.to_owned(), "off".to_owned())));
        }
        vars.extend(self.vars.clone());
        let known: Vec<KnownDialect> = self.dialects.iter().map(Dialect::known).collect();
        Ok(Settings::from_vars(&vars, &known)?)
    }

    fn launch(&self, folder: &Path) -> Result<RunningServer, StartError> {
        let settings = self.settings(folder)?;
        let (service, _) = Doorward::open_with(&settings, self.clock.clone(), &self.dialects)?;
        if self.demo {
            demo::load(service.core())?;
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
                    Err(error) => drop(sender.send(Err(error))),
                }
            });
        });
        let (address, handle) = receiver.recv()??;
        Ok(RunningServer { address, service, handle, thread: Some(thread) })
    }
}

impl TestService {
    /// A service on a SQLite file of its own, with a stopped clock.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A builder, to configure the service before it starts.
    pub fn builder() -> Builder {
        Builder {
            vars: BTreeMap::new(),
            dialects: dialects::ALL.to_vec(),
            routes: |_| {},
            clock: Clock::settable(CLOCK_START),
            demo: false,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.running.address)
    }

    /// The service's clock.
    pub fn clock(&self) -> &Clock {
        &self.builder.clock
    }

    /// Advances the service's clock.
    pub fn advance(&self, by: Duration) {
        self.builder.clock.advance(by);
    }

    /// The core, for operations without a route: adding privileged accounts, running housekeeping.
    pub fn core(&self) -> &Core {
        self.running.service.core()
    }

    /// The folder of the service's files.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Restarts the service with the same database, keys and clock, at another address.
    pub fn restart(&mut self) {
        self.running.stop();
        self.running = self.builder.launch(&self.folder.0).unwrap_or_else(|why| panic!("no restart: {why}"));
    }
}

impl RunningServer {
    fn stop(&mut self) {
        // The call sends the command; awaiting it would only wait for the same end as `join`.
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
