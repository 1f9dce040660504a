//! Bind, answer, drain. A stop takes at most 10 s whatever the clients do: `/readyz` says 503, load balancers get
//! DRAIN_DELAY to notice, running requests get the rest, and what hangs then is cut.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer, web};
use tokio::signal::unix::{SignalKind, signal};

use super::answer::fenced;
use super::{Doorward, metrics, no_such_route};
use crate::settings::Settings;

/// How long running requests get after the drain delay.
const FINISH: Duration = Duration::from_secs(5);

/// A stop takes at most this long, whatever the clients do.
const STOP_AT_THE_LATEST: Duration = Duration::from_millis(9500);

/// How long a client may take to send its headers.
const HEADERS_PATIENCE: Duration = Duration::from_secs(5);

/// Why a service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address.
    #[error("BIND: cannot listen on {0}: {1}; set BIND to a free address, or to 127.0.0.1:0 for any")]
    Bind(SocketAddr, io::Error),
    /// The other address.
    #[error("METRICS_BIND: cannot listen on {0}: {1}; set METRICS_BIND to a free address, or leave it out")]
    BindMetrics(SocketAddr, io::Error),
    /// The rest.
    #[error("the service stopped: {0}")]
    Io(#[from] io::Error),
}

/// A bound service, not yet answering.
pub struct Server {
    door: Doorward,
    running: actix_web::dev::Server,
    address: SocketAddr,
    metrics: Option<Metrics>,
    drain_delay: Duration,
}

/// The address of its own that answers `/metrics`.
struct Metrics {
    running: actix_web::dev::Server,
    address: SocketAddr,
}

impl Metrics {
    fn bind(door: &Doorward, wanted: SocketAddr) -> Result<Self, ServeError> {
        let door = door.clone();
        let factory = move || {
            App::new()
                .app_data(Data::new(door.clone()))
                .configure(metrics::open)
                .default_service(web::to(no_such_route))
                .wrap(from_fn(fenced))
        };
        let server = HttpServer::new(factory).workers(1).client_request_timeout(HEADERS_PATIENCE).disable_signals();
        let server = server.bind(wanted).map_err(|why| ServeError::BindMetrics(wanted, why))?;
        let address = server.addrs().first().copied().unwrap_or(wanted);
        Ok(Self { running: server.run(), address })
    }
}

impl Server {
    /// Binds. `routes` adds an embedding service's own routes before the mounts.
    pub fn bind(
        door: &Doorward,
        settings: &Settings,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Result<Self, ServeError> {
        let workers = settings
            .web
            .workers
            .map_or_else(|| std::thread::available_parallelism().map_or(2, usize::from), usize::from);
        let (ours, theirs) = (door.clone(), routes);
        let factory = move || {
            App::new()
                .configure(theirs.clone())
                .configure(ours.configure())
                .default_service(web::to(no_such_route))
                .wrap(ours.cors())
                .wrap(from_fn(fenced))
        };
        let server = HttpServer::new(factory)
            .workers(workers)
            .client_request_timeout(HEADERS_PATIENCE)
            .client_disconnect_timeout(Duration::from_secs(1))
            .shutdown_timeout(FINISH.as_secs())
            .disable_signals()
            .bind(settings.web.bind)
            .map_err(|why| ServeError::Bind(settings.web.bind, why))?;
        let address = server.addrs().first().copied().unwrap_or(settings.web.bind);
        let metrics = settings.metrics.metrics_bind.map(|wanted| Metrics::bind(door, wanted)).transpose()?;
        let (running, drain_delay) = (server.run(), settings.web.drain_delay);
        Ok(Self { door: door.clone(), running, address, metrics, drain_delay })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/metrics` is answered to anybody, if it is.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|metrics| metrics.address)
    }

    /// What stops it from outside.
    pub fn handle(&self) -> ServerHandle {
        self.running.handle()
    }

    /// Answers until SIGTERM or SIGINT, then drains. `overdue` is called on a thread of its own if that takes too long,
    /// even if every worker hangs; it should end the process.
    pub async fn run_until_signal(self, overdue: impl FnOnce() + Send + 'static) -> Result<(), ServeError> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (door, handle, delay) = (self.door.clone(), self.running.handle(), self.drain_delay);
        let drain = async move {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            log::info!(signal = name; "stopping: new work is refused, running requests finish");
            door.begin_to_drain();
            std::thread::spawn(move || {
                std::thread::sleep(STOP_AT_THE_LATEST);
                overdue();
            });
            // A second signal means now.
            tokio::select! {
                () = async { tokio::time::sleep(delay).await; handle.stop(true).await } => {}
                _ = terminate.recv() => handle.stop(false).await,
                _ = interrupt.recv() => handle.stop(false).await,
            }
        };
        let draining = tokio::spawn(drain);
        let metrics = self.metrics.map(|metrics| tokio::spawn(metrics.running));
        self.running.await?;
        // Up to the end somebody may want to know how it goes.
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        draining.abort();
        log::info!("stopped");
        Ok(())
    }

    /// Answers until its handle stops it.
    pub async fn run(self) -> Result<(), ServeError> {
        Ok(self.running.await?)
    }
}
