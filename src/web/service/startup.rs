//! Opens a service and configures an actix app with it. This file decides the sizes of the worker pools and the order of the
//! routes. The resulting handle is in service.rs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::guard;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};

use super::mount::{Dialect, Mounted};
use super::{Doorward, Inner};
use crate::clock::Clock;
use crate::core::Core;
use crate::core::error::InternalError;
use crate::core::session::MountPolicies;
use crate::core::session::refresh::fast_path::RotationAttempt;
use crate::core::startup::{OpenError, Opened};
use crate::settings::Settings;
use crate::web::blocking;
use crate::web::blocking::{Batcher, QueueLimits, WaitEstimator, WorkShares, WorkerPool};
use crate::web::dialects;
use crate::web::endpoints::{health, jwks, metrics};
use crate::web::forward_auth;
use crate::web::forward_auth::config::ForwardAuthConfig;
use crate::web::pages;
use crate::web::request::client_address::{ClientAddresses, TrustedProxies};
use crate::web::request::origin::Origins;
use crate::web::request::request_id::RequestIds;
use crate::web::request::session_cookie::SessionCookies;
use crate::web::response::middleware::render_errors;
use crate::web::response::redirect::Redirects;
use crate::web::response::routing::no_such_route;

/// The length of the queue before the database pool, for each database connection.
const QUEUE_PER_CONNECTION: usize = 128;

/// On SQLite a request in the write queue needs a thread but no connection, and the more requests wait there, the more share
/// a commit.
const THREADS_PER_SQLITE_CONNECTION: usize = 4;

impl Doorward {
    /// Opens database and keys, with the system clock and the built-in dialects.
    pub fn open(settings: &Settings) -> Result<(Self, Opened), OpenError> {
        Self::open_with(settings, Clock::system(), dialects::ALL)
    }

    /// As `open`, with a given clock and given dialects.
    pub fn open_with(settings: &Settings, clock: Clock, dialects: &[Dialect]) -> Result<(Self, Opened), OpenError> {
        let (core, opened) = Core::open(settings, clock)?;
        let connections = settings.database.database_connections as usize;
        let is_sqlite = settings.database.database_url.file().is_some();
        let database_threads = if is_sqlite { connections * THREADS_PER_SQLITE_CONNECTION } else { connections };
        let database_queue =
            QueueLimits { capacity: connections * QUEUE_PER_CONNECTION, max_wait: settings.database.database_timeout };
        let hash_queue = QueueLimits {
            capacity: usize::from(settings.passwords.hash_queue),
            max_wait: settings.passwords.hash_queue_time,
        };
        let hashing_threads = settings.passwords.hashing_threads();
        let mounts: Vec<Mounted> =
            settings.mounts.iter().filter_map(|mount| Mounted::new(mount, dialects, settings)).collect();
        let pages = pages::mounted(settings, &mounts);
        let policies = mounts.iter().map(|mounted| mounted.policy.clone()).collect();
        let policies = covered(&core, MountPolicies::new(policies, pages.policy.clone()));
        let inner = Inner {
            database_pool: WorkerPool::start("rows", database_threads, database_queue, core.metrics(), || {}, None)?,
            // Hashes take nearly the same time, so the wait can be estimated.
            hash_pool: WorkerPool::start(
                "hash",
                hashing_threads,
                hash_queue,
                core.metrics(),
                blocking::lower_thread_priority,
                Some(WaitEstimator::new(hashing_threads, hash_queue.max_wait)),
            )?,
            work_shares: Arc::new(WorkShares::new("hash", hash_queue, core.metrics())),
            batcher: batcher(&core, database_queue)?,
            policies: Arc::new(policies),
            pages,
            theme: pages::layout::theme::Theme::new(settings),
            cookies: SessionCookies::new(settings),
            origins: Origins::new(settings),
            redirects: Redirects::new(settings),
            proxies: TrustedProxies(settings.web.trusted_proxies.clone()),
            client_addresses: ClientAddresses::new(core.metrics().proxies.clone()),
            forward_auth: ForwardAuthConfig::new(settings, native_prefix(&mounts)),
            request_ids: RequestIds::default(),
            mounts,
            database_timeout: settings.database.database_timeout.mul_f32(0.95),
            metrics_token: settings.metrics.metrics_token.clone(),
            https: settings.is_https(),
            draining: AtomicBool::new(false),
            _background: core.start_background()?,
            core,
        };
        Ok((Self(Arc::new(inner)), opened))
    }

    /// Adds health, the public keys, the pages, the checks and every mount to an actix app. The mount with the longest prefix
    /// comes first, so that one at the root does not take the requests of the others.
    pub fn configure(&self) -> impl Fn(&mut ServiceConfig) + Clone + use<> {
        let service = self.clone();
        move |app: &mut ServiceConfig| {
            let mut mounts: Vec<&Mounted> = service.0.mounts.iter().collect();
            mounts.sort_by_key(|mounted| std::cmp::Reverse(mounted.scope().len()));
            // actix tries the routes in order, and checks are by far the most frequent requests.
            app.app_data(Data::new(service.clone())).configure(forward_auth::routes(""));
            if let Some(prefix) = native_prefix(&service.0.mounts) {
                app.configure(forward_auth::routes(prefix));
            }
            app.configure(forward_auth::assertion_keys).configure(health::routes).configure(jwks::routes);
            if let Some(token) = &service.0.metrics_token {
                app.configure(metrics::guarded(token.clone()));
            }
            pages::routes(&service, &service.0.pages, app);
            for mounted in mounts {
                app.service(mount(mounted, mounted.scope().is_empty()));
            }
        }
    }

    /// Adds what answers every path that no route has, in the shape of the mount at the root. The standalone server ends with
    /// it; an embedding service has its own default instead.
    pub(in crate::web) fn configure_fallback(&self, app: &mut ServiceConfig) {
        pages::entrance(self, &self.0.pages, app);
        if let Some(root) = self.0.mounts.iter().find(|mounted| mounted.scope().is_empty()) {
            app.service(mount(root, false));
        }
    }
}

/// The policies, after core has learned how long their access tokens live.
fn covered(core: &Core, policies: MountPolicies) -> MountPolicies {
    policies.access_ttls().for_each(|ttl| core.cover_access_ttl(ttl));
    policies
}

/// The batcher of refreshes, if the database has a single writer.
fn batcher(core: &Core, limits: QueueLimits) -> Result<Option<Batcher>, InternalError> {
    if !core.batches_rotations() {
        return Ok(None);
    }
    let writer = core.clone();
    Batcher::start(limits, core.metrics(), move |batch: &[RotationAttempt]| writer.rotate_batch(batch)).map(Some)
}

/// The prefix of native, unless it is mounted at the root.
fn native_prefix(mounts: &[Mounted]) -> Option<&str> {
    let native = mounts.iter().find(|mounted| mounted.dialect.name == "native");
    native.map(Mounted::scope).filter(|scope| !scope.is_empty())
}

/// `only_owned`: paths outside the dialect's own are left to the routes that follow.
fn mount(mounted: &Mounted, only_owned: bool) -> impl actix_web::dev::HttpServiceFactory + use<> {
    let theirs = mounted.clone();
    web::scope(mounted.scope())
        .guard(guard::fn_guard(move |request| !only_owned || theirs.owns(request.head().uri.path())))
        .app_data(Data::new(mounted.clone()))
        .wrap(from_fn(render_errors))
        .configure(mounted.dialect.routes)
        .default_service(web::to(no_such_route))
}
