//! Defences against guessing and forgery: login throttle, trusted devices, CSRF tokens.

pub mod csrf_token;
pub mod duplicate_cookie_audit;
pub mod duplicate_cookies;
pub mod login_throttle;
pub mod rate_limit;
pub mod throttle_policy;
pub mod trusted_device;
