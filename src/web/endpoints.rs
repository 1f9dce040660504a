//! Endpoints outside every mount: health, metrics and public keys.

pub(crate) mod health;
pub(crate) mod jwks;
pub(crate) mod metrics;
