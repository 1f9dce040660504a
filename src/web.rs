//! HTTP: what stands between core and the wire. Dialects and pages say what core decides; http/ has what all of them share,
//! server/ the sockets, blocking/ the way to core.

mod blocking;
mod confirmed_sign_up;
pub mod dialects;
pub mod embedding;
pub mod endpoints;
mod forward_auth;
pub mod mount;
mod pages;
pub mod request;
pub mod response;
pub mod server;
pub mod service;
pub mod startup;
#[doc(hidden)]
pub mod test_api;

pub use request::caller::require_session;
pub use request::limits::{raise_open_files, too_few_open_files};
pub use server::serve::{ServeError, Server};
