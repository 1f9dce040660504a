//! Routing helpers: a path that knows its methods, and the answer to an unknown path. Which routes exist is each mount's.

use actix_web::web;
use actix_web::{HttpRequest, Resource};

use super::error::WebError;
use crate::core::error::Refusal;

/// A path that knows which methods it takes: another one is 405 with `Allow`, where actix alone would say 404.
pub fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move { method_not_allowed(allow) }))
}

fn method_not_allowed(allow: &'static str) -> Result<&'static str, WebError> {
    Err(Refusal::MethodNotAllowed(allow).into())
}

/// An unknown path.
pub async fn no_such_route(_: HttpRequest) -> Result<&'static str, WebError> {
    Err(Refusal::RouteNotFound.into())
}
