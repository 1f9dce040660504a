//! Credentials: password policy and hashing, sign-in, and password change.

pub mod password;
pub(crate) mod password_change;
pub mod sign_in;
