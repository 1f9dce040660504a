//! Responses: the error middleware, problem documents, security headers, redirects and the access log.

pub mod access_log;
pub mod error;
pub mod field_error;
pub(in crate::web) mod log_limit;
pub mod middleware;
pub mod problem;
pub mod redirect;
pub mod routing;
pub mod security_headers;
