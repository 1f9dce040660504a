//! Imported password hashes of other systems: a hash as it is stored, and its check. Schemes are scheme.rs's, text forms phc_forms.rs's and
//! vendor_forms.rs's. That a hash is replaced by a native one at the first sign-in is decided by `Hasher` and sign_in.rs.

mod encoding;
mod legacy;
mod phc_forms;
mod scheme;
mod vendor_forms;

use self::scheme::Scheme;
use super::normalization::normalize;
use crate::core::error::FieldRule;
use crate::secret::Secret;

/// Prefix of an imported hash in the table.
const STORED_PREFIX: &str = "imported:";

/// The longest text that is parsed.
const TEXT_MAX: usize = 512;

/// A password hash of another system, with parameters within the bounds above.
#[derive(Clone)]
pub struct ImportedHash {
    scheme: Scheme,
    /// The original text.
    text: String,
}

impl std::fmt::Debug for ImportedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImportedHash(hidden)")
    }
}

impl ImportedHash {
    /// Parses a hash, and refuses one that is too expensive to check. No key is derived here, so the cost is that of parsing.
    pub fn parse(text: &str) -> Result<Self, FieldRule> {
        if text.len() > TEXT_MAX || !text.is_ascii() {
            return Err(FieldRule::UnknownHashFormat);
        }
        let segments: Vec<&str> = text.split('$').collect();
        let parsed = phc_forms::parse(&segments).or_else(|| vendor_forms::parse(text));
        let scheme = parsed.ok_or(FieldRule::UnknownHashFormat)??;
        Ok(Self { scheme, text: text.to_owned() })
    }

    /// The stored form: the original text with a prefix.
    pub fn stored(&self) -> String {
        format!("{STORED_PREFIX}{}", self.text)
    }

    /// Parses a stored form; `None` for one that was not imported.
    pub(super) fn from_stored(stored: &str) -> Option<Self> {
        Self::parse(stored.strip_prefix(STORED_PREFIX)?).ok()
    }

    /// The cost of a bcrypt hash.
    pub(super) fn bcrypt_cost(&self) -> Option<u32> {
        self.scheme.bcrypt_cost()
    }

    /// Verifies a secret in NFC, as native hashes have it, and as entered, since the other system may not have normalised
    /// it.
    pub(super) fn verify(&self, secret: &Secret) -> bool {
        let composed = normalize(secret);
        self.scheme.verify(composed.expose()) || (composed != *secret && self.scheme.verify(secret.expose()))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vendor_tests;
