//! TODO-DOC

pub(crate) mod connection;
pub(crate) mod request_framing;
pub(crate) mod serve;
