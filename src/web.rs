//! What is mounted where, and the handle that ties a service together: `Doorward`. How requests become answers is in the
//! files beside; nothing here knows a rule of sessions.

pub mod answer;
pub mod body;
pub mod call;
pub mod caller;
mod client_address;
mod connection;
pub mod dialects;
mod forward_auth;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod jwks;
mod limits;
mod metrics;
mod origin;
mod pages;
mod presented_cookies;
pub mod problem;
pub mod redirect;
mod run;
mod serve;
mod session_cookie;
mod silent_sign_up;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, Resource};

use crate::clock::Clock;
use crate::core::refresh::{AtOnce, Rotatable};
use crate::core::refusal::{Fault, Refusal};
use crate::core::session::TokenPolicy;
use crate::core::worker::Worker;
use crate::core::{Core, OpenError, Opened};
use crate::secret::Secret;
use crate::settings::Settings;
use answer::{WebError, in_the_dialects_shape};
use call::RequestIds;
use client_address::TrustedProxies;
use dialects::{Dialect, Mounted};
use forward_auth::ForwardAuth;
use origin::Origins;
use redirect::Redirects;
use run::{Foresight, Pool, Room, Together};
use session_cookie::SessionCookies;

pub use caller::require_session;
pub use limits::{raise_open_files, too_few_open_files};
pub use serve::{ServeError, Server};

/// Questions to the database that may wait for each of its connections.
const QUEUE_PER_CONNECTION: usize = 128;

/// On SQLite, whoever stands in line to write holds a thread and no connection; and the more stand there, the more share
/// a commit.
const THREADS_PER_SQLITE_CONNECTION: usize = 4;

/// An opened service: core, pools and the settings of the wire. Cheap to clone; give it to an actix app as `web::Data`.
#[derive(Clone)]
pub struct Doorward(Arc<Inner>);

struct Inner {
    core: Core,
    rows: Pool,
    hashes: Pool,
    rotations: Option<Rotations>,
    mounts: Vec<Mounted>,
    cookies: SessionCookies,
    origins: Origins,
    redirects: Redirects,
    pages: Mounted,
    site: pages::Site,
    proxies: TrustedProxies,
    forward_auth: ForwardAuth,
    request_ids: RequestIds,
    database_patience: Duration,
    metrics_token: Option<Secret>,
    https: bool,
    draining: AtomicBool,
    _background: Vec<Worker>,
}

impl std::fmt::Debug for Doorward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorward").field("core", &self.0.core).finish_non_exhaustive()
    }
}

impl Doorward {
    /// Opens database and keys with the system's clock and the dialects that come with doorward.
    pub fn open(settings: &Settings) -> Result<(Self, Opened), OpenError> {
        Self::open_with(settings, Clock::system(), dialects::ALL)
    }

    /// As `open`, with another clock and other dialects.
    pub fn open_with(settings: &Settings, clock: Clock, dialects: &[Dialect]) -> Result<(Self, Opened), OpenError> {
        let (core, opened) = Core::open(settings, clock)?;
        let connections = settings.database.database_connections as usize;
        let in_line = settings.database.database_url.file().is_some();
        let rows_threads = if in_line { connections * THREADS_PER_SQLITE_CONNECTION } else { connections };
        let for_rows =
            Room { places: connections * QUEUE_PER_CONNECTION, longest_wait: settings.database.database_timeout };
        let for_hashes = Room {
            places: usize::from(settings.passwords.hash_queue),
            longest_wait: settings.passwords.hash_queue_time,
        };
        let hashing_threads = settings.passwords.hashing_threads();
        let mounts: Vec<Mounted> =
            settings.mounts.iter().filter_map(|mount| Mounted::new(mount, dialects, settings)).collect();
        let inner = Inner {
            rows: Pool::start("rows", rows_threads, for_rows, core.metrics(), || {}, None)?,
            // A hash takes as long as the last.
            hashes: Pool::start(
                "hash",
                hashing_threads,
                for_hashes,
                core.metrics(),
                run::stand_back,
                Some(Foresight::new(hashing_threads, for_hashes.longest_wait)),
            )?,
            rotations: rotations(&core, for_rows)?,
            pages: pages::mounted(settings, &mounts),
            site: pages::Site::new(settings),
            cookies: SessionCookies::new(settings),
            origins: Origins::new(settings),
            redirects: Redirects::new(settings),
            proxies: TrustedProxies(settings.web.trusted_proxies.clone()),
            forward_auth: ForwardAuth::new(settings, native_prefix(&mounts)),
            request_ids: RequestIds::default(),
            mounts,
            database_patience: settings.database.database_timeout.mul_f32(0.95),
            metrics_token: settings.metrics.metrics_token.clone(),
            https: settings.is_https(),
            draining: AtomicBool::new(false),
            _background: core.start_background()?,
            core,
        };
        Ok((Self(Arc::new(inner)), opened))
    }

    /// The rules behind the wire.
    pub fn core(&self) -> &Core {
        &self.0.core
    }

    /// Adds health, the public keys, the pages, the checks and every mount to an actix app, the longest prefix first, so that
    /// the root takes what is left.
    pub fn configure(&self) -> impl Fn(&mut ServiceConfig) + Clone + use<> {
        let door = self.clone();
        move |app: &mut ServiceConfig| {
            let mut mounts: Vec<&Mounted> = door.0.mounts.iter().collect();
            mounts.sort_by_key(|mounted| std::cmp::Reverse(mounted.scope().len()));
            // The checks first: routes are tried in order, and nothing is asked for as often.
            app.app_data(Data::new(door.clone())).configure(forward_auth::routes(""));
            if let Some(prefix) = native_prefix(&door.0.mounts) {
                app.configure(forward_auth::routes(prefix));
            }
            app.configure(forward_auth::assertion_keys).configure(health::routes).configure(jwks::routes);
            if let Some(token) = &door.0.metrics_token {
                app.configure(metrics::guarded(token.clone()));
            }
            pages::routes(&door, &door.0.pages, app);
            for mounted in mounts {
                app.service(mount(mounted));
            }
        }
    }

    /// CORS for the origins of the settings: an embedding service wraps its app in it.
    pub fn cors(&self) -> actix_cors::Cors {
        self.0.origins.cors()
    }

    /// The mounts.
    pub fn mounts(&self) -> &[Mounted] {
        &self.0.mounts
    }

    /// From now on `/readyz` says 503 and connections are closed after their answer.
    pub fn begin_to_drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    fn is_https(&self) -> bool {
        self.0.https
    }

    fn cookies(&self) -> &SessionCookies {
        &self.0.cookies
    }

    fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// Where browsers may be sent.
    pub fn redirects(&self) -> &Redirects {
        &self.0.redirects
    }

    fn site(&self) -> &pages::Site {
        &self.0.site
    }

    fn proxies(&self) -> &TrustedProxies {
        &self.0.proxies
    }

    fn request_ids(&self) -> &RequestIds {
        &self.0.request_ids
    }

    fn forward_auth(&self) -> &ForwardAuth {
        &self.0.forward_auth
    }

    /// What the mount of this dialect decides about tokens; where it is mounted no longer, what the pages do.
    fn policy_of(&self, dialect: &str) -> TokenPolicy {
        let mounted = self.0.mounts.iter().find(|mounted| mounted.dialect.name == dialect);
        mounted.unwrap_or(&self.0.pages).policy.clone()
    }

    fn database_patience(&self) -> Duration {
        self.0.database_patience
    }

    fn rows_pool(&self) -> &Pool {
        &self.0.rows
    }

    fn rotations(&self) -> Option<&Rotations> {
        self.0.rotations.as_ref()
    }

    fn hash_pool(&self) -> &Pool {
        &self.0.hashes
    }
}

/// Refreshes that are one statement each, and share their transaction where the database has one writer.
type Rotations = Together<Rotatable, AtOnce>;

fn rotations(core: &Core, room: Room) -> Result<Option<Rotations>, Fault> {
    if !core.shares_commits() {
        return Ok(None);
    }
    let theirs = core.clone();
    Together::start("refreshes", room, core.metrics(), move |all: &[Rotatable]| theirs.rotate_together(all)).map(Some)
}

/// Where native is, unless at the root.
fn native_prefix(mounts: &[Mounted]) -> Option<&str> {
    let native = mounts.iter().find(|mounted| mounted.dialect.name == "native");
    native.map(Mounted::scope).filter(|scope| !scope.is_empty())
}

fn mount(mounted: &Mounted) -> impl actix_web::dev::HttpServiceFactory + use<> {
    web::scope(mounted.scope())
        .app_data(Data::new(mounted.clone()))
        .wrap(from_fn(in_the_dialects_shape))
        .configure(mounted.dialect.routes)
        .default_service(web::to(no_such_route))
}

/// A path that knows which methods it takes: another one is 405 with `Allow`, where actix alone would say 404.
pub fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move { method_not_allowed(allow) }))
}

fn method_not_allowed(allow: &'static str) -> Result<&'static str, WebError> {
    Err(Refusal::MethodNotAllowed(allow).into())
}

async fn no_such_route(_: HttpRequest) -> Result<&'static str, WebError> {
    Err(Refusal::RouteNotFound.into())
}

fn missing_doorward() -> Fault {
    Fault::Broken("the app has no web::Data<Doorward>; add it with .configure(door.configure())".to_owned())
}
