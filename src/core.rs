//! Domain service: the shared state of a node, and the table of contents of core/. It knows rows and no HTTP. Everything here
//! is synchronous and may block: web calls it through web/blocking/, the command line and tests directly.

pub mod account;
pub mod audit;
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
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::Guard;

use crate::clock::Timestamp;
use crate::metrics::Metrics;
use crate::settings::{FreeFailures, Settings, TokenAlgorithm};
use account::identity_cache::EmailDisclosure;
use account::reserved_names::ReservedNames;
use credential::password::Hasher;
use defence::rate_limit::{LimitedAction, Writer};
use defence::throttle_policy::{ThrottleRules, TokenBucket};
use error::{InternalError, Refusal};
use keys::error::KeysError;
use keys::key_source::{FileVersion, LoadedKeys};
use keys::signing_key::PublicKey;
use maintenance::node_registry::KeyIds;
use session::caller::Client;
use token::{TokenAuthority, TokenRules};

pub use crate::store::{AccountId, AccountStatus, AccountUuid, EndReason, PendingSignUpId, SessionId};

/// The shortest interval between two probes of the database for `/readyz`.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The service, cheap to clone. Two with different settings can live side by side in one process.
#[derive(Clone)]
pub struct Core(Arc<state::CoreState>);

/// The state that clones share. Nameable inside core only: the operations are the public surface, in the files of the domains.
mod state {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::Instant;

    use arc_swap::ArcSwap;

    use super::credential::password::Hasher;
    use super::defence::duplicate_cookies::DuplicateCookies;
    use super::defence::rate_limit::RateLimiter;
    use super::keys::key_source::KeySource;
    use super::maintenance::node_registry::NodeRegistry;
    use super::registration::mail_queue::MailQueue;
    use super::revocation::cache::RevocationCache;
    use super::session::confirmations::PendingConfirmations;
    use super::token::TokenAuthority;
    use super::{KeysSnapshot, Rules};
    use crate::clock::Clock;
    use crate::metrics::Metrics;
    use crate::store::Store;

    pub struct CoreState {
        pub(in crate::core) store: Store,
        pub(in crate::core) clock: Clock,
        pub(in crate::core) rules: Rules,
        pub(in crate::core) metrics: Metrics,
        pub(in crate::core) hasher: Hasher,
        pub(in crate::core) tokens: ArcSwap<TokenAuthority>,
        pub(in crate::core) keys: KeySource,
        pub(in crate::core) keys_snapshot: Mutex<KeysSnapshot>,
        pub(in crate::core) keys_unusable: AtomicBool,
        pub(in crate::core) node_registry: NodeRegistry,
        pub(in crate::core) revocation_cache: RevocationCache,
        pub(in crate::core) confirmations: PendingConfirmations,
        pub(in crate::core) rate_limiter: RateLimiter,
        pub(in crate::core) duplicate_cookies: DuplicateCookies,
        pub(in crate::core) mail_queue: Option<MailQueue>,
        pub(in crate::core) last_probe: Mutex<Option<Instant>>,
        /// Milliseconds; see `cover_access_ttl`.
        pub(in crate::core) longest_access_ttl: AtomicU64,
    }
}

/// Which version of the keys file is in memory.
#[derive(Debug)]
struct KeysSnapshot {
    version: Option<FileVersion>,
    /// Whether a key in it is not active yet, so that it must be evaluated again.
    pending: bool,
}

/// The settings that the operations depend on.
#[derive(Debug, Clone)]
struct Rules {
    session_max_age: Duration,
    refresh_grace: Duration,
    refresh_lost_after: Duration,
    verify_renew_max: Duration,
    sessions_max: i64,
    revocation_max_stale: Duration,
    password_min_length: usize,
    signup: bool,
    signup_role: String,
    reserved_names: ReservedNames,
    email_disclosure: EmailDisclosure,
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
    type Target = state::CoreState;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Core {
    /// Counts an action of a client's address, and refuses it above the rate limit.
    pub fn check_rate_limit(&self, action: LimitedAction, client: &Client) -> Result<(), Refusal> {
        let Some(address) = client.address else { return Ok(()) };
        self.rate_limiter.check(action, address).map_or(Ok(()), |wait| Err(Refusal::RateLimited(wait)))
    }

    /// Counts a write of a signed-in caller, and refuses it above the rate limit.
    fn check_write_rate(&self, writer: Writer) -> Result<(), Refusal> {
        self.rate_limiter.check_write(writer).map_or(Ok(()), |wait| Err(Refusal::RateLimited(wait)))
    }

    /// The password hasher; its calls are slow on purpose.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long ago the revocation cache last agreed with the table.
    pub fn revocation_cache_age(&self) -> Duration {
        self.revocation_cache.age()
    }

    /// The metrics of this node.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the database can be read and written. Probes it once a second at most, since anybody may request `/readyz`.
    pub fn is_ready(&self) -> bool {
        let due = self.last_probe.try_lock().is_ok_and(|mut last| {
            let due = last.is_none_or(|at| at.elapsed() >= PROBE_INTERVAL);
            if due {
                *last = Some(Instant::now());
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

    /// All metrics as text, after an update of the gauges.
    pub fn metrics_text(&self) -> Result<String, InternalError> {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.cache.age.set(self.revocation_cache.age().as_secs_f64());
        self.metrics.cache.entries.set(count(self.revocation_cache.len()));
        self.metrics.confirmations_pending.set(count(self.confirmations.pending().len()));
        self.metrics.text().map_err(|cause| InternalError::broken_by("metrics", cause))
    }

    /// The keys with which other services verify access tokens: `kid` and public key of every trusted key pair.
    pub fn public_keys(&self) -> Vec<(String, PublicKey)> {
        self.tokens().public_keys()
    }

    /// The algorithm of the settings, if the active signing key has another: it applies from the next rotation.
    pub fn pending_algorithm(&self) -> Option<TokenAlgorithm> {
        self.keys.algorithm.filter(|configured| *configured != self.tokens().active_algorithm())
    }

    /// The authority of the current keys. To be held for one operation, so that it uses one set of keys throughout.
    fn tokens(&self) -> Guard<Arc<TokenAuthority>> {
        self.0.tokens.load()
    }

    /// Reads the keys file again if it has changed, or if a key in it becomes active. Returns the id of a new active key.
    fn reload_keys_if_changed(&self) -> Result<Option<String>, KeysError> {
        let version = self.keys.version();
        let mut snapshot = self.keys_snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let is_replaced = snapshot.version != version;
        if !self.keys.uses_file() || version.is_none() || !(is_replaced || snapshot.pending) {
            return Ok(None);
        }
        let loaded = self.keys.load(self.now())?;
        self.node_registry.set_keys(KeyIds::of(&loaded));
        let LoadedKeys { ring, peppers, pending, .. } = loaded;
        self.hasher.replace_peppers(peppers);
        let is_changed = self.tokens().active_key_id() != ring.active().id;
        *snapshot = KeysSnapshot { version, pending };
        if !(is_replaced || is_changed) {
            return Ok(None);
        }
        let id = ring.active().id.clone();
        match TokenAuthority::new(self.rules.tokens.clone(), &ring) {
            Ok(authority) => self.0.tokens.store(Arc::new(authority)),
            Err(error) => log::error!(error:%; "cannot sign with the new keys; the previous ones stay in use"),
        }
        Ok(is_changed.then_some(id))
    }
}

impl Rules {
    fn new(settings: &Settings) -> Self {
        let issuer = settings.issuer();
        Self {
            session_max_age: settings.tokens.session_max_age,
            refresh_grace: settings.tokens.refresh_grace,
            refresh_lost_after: settings.tokens.refresh_lost_after,
            verify_renew_max: settings.forward_auth.verify_renew_max,
            sessions_max: settings.tokens.sessions_max.into(),
            revocation_max_stale: settings.tokens.revocation_max_stale,
            password_min_length: usize::from(settings.passwords.password_min_length),
            signup: settings.passwords.allows_signup(),
            signup_role: settings.passwords.signup_role.clone(),
            reserved_names: ReservedNames::new(&settings.passwords.reserved_names),
            email_disclosure: if settings.forward_auth.remote_email_unproved {
                EmailDisclosure::All
            } else {
                EmailDisclosure::Verified
            },
            throttle: ThrottleRules {
                free: match settings.throttle.throttle_free_failures {
                    FreeFailures::Some(count) => Some(count),
                    FreeFailures::All => None,
                },
                first_wait: settings.throttle.throttle_first_wait,
                max_wait: settings.throttle.throttle_longest_wait,
                address: TokenBucket::new(settings.throttle.throttle_address),
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
