//! Defences against guessing, flooding and forgery: login throttle, trusted devices, rate limiter, CSRF tokens, and the
//! detector of duplicate (tossed) cookies.

pub mod csrf_token;
pub mod duplicate_cookie_audit;
pub mod duplicate_cookies;
pub mod login_throttle;
pub mod rate_limit;
pub mod throttle_policy;
pub mod trusted_device;
pub mod work_share;
