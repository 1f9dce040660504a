//! The HTTP server: listening and graceful shutdown, connections with their deadlines, and request framing for the fast path.

pub(crate) mod connection;
mod connection_errors;
mod deadlines;
pub mod in_flight;
mod request_end;
pub(crate) mod request_framing;
pub(crate) mod serve;
