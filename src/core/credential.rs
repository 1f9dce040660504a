//! TODO-DOC

pub mod password;
pub(crate) mod password_change;
pub mod sign_in;
