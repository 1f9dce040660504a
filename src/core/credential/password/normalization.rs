//! Unicode normalisation of secrets, before hashing and for imported hashes alike.

use unicode_normalization::UnicodeNormalization;

use crate::secret::Secret;

/// Normalises to NFC: keyboards differ in whether they compose characters, and the password must match on all of them.
pub fn normalize(secret: &Secret) -> Secret {
    Secret::new(secret.expose().nfc().collect::<String>())
}
