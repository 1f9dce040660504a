//! Listening and graceful shutdown. A shutdown takes at most 10 s whatever the clients do: `/readyz` answers 503, load
//! balancers get DRAIN_DELAY to notice, running requests get the rest, and connections that are still open then are cut.
//! Deadlines of a connection are decided in connection.rs, what of its errors is logged in connection_errors.rs; routes and pools
//! in startup.rs.

use crate::web::forward_auth::try_fast_path;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::{AppConfig, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::net::{TcpSocket, TcpStream};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer, web};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::connection::{Connection, FastPath};
use super::connection_errors::ConnectionErrors;
use crate::settings::Settings;
use crate::web::endpoints::metrics;
use crate::web::response::middleware::security_headers;
use crate::web::response::routing::no_such_route;
use crate::web::server::in_flight::LINGER;
use crate::web::service::Doorward;

/// How long running requests may take after the drain delay.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A shutdown that takes longer is overdue, which ends the process.
const SHUTDOWN_DEADLINE: Duration = Duration::from_millis(9500);

/// How long a client may take to send the first head of a connection.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The send buffer of a connection, in bytes. The kernel would let it grow to some megabytes for a client that does not read;
/// and with such a buffer it reports a slow client's progress only every megabyte, too late for the deadline of a response.
const SEND_BUFFER: u32 = 64 * 1024;

/// Connections that the kernel queues until they are accepted.
const BACKLOG: u32 = 2048;

/// Why a server cannot listen, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `BIND` cannot be used.
    #[error("BIND: cannot listen on {0}: {1}; set BIND to a free address, or to 127.0.0.1:0 for any")]
    Bind(SocketAddr, io::Error),
    /// `METRICS_BIND` cannot be used.
    #[error("METRICS_BIND: cannot listen on {0}: {1}; set METRICS_BIND to a free address, or leave it out")]
    BindMetrics(SocketAddr, io::Error),
    /// Another error of the operating system.
    #[error("the service stopped: {0}")]
    Io(#[from] io::Error),
}

/// A server that listens, but does not accept connections yet.
pub struct Server {
    service: Doorward,
    running: actix_web::dev::Server,
    address: SocketAddr,
    metrics: Option<MetricsServer>,
    drain_delay: Duration,
}

/// The server for `/metrics` on an address of its own.
struct MetricsServer {
    running: actix_web::dev::Server,
    address: SocketAddr,
}

impl MetricsServer {
    fn bind(service: &Doorward, address: SocketAddr) -> Result<Self, ServeError> {
        let service = service.clone();
        let factory = move || {
            App::new()
                .app_data(Data::new(service.clone()))
                .configure(metrics::open)
                .default_service(web::to(no_such_route))
                .wrap(from_fn(security_headers))
        };
        let server = HttpServer::new(factory).workers(1).client_request_timeout(HEADERS_TIMEOUT).disable_signals();
        let server = server.bind(address).map_err(|cause| ServeError::BindMetrics(address, cause))?;
        let address = server.addrs().first().copied().unwrap_or(address);
        Ok(Self { running: server.run(), address })
    }
}

impl Server {
    /// Binds the addresses. `routes` adds an embedding service's own routes before the mounts. It cannot replace the paths
    /// of checks (`/auth/verify`, `/auth/forward`), since the fast path answers them before routing.
    pub fn bind(
        service: &Doorward,
        settings: &Settings,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Result<Self, ServeError> {
        let bind = settings.web.bind;
        let (running, address) = listen(service, settings, routes).map_err(|cause| ServeError::Bind(bind, cause))?;
        let metrics = settings.metrics.metrics_bind.map(|address| MetricsServer::bind(service, address)).transpose()?;
        Ok(Self { service: service.clone(), running, address, metrics, drain_delay: settings.web.drain_delay })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address on which `/metrics` is served without authentication, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|metrics| metrics.address)
    }

    /// A handle that stops it.
    pub fn handle(&self) -> ServerHandle {
        self.running.handle()
    }

    /// Serves until SIGTERM or SIGINT, then shuts down gracefully; calls `reload` for each SIGHUP. If the shutdown takes too long, `overdue` is called on a thread of
    /// its own, even if every worker hangs; it should end the process.
    pub async fn run_until_signal(
        self,
        reload: impl Fn() + Send + Sync + 'static,
        overdue: impl FnOnce() + Send + 'static,
    ) -> Result<(), ServeError> {
        let reloading = tokio::spawn(reload_on_hangup(signal(SignalKind::hangup())?, Arc::new(reload)));
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (service, handle, delay) = (self.service.clone(), self.running.handle(), self.drain_delay);
        let drain = async move {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            log::info!(signal = name; "shutting down: no new connections, running requests finish");
            service.begin_to_drain();
            std::thread::spawn(move || {
                std::thread::sleep(SHUTDOWN_DEADLINE);
                overdue();
            });
            // A second signal stops the server immediately.
            tokio::select! {
                () = async { tokio::time::sleep(delay).await; handle.stop(true).await } => {}
                _ = terminate.recv() => handle.stop(false).await,
                _ = interrupt.recv() => handle.stop(false).await,
            }
        };
        let draining = tokio::spawn(drain);
        let metrics = self.metrics.map(|metrics| tokio::spawn(metrics.running));
        self.running.await?;
        // Metrics are served until the shutdown is complete, so that it can be observed.
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        draining.abort();
        reloading.abort();
        log::info!("shutdown complete");
        Ok(())
    }

    /// Serves until its handle stops it.
    pub async fn run(self) -> Result<(), ServeError> {
        Ok(self.running.await?)
    }
}

/// Runs `reload` for each SIGHUP, on a thread that may block.
async fn reload_on_hangup(mut hangups: Signal, reload: Arc<impl Fn() + Send + Sync + 'static>) {
    while hangups.recv().await.is_some() {
        let reload = Arc::clone(&reload);
        let _ = tokio::task::spawn_blocking(move || reload()).await;
    }
}

/// Does what `actix_web::HttpServer` does, but with `Connection` around each socket.
fn listen(
    service: &Doorward,
    settings: &Settings,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<(actix_web::dev::Server, SocketAddr)> {
    let socket = socket(settings.web.bind)?;
    let address = socket.local_addr()?;
    let server = server_builder(settings);
    let (service, stopping) = (service.clone(), server.graceful_shutdown_signal());
    let errors = Arc::new(ConnectionErrors::new(service.core().metrics().malformed_requests.clone()));
    let factory = move || {
        let app = App::new()
            .configure(routes.clone())
            .configure(service.configure())
            .configure(|app| service.configure_fallback(app))
            .default_service(web::to(no_such_route))
            .wrap(service.cors())
            .wrap(from_fn(security_headers))
            .into_factory()
            .map_err(|error| error.error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || notified(stopping.clone()))
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEADERS_TIMEOUT)
            .client_disconnect_timeout(LINGER)
            // A client that closes its side has cancelled its request: work that has not started is dropped.
            .h1_allow_half_closed(false)
            .local_addr(address)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.in_flight().clone());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let fast_path = fast_path(&service);
        let (errors, core) = (Arc::clone(&errors), service.core().clone());
        fn_service(move |socket: TcpStream| {
            let fast_path = fast_path.clone();
            async move {
                let peer = socket.peer_addr().ok();
                Ok::<_, DispatchError>((Connection::new(socket, fast_path), Protocol::Http1, peer))
            }
        })
        .and_then(http)
        .map_err(move |error| errors.report(error, core.now()))
    };
    Ok((server.listen("doorward", socket, factory)?.run(), address))
}

fn server_builder(settings: &Settings) -> actix_server::ServerBuilder {
    let cores = || std::thread::available_parallelism().map_or(2, usize::from);
    let workers = settings.web.workers.map_or_else(cores, usize::from);
    actix_server::Server::build()
        .workers(workers)
        .max_concurrent_connections((settings.web.max_connections as usize).div_ceil(workers))
        .shutdown_timeout(DRAIN_TIMEOUT.as_secs())
        .disable_signals()
}

/// The closure with which a connection answers allowed checks, unless CHECK_FAST_PATH is `false`.
fn fast_path(service: &Doorward) -> Option<FastPath> {
    if !service.forward_auth().has_fast_path {
        return None;
    }
    let service = service.clone();
    Some(Rc::new(move |head, into: &mut Vec<u8>| try_fast_path(&service, head, into)))
}

async fn notified(signal: actix_server::GracefulShutdownSignal) {
    signal.notified().await;
}

fn socket(bind: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Without this a restart fails until the kernel has dropped the last process's connections (TIME_WAIT).
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)?.into_std()
}
