//! Routing helpers: a resource that answers other methods by 405, and the handler of unknown paths. Which routes exist is
//! decided by each mount.

use actix_web::web;
use actix_web::{HttpRequest, Resource};

use super::error::{RequestError, WebError};

/// A resource with the methods that it supports: another method is 405 with `Allow`, where actix alone responds 404.
pub fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move { method_not_allowed(allow) }))
}

fn method_not_allowed(allow: &'static str) -> Result<&'static str, WebError> {
    Err(RequestError::MethodNotAllowed(allow).into())
}

/// The handler of an unknown path.
pub async fn no_such_route(_: HttpRequest) -> Result<&'static str, WebError> {
    Err(RequestError::RouteNotFound.into())
}
