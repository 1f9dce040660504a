//! `/metrics`: for requests with the bearer token METRICS_TOKEN, or without a token on an address of its own (METRICS_BIND).
//! What is measured is decided by metrics.rs.

use std::future::ready;

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web_httpauth::middleware::HttpAuthentication;

use crate::core::error::Refusal;
use crate::secret::Secret;
use crate::web::request::bearer::BearerToken;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::routing::resource;
use crate::web::service::Doorward;

/// The route that requires the token.
pub fn guarded(token: Secret) -> impl FnOnce(&mut ServiceConfig) {
    let check = move |request: ServiceRequest, presented: BearerToken| {
        let rejection = || WebError::from(Refusal::TokenInvalid).into();
        ready(if token.is(presented.expose()) { Ok(request) } else { Err((rejection(), request)) })
    };
    // The route is wrapped, not the resource: another method is 405 with or without a token.
    move |app| {
        app.service(resource("/metrics", "GET").route(web::get().to(show).wrap(HttpAuthentication::with_fn(check))));
    }
}

/// The route on an address of its own.
pub fn open(app: &mut ServiceConfig) {
    app.service(resource("/metrics", "GET").route(web::get().to(show)));
}

async fn show(service: Data<Doorward>) -> HandlerResult {
    let text = service.core().metrics_text()?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text))
}
