//! Keys: the signing keys and peppers, where they come from, how the keys file is kept, and how an operator rotates and
//! retires them. What tokens carry is token.rs's.

pub(crate) mod key_source;
pub(crate) mod keys_file;
pub mod rotation;
pub mod signing_key;
