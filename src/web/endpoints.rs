//! TODO-DOC

pub(crate) mod health;
pub(crate) mod jwks;
pub(crate) mod metrics;
