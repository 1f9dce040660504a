//! Access log: one line a request at level debug, with the path and without the query, which may hold a token.

use std::time::Instant;

use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};

use super::request_id::RequestId;

/// Where lines about single requests go.
pub const REQUESTS: &str = "doorward::request";

/// Logs an answered request.
pub fn log_request<B>(response: &ServiceResponse<B>, id: &RequestId, began: Instant) {
    let request = response.request();
    log_answer(request.method(), request.path(), response.status(), id, began);
}

/// The path only: a query may hold a token.
pub fn log_answer(method: &Method, path: &str, status: StatusCode, id: &RequestId, began: Instant) {
    log::debug!(
        target: REQUESTS,
        method = known_method(method),
        path,
        status = status.as_u16(),
        us = began.elapsed().as_micros(),
        request = id.as_str();
        "request"
    );
}

/// A method of their own making may be anything that somebody sent in the wrong place.
fn known_method(method: &Method) -> &str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    if known.contains(method) { method.as_str() } else { "other" }
}
