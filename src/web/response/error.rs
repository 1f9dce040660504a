//! Errors of the HTTP layer: `RequestError`, the closed list of reasons for which HTTP itself refuses a request, and
//! `WebError`, which a handler returns. The domain's reasons are core's `Refusal`; status and body of either are decided by
//! the mount's dialect, and outside every mount by problem.rs.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;

use super::redirect::Redirects;
use crate::clock::Timestamp;
use crate::core::error::{Error, InternalError, Refusal};
use crate::web::pages::layout::theme::Theme;
use crate::web::request::request_id::RequestId;

/// What a handler returns.
pub type HandlerResult = Result<HttpResponse, WebError>;

/// Why HTTP itself refuses a request, before any rule of the domain. `code` is stable: clients and logs compare it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {}", self.code())]
pub enum RequestError {
    /// The path and query exceed the limit.
    UriTooLong,
    /// The headers together exceed the limit.
    HeadersTooLarge,
    /// The cookies together exceed the limit.
    CookiesTooLarge,
    /// The path exists and supports only these methods.
    MethodNotAllowed(&'static str),
    /// No such path.
    RouteNotFound,
    /// The body has another format than the route supports.
    UnsupportedMediaType,
    /// The body exceeds the limit.
    BodyTooLarge,
    /// The body did not arrive within its deadline.
    BodyTooSlow,
    /// The body cannot be parsed; the text names the place and repeats nothing of the content.
    MalformedBody(String),
    /// Two session cookies of the same name with different values.
    DuplicateCookie,
    /// A state-changing request from a page of an origin that is not allowed (CSRF).
    OriginNotAllowed,
    /// Several `Authorization` headers, or a bearer token of an impossible shape.
    AuthorizationMalformed,
}

impl RequestError {
    /// The stable name of the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::CookiesTooLarge => "cookies_too_large",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::RouteNotFound => "route_not_found",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::MalformedBody(_) => "malformed_body",
            Self::DuplicateCookie => "duplicate_cookie",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::AuthorizationMalformed => "authorization_malformed",
        }
    }
}

/// An error of a handler. The mount's dialect renders it; outside every mount it is a problem document.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The domain refused the operation, or failed.
    #[error(transparent)]
    Core(#[from] Error),
    /// HTTP itself refuses the request.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl WebError {
    /// The stable name of the reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Core(Error::Refusal(refusal)) => refusal.code(),
            Self::Core(Error::InternalError(InternalError::Unavailable(_))) => "unavailable",
            Self::Core(Error::InternalError(InternalError::Broken(_))) => "internal_error",
            Self::Request(error) => error.code(),
        }
    }

    /// The failure of the server, if the error is one.
    pub const fn internal(&self) -> Option<&InternalError> {
        match self {
            Self::Core(Error::InternalError(internal)) => Some(internal),
            Self::Core(Error::Refusal(_)) | Self::Request(_) => None,
        }
    }

    /// The domain's reason, if the error is one.
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Core(Error::Refusal(refusal)) => Some(refusal),
            Self::Core(Error::InternalError(_)) | Self::Request(_) => None,
        }
    }
}

impl From<Refusal> for WebError {
    fn from(refusal: Refusal) -> Self {
        Self::Core(refusal.into())
    }
}

impl From<InternalError> for WebError {
    fn from(error: InternalError) -> Self {
        Self::Core(error.into())
    }
}

/// Marks a response that clears the session's cookies: their session has ended for good.
#[derive(Debug, Clone, Copy)]
pub struct ClearCookies;

/// An error with what its rendering may need of the request.
#[derive(Debug)]
pub struct ErrorContext<'a> {
    /// The error.
    pub error: &'a WebError,
    /// The request's id.
    pub id: &'a RequestId,
    /// The request's method.
    pub method: &'a Method,
    /// The request's path and query as they were sent. A query may hold a token.
    pub target: &'a str,
    /// The current time.
    pub at: Timestamp,
    /// The theme of the pages, for errors that are rendered as a page.
    pub theme: &'a Theme,
    /// The rule for redirect targets.
    pub redirects: &'a Redirects,
    /// The client's languages (`Accept-Language`).
    pub accept_language: Option<&'a HeaderValue>,
}

/// Logs an internal error: a defect with each request that meets it. An unavailable database is logged by the store, once
/// per outage, and here only at level debug.
pub fn log_error(error: &InternalError, id: &RequestId) {
    match error {
        InternalError::Broken(_) => log::error!(request = id.as_str(); "{error}"),
        InternalError::Unavailable(_) => log::debug!(request = id.as_str(); "{error}"),
    }
}
