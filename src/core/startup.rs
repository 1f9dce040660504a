//! Startup: opens database, keys and mail for a node, runs the migrations, and starts the node's background workers. The
//! state that results is core.rs's; what the workers do is maintenance/, revocation/feed.rs and registration/.

use std::sync::atomic::{AtomicBool, AtomicU64};
mod database_diagnosis;
pub mod open_error;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;

use database_diagnosis::diagnose;
pub use open_error::OpenError;

use super::account::canonical_forms;
use super::credential::password::Hasher;
use super::defence::duplicate_cookies::DuplicateCookies;
use super::defence::rate_limit::{RateLimiter, RateLimits};
use super::error::InternalError;
use super::keys::error::KeysError;
use super::keys::key_source::KeySource;
use super::maintenance::node_registry::{Comparison, KeyIds, NodeRegistry, UnsharedKey};
use super::maintenance::worker::Worker;
use super::maintenance::{housekeeping, node_registry};
use super::registration::confirmation_mail;
use super::registration::mail_queue::MailQueue;
use super::revocation::cache::RevocationCache;
use super::revocation::feed;
use super::session::confirmations::PendingConfirmations;
use super::token::TokenAuthority;
use super::{Core, KeysSnapshot, Rules, state};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::store::{self, DatabaseUrl, Store};

/// How long the command line's own store waits for the database.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest lifetime that a dialect of this service has by default: the command line opens no mounts, and revokes too.
pub(crate) const BUILT_IN_ACCESS_TTL_MAX: Duration = Duration::from_hours(24);

/// What `Core::open` changed.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The migrations that ran.
    pub migrations: Vec<String>,
    /// Whether the keys file was created.
    pub keys_created: bool,
}

fn key_source(settings: &Settings) -> KeySource {
    KeySource {
        file: settings.keys_file(),
        jwt_secret: settings.keys.jwt_secret.clone(),
        pepper: settings.keys.pepper.clone(),
        algorithm: settings.keys.token_algorithm,
        propagation_delay: settings.tokens.revocation_max_stale / 2,
        max_token_lifetime: settings.longest_refresh_ttl(),
    }
}

/// Makes an error of the store one of opening this database.
fn failed(url: &DatabaseUrl) -> impl Fn(store::StoreError) -> OpenError + '_ {
    |source| OpenError::Database { diagnosis: diagnose(url, &source), source }
}

fn new_metrics() -> Result<Metrics, OpenError> {
    Metrics::new().map_err(|error| InternalError::broken_by("the metrics cannot be registered", error).into())
}

fn open_store_of(settings: &Settings, metrics: &Metrics) -> Result<Store, OpenError> {
    let database = &settings.database;
    let (url, size, timeout) = (&database.database_url, database.database_connections, database.database_timeout);
    let store = Store::open(url, size, timeout, metrics.clone()).map_err(failed(url))?;
    refuse_other_encoding(&store)?;
    Ok(store)
}

/// A file that a command needs. The error has its whole path: a relative one is looked for where the command runs.
fn require_file(setting: &'static str, file: Option<&Path>) -> Result<(), OpenError> {
    match file.filter(|file| !file.exists()) {
        None => Ok(()),
        Some(file) => {
            Err(OpenError::FileMissing { setting, file: std::path::absolute(file).unwrap_or(file.to_owned()) })
        }
    }
}

/// A database without tables beside a keys file is a lost one, or the wrong one.
fn refuse_missing_database(keys: &KeySource, store: &Store) -> Result<(), OpenError> {
    let has_keys = keys.uses_file() && keys.file.exists();
    if has_keys && store.is_empty().map_err(failed(store.url()))? {
        return Err(database_missing(keys, store.url(), "has no tables"));
    }
    Ok(())
}

/// As above, before anything creates the file.
fn refuse_missing_file(keys: &KeySource, url: &DatabaseUrl) -> Result<(), OpenError> {
    let is_missing = url.file().is_some_and(|file| !file.exists());
    if is_missing && keys.uses_file() && keys.file.exists() {
        return Err(database_missing(keys, url, "does not exist"));
    }
    Ok(())
}

fn database_missing(keys: &KeySource, url: &DatabaseUrl, problem: &'static str) -> OpenError {
    OpenError::DatabaseMissing { url: url.clone(), problem, keys: keys.file.clone() }
}

fn refuse_other_encoding(store: &Store) -> Result<(), OpenError> {
    let encoding = store.encoding().map_err(failed(store.url()))?;
    if matches!(encoding.as_str(), "UTF8" | "UTF-8") {
        return Ok(());
    }
    Err(OpenError::Encoding { url: store.url().clone(), encoding })
}

/// Refuses keys with which this process would refuse the tokens of a running node, or the passwords of all accounts.
fn refuse_other_keys(store: &Store, own: &KeyIds, clock: &Clock) -> Result<(), OpenError> {
    let comparison = node_registry::compare(store, own, || clock.now()).map_err(failed(store.url()))?;
    let (who, kind) = match comparison {
        Comparison { other_keys: Some((kind, seen)), .. } => (
            format!(
                "a running node of this database (seen {} s ago; one that was killed counts for a minute)",
                seen.as_secs()
            ),
            kind,
        ),
        Comparison { other_pepper_before: true, .. } if store.has_accounts().map_err(failed(store.url()))? => {
            ("the node that used this database last".to_owned(), UnsharedKey::Pepper)
        }
        _ => return Ok(()),
    };
    let refused = if kind == UnsharedKey::Pepper { "passwords" } else { "tokens" };
    Err(OpenError::OtherKeys { who, kind, refused })
}

/// A database with accounts and no keys file: a new pepper would make every password wrong.
fn refuse_missing_keys(keys: &KeySource, store: &Store) -> Result<(), OpenError> {
    let is_missing = keys.uses_file() && !keys.file.exists();
    if is_missing && store::retry_while_locked(|| store.has_accounts()).map_err(failed(store.url()))? {
        return Err(OpenError::KeysMissing(keys.file.clone()));
    }
    Ok(())
}

impl Core {
    /// Opens database and keys for a service: creates what is missing, and brings the tables up to date if the settings say so.
    pub fn open(settings: &Settings, clock: Clock) -> Result<(Self, Opened), OpenError> {
        let keys = key_source(settings);
        refuse_missing_file(&keys, &settings.database.database_url)?;
        let metrics = new_metrics()?;
        let store = open_store_of(settings, &metrics)?;
        refuse_missing_database(&keys, &store)?;
        let migrations = ensure_migrated(&store, settings.database.auto_migrate)?;
        ensure_canonical_forms(&store, settings.database.auto_migrate)?;
        refuse_missing_keys(&keys, &store)?;
        let (core, keys_created) = Self::with_store(settings, clock, store, keys, metrics)?;
        Ok((core, Opened { migrations, keys_created }))
    }

    /// Opens database and keys for a command, which creates nothing: in a wrong folder it would otherwise make a second,
    /// empty service, and report success.
    pub fn open_existing(settings: &Settings, clock: Clock) -> Result<Self, OpenError> {
        let keys = key_source(settings);
        require_file("DATABASE_URL", settings.database.database_url.file())?;
        require_file("KEYS_FILE", keys.uses_file().then_some(keys.file.as_path()))?;
        let metrics = new_metrics()?;
        let store = open_store_of(settings, &metrics)?;
        ensure_migrated(&store, false)?;
        Self::with_store(settings, clock, store, keys, metrics).map(|(core, _)| core)
    }

    /// A core over a database with tables, and whether the keys file was created.
    fn with_store(
        settings: &Settings,
        clock: Clock,
        store: Store,
        keys: KeySource,
        metrics: Metrics,
    ) -> Result<(Self, bool), OpenError> {
        // Read before the file: a change in between is found by the next housekeeping round.
        let version = keys.version();
        let loaded = keys.load_or_create(clock.now())?;
        let key_ids = KeyIds::of(&loaded);
        refuse_other_keys(&store, &key_ids, &clock)?;
        let rules = Rules::new(settings);
        let rate_limits = RateLimits {
            sign_ups: settings.throttle.throttle_sign_ups,
            refreshes: settings.throttle.throttle_refreshes,
            writes: settings.throttle.write_rate,
        };
        let shared = state::CoreState {
            tokens: ArcSwap::from_pointee(TokenAuthority::new(rules.tokens.clone(), &loaded.ring)?),
            hasher: Hasher::new(loaded.peppers, settings.passwords.bcrypt_cost),
            keys_snapshot: Mutex::new(KeysSnapshot { version, pending: loaded.pending }),
            keys_unusable: AtomicBool::new(false),
            node_registry: NodeRegistry::new(key_ids),
            keys,
            revocation_cache: RevocationCache::default(),
            confirmations: PendingConfirmations::default(),
            rate_limiter: RateLimiter::new(rate_limits, &clock),
            duplicate_cookies: DuplicateCookies::new(&clock),
            mail_queue: MailQueue::new(settings).map_err(|error| OpenError::Mail(error.into()))?,
            last_probe: Mutex::new(None),
            longest_access_ttl: AtomicU64::new(0),
            store,
            clock,
            rules,
            metrics,
        };
        let core = Self(Arc::new(shared));
        core.cover_access_ttl(BUILT_IN_ACCESS_TTL_MAX.max(settings.tokens.access_ttl));
        settings.mounts.iter().filter_map(|mount| mount.access_ttl).for_each(|ttl| core.cover_access_ttl(ttl));
        store::retry_while_locked(|| core.resync_revocations()).map_err(failed(core.store.url()))?;
        core.prune_revocation_cache().map_err(failed(core.store.url()))?;
        Ok((core, loaded.created))
    }

    /// Starts the background workers.
    pub fn start_background(&self) -> Result<Vec<Worker>, InternalError> {
        // A database that cannot be written now is reported by its availability.
        if let Err(error) = self.heartbeat() {
            log::debug!(error:%; "no heartbeat at the start");
        }
        let mut workers = vec![housekeeping::start(self.clone())?, feed::start(self.clone())?];
        if self.mail_queue.is_some() {
            workers.push(confirmation_mail::start(self.clone())?);
        }
        Ok(workers)
    }
}

/// Runs the pending migrations if `auto_migrate`, and otherwise refuses to start with any; returns the names of those run.
fn ensure_migrated(store: &Store, auto_migrate: bool) -> Result<Vec<String>, OpenError> {
    if auto_migrate {
        return store.migrate().map_err(failed(store.url()));
    }
    match store.pending_migrations().map_err(failed(store.url()))? {
        0 => Ok(Vec::new()),
        pending => Err(OpenError::MigrationsPending(pending)),
    }
}

/// As `ensure_migrated`, for the canonical forms of identifiers.
fn ensure_canonical_forms(store: &Store, auto_migrate: bool) -> Result<(), OpenError> {
    let failed = failed(store.url());
    if auto_migrate {
        let adopted = store::retry_while_locked(|| canonical_forms::adopt(store)).map_err(failed)?;
        return adopted.map(|_changed| ()).map_err(OpenError::AccountsCollide);
    }
    let is_pending = store::retry_while_locked(|| canonical_forms::is_pending(store)).map_err(failed)?;
    if is_pending { Err(OpenError::OlderCanonicalForm) } else { Ok(()) }
}

/// Compares the keys and the clock of these settings with the running nodes of the database; changes nothing.
pub fn compare_with_nodes(settings: &Settings) -> Result<Comparison, OpenError> {
    let (clock, keys) = (Clock::system(), key_source(settings));
    if keys.uses_file() && !keys.file.exists() {
        return Ok(Comparison::default());
    }
    let store = open_store(&settings.database.database_url)?;
    let own = KeyIds::of(&keys.load(clock.now())?);
    refuse_other_keys(&store, &own, &clock)?;
    node_registry::compare(&store, &own, || clock.now()).map_err(failed(store.url()))
}

/// Accepts the keys of the next start as those of the database, whatever the last node had. Refused while a node runs: returns
/// how long ago it was seen.
pub fn adopt_keys(url: &DatabaseUrl) -> Result<Option<Duration>, OpenError> {
    node_registry::forget_stopped_nodes(&open_store(url)?).map_err(failed(url))
}

/// Runs the pending migrations of a database, without keys; returns their names beside the database.
pub fn migrate_database(url: &DatabaseUrl) -> Result<(Store, Vec<String>), OpenError> {
    let store = open_store(url)?;
    refuse_other_encoding(&store)?;
    let migrations = store.migrate().map_err(failed(url))?;
    ensure_canonical_forms(&store, true)?;
    Ok((store, migrations))
}

/// What `migrate` made.
#[derive(Debug)]
pub struct Migrated {
    /// The names of the migrations that ran.
    pub migrations: Vec<String>,
    /// The keys file, if it was missing and no account needs an earlier one; with why it could not be created.
    pub keys: Option<(PathBuf, Result<bool, KeysError>)>,
}

/// Runs the pending migrations of a database, and creates the keys file for a new one, so that commands can follow.
pub fn migrate(settings: &Settings) -> Result<Migrated, OpenError> {
    let (store, migrations) = migrate_database(&settings.database.database_url)?;
    let keys = key_source(settings);
    let is_missing = keys.uses_file() && !keys.file.exists();
    if !is_missing || store.has_accounts().map_err(failed(store.url()))? {
        return Ok(Migrated { migrations, keys: None });
    }
    let created = keys.load_or_create(Clock::system().now()).map(|loaded| loaded.created);
    Ok(Migrated { migrations, keys: Some((keys.file, created)) })
}

/// The number of pending migrations of a database; changes nothing.
pub fn pending_migrations(url: &DatabaseUrl) -> Result<usize, OpenError> {
    let store = open_store(url)?;
    refuse_other_encoding(&store)?;
    store.pending_migrations().map_err(failed(store.url()))
}

fn open_store(url: &DatabaseUrl) -> Result<Store, OpenError> {
    Store::open(url, 1, COMMAND_TIMEOUT, new_metrics()?).map_err(failed(url))
}
