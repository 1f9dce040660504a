//! The HTTP server: listening and draining, connections with deadlines, and request framing for the fast path.

pub(crate) mod connection;
pub mod in_flight;
pub(crate) mod request_framing;
pub(crate) mod serve;
