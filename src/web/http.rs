//! TODO-DOC

pub mod body;
pub mod caller;
pub(crate) mod client_address;
pub mod context;
pub(crate) mod credentials;
pub(crate) mod limits;
pub mod middleware;
pub(crate) mod origin;
pub mod problem;
pub mod redirect;
pub(crate) mod session_cookie;
