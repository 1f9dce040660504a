//! TODO-DOC

pub mod csrf_token;
pub mod login_throttle;
pub mod throttle_policy;
pub mod trusted_device;
