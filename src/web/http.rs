//! What every mount shares of HTTP: the middleware, the request context, credentials, cookies, bodies, errors and headers.

pub mod access_log;
pub mod body;
pub mod caller;
pub(crate) mod client_address;
pub mod context;
pub(crate) mod credentials;
pub mod error;
pub(crate) mod limits;
pub mod middleware;
pub(crate) mod origin;
pub mod problem;
pub mod redirect;
pub mod request_id;
pub mod routing;
pub mod security_headers;
pub(crate) mod session_cookie;
