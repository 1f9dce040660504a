//! Settings of what protects accounts and sessions: keys, passwords, token lifetimes, the throttle, cookies.

pub mod cookies;
pub mod keys;
pub mod passwords;
pub mod throttle;
pub mod tokens;
