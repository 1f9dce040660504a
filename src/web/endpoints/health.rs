//! Health checks. `/healthz` (liveness): the process responds. `/readyz` (readiness): the database responds and the server is
//! not shutting down; a load balancer takes a node out of rotation by it.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use serde_json::json;

use crate::web::request::limits;
use crate::web::response::routing::resource;
use crate::web::service::Doorward;

/// Adds both routes.
pub fn routes(app: &mut ServiceConfig) {
    let both = |path: &'static str| resource(path, "GET, HEAD");
    let guard = || from_fn(limits::guard);
    app.service(both("/healthz").route(web::get().to(healthz)).route(web::head().to(healthz)).wrap(guard()));
    app.service(both("/readyz").route(web::get().to(readyz)).route(web::head().to(readyz)).wrap(guard()));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn readyz(service: Data<Doorward>) -> HttpResponse {
    let database = service.run_blocking(|core| Ok(core.is_ready())).await;
    let age = u64::try_from(service.core().revocation_cache_age().as_millis()).unwrap_or(u64::MAX);
    let (stopping, database_ok) = (service.is_draining(), database.unwrap_or(false));
    let ready = database_ok && !stopping;
    let body = json!({
        "status": if ready { "ready" } else { "unavailable" },
        "database": if database_ok { "ok" } else { "unavailable" },
        "revocationCacheAgeMs": age,
        "stopping": stopping,
    });
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !ready {
        response.insert_header((RETRY_AFTER, "1"));
    }
    response.insert_header((CONTENT_TYPE, "application/json")).json(body)
}
