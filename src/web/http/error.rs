//! Errors on their way out of a handler: what a handler returns, and what an error renderer of a dialect is given. Status and
//! words are the dialect's; outside any mount they are problem.rs's.

use actix_web::http::header::HeaderValue;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError};

use super::problem;
use super::redirect::Redirects;
use super::request_id::RequestId;
use crate::clock::Timestamp;
use crate::core::error::{Error, InternalError, Refusal};
use crate::web::pages::theme::Theme;

/// What a handler returns.
pub type HandlerResult = Result<HttpResponse, WebError>;

/// A refusal or a fault on its way out. The mount's dialect gives it its shape; outside any mount it is a problem.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct WebError {
    pub(super) error: Error,
}

impl WebError {
    /// What was refused or broke.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl From<Error> for WebError {
    fn from(error: Error) -> Self {
        Self { error }
    }
}

impl From<Refusal> for WebError {
    fn from(refusal: Refusal) -> Self {
        Self { error: refusal.into() }
    }
}

impl ResponseError for WebError {
    fn status_code(&self) -> StatusCode {
        problem::of(&self.error).status
    }

    fn error_response(&self) -> HttpResponse {
        problem::of(&self.error).answer(None)
    }
}

/// Marks an answer that tells a browser to forget its cookies: the session behind them is over for good.
#[derive(Debug, Clone, Copy)]
pub struct ClearCookies;

/// A refusal or a fault with what its shape may need of the request.
#[derive(Debug)]
pub struct ErrorContext<'a> {
    /// What was refused or broke.
    pub error: &'a Error,
    /// The request's id.
    pub id: &'a RequestId,
    /// The request's method.
    pub method: &'a Method,
    /// The request's path and query as they were sent. A query may hold a token.
    pub target: &'a str,
    /// Now.
    pub at: Timestamp,
    /// The pages' common parts, for shapes that look like them.
    pub theme: &'a Theme,
    /// Where a browser may be sent.
    pub redirects: &'a Redirects,
    /// What the client says it speaks (`Accept-Language`).
    pub speaks: Option<&'a HeaderValue>,
}

/// A defect is told with each request that meets it. That the database is away is told by the store, once an outage.
pub fn log_error(fault: &InternalError, id: &RequestId) {
    match fault {
        InternalError::Broken(_) => log::error!(request = id.as_str(); "{fault}"),
        InternalError::Unavailable(_) => log::debug!(request = id.as_str(); "{fault}"),
    }
}
