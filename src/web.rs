//! HTTP: what stands between core and the wire. Dialects and pages say what core decides; http/ has what all of them share,
//! server/ the sockets, blocking/ the way to core.

mod blocking;
mod confirmed_sign_up;
pub mod dialects;
pub mod endpoints;
mod forward_auth;
pub mod http;
pub mod mount;
mod pages;
pub mod server;
pub mod service;
pub mod startup;
#[doc(hidden)]
pub mod test_api;

pub use http::caller::require_session;
pub use http::limits::{raise_open_files, too_few_open_files};
pub use server::serve::{ServeError, Server};
