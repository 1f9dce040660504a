//! Unicode normalisation of secrets, before hashing and for imported hashes alike.

use unicode_normalization::UnicodeNormalization;

use crate::secret::Secret;

/// NFC: keyboards differ in whether they compose characters, and the password must be the same.
pub fn normal(secret: &Secret) -> Secret {
    Secret::new(secret.expose().nfc().collect::<String>())
}
