//! The service handle: an opened service's core, worker pools and HTTP configuration, cheap to clone. How a service is opened
//! is decided in startup.rs; how a request reaches core, in blocking/.

pub mod embedding;
pub mod mount;
pub mod startup;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::blocking::{Batcher, WorkShares, WorkerPool};
use super::forward_auth::config::ForwardAuthConfig;
use super::pages::layout::theme::Theme;
use super::request::client_address::{ClientAddresses, TrustedProxies};
use super::request::origin::Origins;
use super::request::request_id::RequestIds;
use super::request::session_cookie::SessionCookies;
use super::response::redirect::Redirects;
use super::service::mount::Mounted;
use crate::core::Core;
use crate::core::error::InternalError;
use crate::core::maintenance::worker::Worker;
use crate::core::session::MountPolicies;
use crate::secret::Secret;
use crate::settings::Settings;

/// An opened service. Cheap to clone; `configure` adds it to an actix app as `web::Data`.
#[derive(Clone)]
pub struct Doorward(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) core: Core,
    pub(super) database_pool: WorkerPool,
    pub(super) hash_pool: WorkerPool,
    pub(super) work_shares: Arc<WorkShares>,
    pub(super) batcher: Option<Batcher>,
    pub(super) mounts: Vec<Mounted>,
    pub(super) cookies: SessionCookies,
    pub(super) origins: Origins,
    pub(super) redirects: Redirects,
    pub(super) pages: Mounted,
    pub(super) policies: Arc<MountPolicies>,
    pub(super) theme: Theme,
    pub(super) proxies: TrustedProxies,
    pub(super) client_addresses: ClientAddresses,
    pub(super) forward_auth: ForwardAuthConfig,
    pub(super) request_ids: RequestIds,
    pub(super) database_timeout: Duration,
    pub(super) metrics_token: Option<Secret>,
    pub(super) https: bool,
    pub(super) draining: AtomicBool,
    pub(super) _background: Vec<Worker>,
}

impl std::fmt::Debug for Doorward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorward").field("core", &self.0.core).finish_non_exhaustive()
    }
}

impl Doorward {
    /// The domain logic, for what no route offers.
    pub fn core(&self) -> &Core {
        &self.0.core
    }

    /// CORS middleware for the origins in the settings, for the app of an embedding service.
    pub fn cors(&self) -> actix_cors::Cors {
        self.0.origins.cors()
    }

    /// The mounted dialects.
    pub fn mounts(&self) -> &[Mounted] {
        &self.0.mounts
    }

    /// Takes from these settings what can change while requests run: the rules, and the contents of the keys file.
    pub fn reload(&self, settings: &Settings) {
        self.0.forward_auth.replace_rules(settings);
        self.0.core.reload_keys();
    }

    /// From now on `/readyz` answers 503 and connections are closed after their response.
    pub fn begin_to_drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.https
    }

    pub(super) fn cookies(&self) -> &SessionCookies {
        &self.0.cookies
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// The allowed redirect targets.
    pub fn redirects(&self) -> &Redirects {
        &self.0.redirects
    }

    pub(super) fn theme(&self) -> &Theme {
        &self.0.theme
    }

    pub(super) fn proxies(&self) -> &TrustedProxies {
        &self.0.proxies
    }

    pub(super) fn client_addresses(&self) -> &ClientAddresses {
        &self.0.client_addresses
    }

    pub(super) fn request_ids(&self) -> &RequestIds {
        &self.0.request_ids
    }

    pub(super) fn forward_auth(&self) -> &ForwardAuthConfig {
        &self.0.forward_auth
    }

    /// The token policies of all mounts; the pages' is that of sessions whose dialect is not mounted any more.
    pub(super) fn policies(&self) -> &Arc<MountPolicies> {
        &self.0.policies
    }

    pub(super) fn database_timeout(&self) -> Duration {
        self.0.database_timeout
    }

    pub(super) fn database_pool(&self) -> &WorkerPool {
        &self.0.database_pool
    }

    pub(super) fn batcher(&self) -> Option<&Batcher> {
        self.0.batcher.as_ref()
    }

    pub(super) fn hash_pool(&self) -> &WorkerPool {
        &self.0.hash_pool
    }

    pub(super) fn work_shares(&self) -> &Arc<WorkShares> {
        &self.0.work_shares
    }
}

pub(super) fn missing_doorward() -> InternalError {
    InternalError::broken("the app has no web::Data<Doorward>; add it with .configure(service.configure())")
}
