//! Keys: signing keys and peppers, where they are loaded from, the keys file, and how an operator rotates and retires keys.
//! What is signed is token.rs's; what is hashed credential/password.rs's.

pub mod error;
pub(crate) mod key_source;
pub(crate) mod keys_file;
pub mod rotation;
pub mod signing_key;
