//! Access log: one line per request at level debug, with the path and without the query, which may contain a token.

use std::time::Instant;

use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};

use crate::web::request::request_id::RequestId;

/// The log target of lines about single requests.
pub const REQUEST_LOG: &str = "doorward::request";

/// Logs a request and its response.
pub fn log_request<B>(response: &ServiceResponse<B>, id: &RequestId, started: Instant) {
    let request = response.request();
    log_response(request.method(), request.path(), response.status(), id, started);
}

/// As `log_request`, for the fast path, which has no actix request.
pub fn log_response(method: &Method, path: &str, status: StatusCode, id: &RequestId, started: Instant) {
    log::debug!(
        target: REQUEST_LOG,
        method = known_method(method),
        path,
        status = status.as_u16(),
        us = started.elapsed().as_micros(),
        request = id.as_str();
        "request"
    );
}

/// A nonstandard method may be any text, even a secret that a client sent in the wrong place; it is not logged.
fn known_method(method: &Method) -> &str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    if known.contains(method) { method.as_str() } else { "other" }
}
