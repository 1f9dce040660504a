//! `/metrics`: to whoever has the token, or on an address of its own. What is counted is metrics.rs's.

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::core::error::Refusal;
use crate::secret::Secret;
use crate::web::http::error::{HandlerResult, WebError};
use crate::web::http::routing::resource;
use crate::web::service::Doorward;

/// The route that asks for a token.
pub fn guarded(token: Secret) -> impl FnOnce(&mut ServiceConfig) {
    move |app| {
        app.service(resource("/metrics", "GET").app_data(Data::new(token)).route(web::get().to(show_to_bearer)));
    }
}

/// The route on an address of its own.
pub fn open(app: &mut ServiceConfig) {
    app.service(resource("/metrics", "GET").route(web::get().to(show)));
}

async fn show_to_bearer(request: HttpRequest, token: Data<Secret>, service: Data<Doorward>) -> HandlerResult {
    let presented = request.headers().get(AUTHORIZATION).ok_or(Refusal::TokenMissing)?;
    let presented = presented.to_str().ok().and_then(|line| line.split_once(' '));
    match presented {
        Some((scheme, presented)) if scheme.eq_ignore_ascii_case("bearer") && token.is(presented) => {
            show(service).await
        }
        _ => Err(Refusal::TokenInvalid.into()),
    }
}

async fn show(service: Data<Doorward>) -> HandlerResult {
    let text = service.core().metrics_text().map_err(|fault| WebError::from(crate::core::error::Error::from(fault)))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text))
}
