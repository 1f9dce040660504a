//! Credentials: password policy and hashing, sign-in, and the change of a password.

pub mod password;
pub(crate) mod password_change;
pub mod sign_in;
