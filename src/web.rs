//! The HTTP layer over core: dialects (the APIs), pages, forward authentication and the endpoints for operators. request/ and
//! response/ have what these share, server/ the sockets, and blocking/ the worker pools through which they call core. What a
//! request may do is decided by core.

mod blocking;
pub mod dialects;
pub mod endpoints;
mod forward_auth;
mod pages;
pub mod request;
pub mod response;
pub mod server;
pub mod service;
#[doc(hidden)]
pub mod test_api;

pub use request::caller::require_session;
pub use request::limits::{raise_open_files, too_few_open_files};
pub use server::serve::{ServeError, Server};
