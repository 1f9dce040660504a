//! What the service can do, over rows and without a wire: the table of contents of core/. Everything here is synchronous;
//! web reaches it through web/run.rs, the command line and tests directly.

pub mod account;
pub mod audit;
pub mod caller;
pub mod demo;
pub mod housekeeping;
pub mod identifier;
pub mod import;
pub mod opaque_token;
pub mod password;
pub mod receipt;
pub mod refresh;
pub mod refusal;
pub mod revocation;
pub mod session;
pub mod sign_in;
pub mod sign_out;
pub mod sign_up;
pub mod signing_key;
pub mod throttle;
pub mod token;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::clock::{Clock, Timestamp};
use crate::settings::{Free, Settings};
use crate::store::{self, Store};
use password::Hasher;
use receipt::Receipts;
use refusal::Fault;
use signing_key::{KeySource, KeysError};
use throttle::ThrottleRules;
use token::{TokenGate, TokenRules};

pub use crate::store::{AccountId, AccountStatus, Id128, SessionId};

/// The service, cheap to clone. Two with different settings live side by side in one process.
#[derive(Clone)]
pub struct Core(Arc<Inner>);

/// What the clones share.
pub struct Inner {
    store: Store,
    clock: Clock,
    rules: Rules,
    hasher: Hasher,
    gate: ArcSwap<TokenGate>,
    keys: KeySource,
    keys_version: Mutex<Option<(u64, i64, i64)>>,
    keys_unusable: AtomicBool,
    view: revocation::View,
    receipts: Receipts,
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
        let store = Store::open(&database.database_url, database.database_connections, database.database_timeout);
        let store = store.map_err(OpenError::Database)?;
        let migrations = if settings.database.auto_migrate {
            store.migrate().map_err(OpenError::Database)?
        } else {
            match store.pending_migrations().map_err(OpenError::Database)? {
                0 => Vec::new(),
                pending => return Err(OpenError::MigrationsPending(pending)),
            }
        };
        let keys = KeySource {
            file: settings.keys_file(),
            jwt_secret: settings.keys.jwt_secret.clone(),
            pepper: settings.keys.pepper.clone(),
            settle: settings.tokens.revocation_max_stale / 2,
        };
        if keys.uses_file()
            && !keys.file.exists()
            && store::when_unlocked(|| store.has_accounts()).map_err(OpenError::Database)?
        {
            return Err(OpenError::KeysMissing(keys.file));
        }
        let loaded = keys.load_or_create(clock.now())?;
        let rules = Rules::new(settings);
        let inner = Inner {
            gate: ArcSwap::from_pointee(TokenGate::new(rules.tokens.clone(), &loaded.ring)?),
            hasher: Hasher::new(loaded.pepper, settings.passwords.bcrypt_cost),
            keys_version: Mutex::new(if loaded.pending { None } else { keys.version() }),
            keys_unusable: AtomicBool::new(false),
            keys,
            view: revocation::View::default(),
            receipts: Receipts::default(),
            store,
            clock,
            rules,
        };
        store::when_unlocked(|| inner.view.poll(&inner.store)).map_err(OpenError::Database)?;
        Ok((Self(Arc::new(inner)), Opened { migrations, keys_created: loaded.created }))
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

    /// Whether the database answers.
    pub fn ping(&self) -> Result<(), Fault> {
        Ok(self.store.read(|db| store::accounts::find(db, AccountId(0)).map(|_| ()))?)
    }

    /// Puts a new signing key in front; running services believe it at once and sign with it within `REVOCATION_MAX_STALE`.
    pub fn rotate_signing_key(&self) -> Result<String, KeysError> {
        self.keys.rotate(self.now())
    }

    /// The current keys; held for one operation.
    fn gate(&self) -> Guard<Arc<TokenGate>> {
        self.gate.load()
    }

    /// Takes the keys from the file again if it is another one than before; the new active key's id.
    fn reload_keys_if_changed(&self) -> Result<Option<String>, KeysError> {
        if self.keys.jwt_secret.is_some() {
            return Ok(None);
        }
        let version = self.keys.version();
        let mut known = self.keys_version.lock().unwrap_or_else(PoisonError::into_inner);
        if version.is_none() || *known == version {
            return Ok(None);
        }
        let loaded = self.keys.load(self.now())?;
        // A key that waits for its time is looked at again in the next round.
        *known = if loaded.pending { None } else { version };
        let ring = loaded.ring;
        let changed = self.gate().active_key_id() != ring.active().id;
        let id = ring.active().id.clone();
        match TokenGate::new(self.rules.tokens.clone(), &ring) {
            Ok(gate) => self.gate.store(Arc::new(gate)),
            Err(fault) => log::error!(error:% = fault; "the new keys cannot sign"),
        }
        Ok(changed.then_some(id))
    }
}

/// Brings a database to this version's tables, without keys; names what ran.
pub fn migrate(url: &store::DatabaseUrl) -> Result<Vec<String>, store::Error> {
    Store::open(url, 1, Duration::from_secs(2))?.migrate()
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
            tokens: TokenRules {
                audience: settings.tokens.audience.clone().unwrap_or_else(|| issuer.clone()),
                clock_skew: settings.tokens.clock_skew,
                issuer,
            },
        }
    }
}
