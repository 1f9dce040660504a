//! What the service can do, over rows and without a wire: the table of contents of core/. Everything here is synchronous;
//! web reaches it through web/blocking.rs, the command line and tests directly.

pub mod account;
pub mod audit;
pub mod caller;
pub mod credential;
pub mod defence;
pub mod error;
pub mod keys;
pub mod maintenance;
pub mod registration;
pub mod revocation;
pub mod session;
pub mod startup;
pub mod token;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use crate::clock::{Clock, Timestamp};
use crate::metrics::Metrics;
use crate::settings::{FreeFailures, Settings, TokenAlgorithm};
use crate::store::Store;
use caller::Client;
use credential::password::Hasher;
use defence::duplicate_cookies::DuplicateCookies;
use defence::rate_limit::{LimitedAction, RateLimiter};
use defence::throttle_policy::ThrottleRules;
use error::{InternalError, Refusal};
use keys::key_source::{FileVersion, KeySource, LoadedKeys};
use keys::signing_key::{KeysError, PublicKey};
use registration::mail_queue::MailQueue;
use session::confirmations::PendingConfirmations;
use token::{TokenAuthority, TokenRules};

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
    gate: ArcSwap<TokenAuthority>,
    keys: KeySource,
    keys_read: Mutex<KeysRead>,
    keys_unusable: AtomicBool,
    view: revocation::cache::View,
    confirmations: PendingConfirmations,
    rate_limiter: RateLimiter,
    duplicate_cookies: DuplicateCookies,
    mail_queue: Option<MailQueue>,
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
    /// Counts an action, and refuses it if its client's address exceeds the limit.
    pub fn check_rate_limit(&self, action: LimitedAction, client: &Client) -> Result<(), Refusal> {
        let Some(address) = client.address else { return Ok(()) };
        self.rate_limiter.check(action, address).map_or(Ok(()), |wait| Err(Refusal::Throttled(wait)))
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
        !self.store.is_unavailable()
    }

    /// Records that a request stopped waiting for the database.
    pub fn record_database_timeout(&self) {
        self.store.record_timeout();
    }

    /// The counters as text, with what is known only at this moment.
    pub fn metrics_text(&self) -> Result<String, InternalError> {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.cache.age.set(self.view.age().as_secs_f64());
        self.metrics.cache.entries.set(count(self.view.len()));
        self.metrics.confirmations_pending.set(count(self.confirmations.unwritten().len()));
        self.metrics.text().map_err(|why| InternalError::broken_by("metrics", why))
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
    fn gate(&self) -> Guard<Arc<TokenAuthority>> {
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
        self.hasher.replace_peppers(peppers);
        let changed = self.gate().active_key_id() != ring.active().id;
        *read = KeysRead { version, pending };
        if !(replaced || changed) {
            return Ok(None);
        }
        let id = ring.active().id.clone();
        match TokenAuthority::new(self.rules.tokens.clone(), &ring) {
            Ok(gate) => self.gate.store(Arc::new(gate)),
            Err(fault) => log::error!(error:% = fault; "the new keys cannot sign"),
        }
        Ok(changed.then_some(id))
    }
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
                    FreeFailures::Some(count) => Some(count),
                    FreeFailures::All => None,
                },
                first_wait: settings.throttle.throttle_first_wait,
                max_wait: settings.throttle.throttle_longest_wait,
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
