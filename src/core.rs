//! What the service can do, over rows and without a wire: the table of contents of core/. Everything here is synchronous;
//! web reaches it through web/run.rs, the command line and tests directly.

pub mod account;
pub mod assertion;
pub mod audit;
pub mod bounded_map;
pub mod caller;
pub mod demo;
pub mod duplicate_cookies;
pub mod feed;
pub mod form_token;
pub mod housekeeping;
pub mod identifier;
pub mod identity;
pub mod import;
pub mod known_device;
pub mod letters;
pub mod opaque_token;
pub mod password;
pub mod rate_limit;
pub mod receipt;
pub mod refresh;
pub mod refusal;
pub mod renewal;
pub mod revocation;
pub mod session;
pub mod sign_in;
pub mod sign_out;
pub mod sign_up;
pub mod sign_up_mails;
pub mod signing_key;
pub mod silent_sign_up;
pub mod throttle;
pub mod token;
pub mod worker;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use crate::clock::{Clock, Timestamp};
use crate::metrics::Metrics;
use crate::settings::{Free, Settings, TokenAlgorithm};
use crate::store::{self, Store};
use duplicate_cookies::DuplicateCookies;
use password::Hasher;
use rate_limit::{RateLimiter, RateLimits};
use receipt::Receipts;
use refusal::Fault;
use sign_up_mails::Mailing;
use signing_key::{FileVersion, KeySource, KeysError, LoadedKeys, PublicKey};
use throttle::ThrottleRules;
use token::{TokenGate, TokenRules};
use worker::Worker;

pub use crate::store::{AccountId, AccountStatus, Id128, SessionId};

/// How often a change is tried to answer `/readyz`.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The service, cheap to clone. Two with different settings live side by side in one process.
#[derive(Clone)]
pub struct Core(Arc<Inner>);

/// What the clones share.
pub struct Inner {
    store: Store,
    clock: Clock,
    rules: Rules,
    metrics: Metrics,
    hasher: Hasher,
    gate: ArcSwap<TokenGate>,
    keys: KeySource,
    keys_read: Mutex<KeysRead>,
    keys_unusable: AtomicBool,
    view: revocation::View,
    receipts: Receipts,
    rate_limiter: RateLimiter,
    duplicate_cookies: DuplicateCookies,
    mailing: Option<Mailing>,
    probed: Mutex<Option<Instant>>,
}

/// Which state of the keys file is in memory.
#[derive(Debug)]
struct KeysRead {
    version: FileVersion,
    /// Whether something in it waits for its time, so that it must be looked at again.
    pending: bool,
}

/// The settings that rules of the core depend on.
#[derive(Debug, Clone)]
struct Rules {
    session_max_age: Duration,
    refresh_grace: Duration,
    revocation_max_stale: Duration,
    password_min_length: usize,
    signup: bool,
    signup_role: String,
    throttle: ThrottleRules,
    audit_retention: Duration,
    tokens: TokenRules,
}

/// Why a service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error("DATABASE_URL: {0}; start the database, or set DATABASE_URL to one that runs")]
    Database(store::Error),
    /// Its tables.
    #[error(
        "DATABASE_URL: the tables are {0} migrations behind this version; run `doorward migrate`, or set AUTO_MIGRATE=true"
    )]
    MigrationsPending(usize),
    /// A database with accounts and no keys file: a new pepper would make every password wrong.
    #[error(
        "KEYS_FILE: there is no {} but the database has accounts, whose passwords need its pepper; \
         set KEYS_FILE to where it is, or restore it", .0.display()
    )]
    KeysMissing(std::path::PathBuf),
    /// The way to the mail server.
    #[error("SMTP_URL: {0}")]
    Mail(String),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A defect.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What opening found and made.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The migrations that ran.
    pub migrations: Vec<String>,
    /// Whether the keys file was made just now.
    pub keys_created: bool,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("database", self.0.store.url()).finish_non_exhaustive()
    }
}

impl std::ops::Deref for Core {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Core {
    /// Opens database and keys, brings the tables up to date if the settings say so, and reads every revocation.
    pub fn open(settings: &Settings, clock: Clock) -> Result<(Self, Opened), OpenError> {
        let database = &settings.database;
        let metrics = Metrics::new().map_err(|why| Fault::Broken(format!("metrics: {why}")))?;
        let (size, timeout) = (database.database_connections, database.database_timeout);
        let store = Store::open(&database.database_url, size, timeout, metrics.clone()).map_err(OpenError::Database)?;
        let migrations = migrate_if_wanted(&store, database.auto_migrate)?;
        let keys = KeySource {
            file: settings.keys_file(),
            jwt_secret: settings.keys.jwt_secret.clone(),
            pepper: settings.keys.pepper.clone(),
            algorithm: settings.keys.token_algorithm,
            settle: settings.tokens.revocation_max_stale / 2,
            longest_life: settings.longest_refresh_ttl(),
        };
        if keys.uses_file()
            && !keys.file.exists()
            && store::when_unlocked(|| store.has_accounts()).map_err(OpenError::Database)?
        {
            return Err(OpenError::KeysMissing(keys.file));
        }
        // Before the file is read: a change in between is seen in the next round.
        let version = keys.version();
        let loaded = keys.load_or_create(clock.now())?;
        let rules = Rules::new(settings);
        let rate_limits = RateLimits {
            sign_ups: settings.throttle.throttle_sign_ups,
            refreshes: settings.throttle.throttle_refreshes,
        };
        let inner = Inner {
            gate: ArcSwap::from_pointee(TokenGate::new(rules.tokens.clone(), &loaded.ring)?),
            hasher: Hasher::new(loaded.peppers, settings.passwords.bcrypt_cost),
            keys_read: Mutex::new(KeysRead { version, pending: loaded.pending }),
            keys_unusable: AtomicBool::new(false),
            keys,
            view: revocation::View::default(),
            receipts: Receipts::default(),
            rate_limiter: RateLimiter::new(rate_limits, &clock),
            duplicate_cookies: DuplicateCookies::new(&clock),
            mailing: Mailing::new(settings).map_err(OpenError::Mail)?,
            probed: Mutex::new(None),
            store,
            clock,
            rules,
            metrics,
        };
        let core = Self(Arc::new(inner));
        store::when_unlocked(|| core.read_revocations()).map_err(OpenError::Database)?;
        core.tidy_view().map_err(OpenError::Database)?;
        Ok((core, Opened { migrations, keys_created: loaded.created }))
    }

    /// Starts what a node does by itself.
    pub fn start_background(&self) -> Result<Vec<Worker>, Fault> {
        let mut threads = vec![housekeeping::start(self.clone())?, feed::start(self.clone())?];
        if let Some(mailing) = &self.mailing {
            threads.push(mailing.start(self.clone())?);
        }
        Ok(threads)
    }

    /// What hashes secrets; its calls take long.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How old the memory of revocations is.
    pub fn view_age(&self) -> Duration {
        self.view.age()
    }

    /// What this node counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the database answers and takes changes. Asks it once a second at most, since this is for everybody to ask.
    pub fn is_ready(&self) -> bool {
        let due = self.probed.try_lock().is_ok_and(|mut probed| {
            let due = probed.is_none_or(|at| at.elapsed() >= PROBE_EVERY);
            if due {
                *probed = Some(Instant::now());
            }
            due
        });
        if due {
            let _ = self.store.probe();
        }
        !self.store.is_away()
    }

    /// Notes that a request stopped waiting for the database.
    pub fn note_silence(&self) {
        self.store.note_silence();
    }

    /// The counters as text, with what is known only at this moment.
    pub fn metrics_text(&self) -> Result<String, Fault> {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.view_age.set(self.view.age().as_secs_f64());
        self.metrics.view_entries.set(count(self.view.len()));
        self.metrics.receipts_unwritten.set(count(self.receipts.unwritten().len()));
        self.metrics.text().map_err(|why| Fault::Broken(format!("metrics: {why}")))
    }

    /// What other services check access tokens with: the `kid` and public half of every believed key that has one.
    pub fn public_keys(&self) -> Vec<(String, PublicKey)> {
        self.gate().public_keys()
    }

    /// The algorithm that the signing key should have by the settings and has not.
    pub fn algorithm_in_waiting(&self) -> Option<TokenAlgorithm> {
        self.keys.algorithm.filter(|wanted| wanted.as_str() != self.gate().active_algorithm())
    }

    /// The current keys; held for one operation.
    fn gate(&self) -> Guard<Arc<TokenGate>> {
        self.gate.load()
    }

    /// Takes the keys from the file again if it is another one than before; the new active key's id.
    fn reload_keys_if_changed(&self) -> Result<Option<String>, KeysError> {
        let version = self.keys.version();
        let mut read = self.keys_read.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = read.version != version;
        if !self.keys.uses_file() || version.is_none() || !(replaced || read.pending) {
            return Ok(None);
        }
        let LoadedKeys { ring, peppers, pending, .. } = self.keys.load(self.now())?;
        self.hasher.follow(peppers);
        let changed = self.gate().active_key_id() != ring.active().id;
        *read = KeysRead { version, pending };
        if !(replaced || changed) {
            return Ok(None);
        }
        let id = ring.active().id.clone();
        match TokenGate::new(self.rules.tokens.clone(), &ring) {
            Ok(gate) => self.gate.store(Arc::new(gate)),
            Err(fault) => log::error!(error:% = fault; "the new keys cannot sign"),
        }
        Ok(changed.then_some(id))
    }
}

/// Brings the tables up to date, or refuses to go on without; names what ran.
fn migrate_if_wanted(store: &Store, wanted: bool) -> Result<Vec<String>, OpenError> {
    if wanted {
        return store.migrate().map_err(OpenError::Database);
    }
    match store.pending_migrations().map_err(OpenError::Database)? {
        0 => Ok(Vec::new()),
        pending => Err(OpenError::MigrationsPending(pending)),
    }
}

/// Brings a database to this version's tables, without keys; names what ran.
pub fn migrate(url: &store::DatabaseUrl) -> Result<Vec<String>, store::Error> {
    let metrics = Metrics::new().map_err(|why| store::Error::Broken(why.to_string()))?;
    Store::open(url, 1, Duration::from_secs(2), metrics)?.migrate()
}

/// How many migrations a database lacks; changes nothing.
pub fn pending_migrations(url: &store::DatabaseUrl) -> Result<usize, store::Error> {
    let metrics = Metrics::new().map_err(|why| store::Error::Broken(why.to_string()))?;
    Store::open(url, 1, Duration::from_secs(2), metrics)?.pending_migrations()
}

impl Rules {
    fn new(settings: &Settings) -> Self {
        let issuer = settings.issuer();
        Self {
            session_max_age: settings.tokens.session_max_age,
            refresh_grace: settings.tokens.refresh_grace,
            revocation_max_stale: settings.tokens.revocation_max_stale,
            password_min_length: usize::from(settings.passwords.password_min_length),
            signup: settings.passwords.signup,
            signup_role: settings.passwords.signup_role.clone(),
            throttle: ThrottleRules {
                free: match settings.throttle.throttle_free_failures {
                    Free::Some(count) => Some(count),
                    Free::All => None,
                },
                first_wait: settings.throttle.throttle_first_wait,
                longest_wait: settings.throttle.throttle_longest_wait,
            },
            audit_retention: settings.database.audit_retention,
            tokens: TokenRules {
                audience: settings.tokens.audience.clone().unwrap_or_else(|| issuer.clone()),
                clock_skew: settings.tokens.clock_skew,
                issuer,
            },
        }
    }
}
