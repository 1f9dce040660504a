//! Key settings: where signing keys and the pepper come from, and with which algorithm access tokens are signed. How keys
//! are used is for core/keys/, how the pepper is used for core/credential/password.rs.

use std::path::PathBuf;
use std::str::FromStr;

use crate::secret::Secret;
use crate::settings::values::InvalidValue;

/// The minimum length of a configured key: the strength of HMAC-SHA-256 (RFC 7518 section 3.2).
const KEY_MIN_BYTES: usize = 32;

/// Settings of keys.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Keys")]
pub struct KeySettings {
    /// The file of signing keys and peppers, created at the first start with access for its owner only. Default: the SQLite
    /// file's path with the extension .keys, or doorward.keys with PostgreSQL.
    #[arg(long)]
    pub keys_file: Option<PathBuf>,

    /// The algorithm of new signing keys for access tokens: `hs256`, `eddsa` or `es256`. `eddsa` and `es256` have public keys
    /// at /.well-known/jwks.json, with which other services verify tokens. A service with existing keys switches by
    /// `doorward keys rotate`. Default: that of the newest key; hs256 for the first.
    #[arg(long)]
    pub token_algorithm: Option<TokenAlgorithm>,

    /// An HS256 signing key of at least 32 random bytes that replaces those of the keys file: `openssl rand -base64 48`.
    #[arg(long, value_parser = key)]
    pub jwt_secret: Option<Secret>,

    /// A pepper of at least 32 random bytes that replaces those of the keys file. Without it no existing password can be
    /// verified: keep a copy.
    #[arg(long, value_parser = key)]
    pub pepper: Option<Secret>,
}

/// The algorithm of a signing key for access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256: a holder of the verification key can also sign tokens.
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA with P-256 and SHA-256 (RFC 7518 section 3.4).
    Es256,
}

impl TokenAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::EdDsa, Self::Es256];

    /// The name in settings, in the keys file and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "hs256",
            Self::EdDsa => "eddsa",
            Self::Es256 => "es256",
        }
    }

    /// Whether tokens can be verified with a key that cannot sign.
    pub const fn has_public_key(self) -> bool {
        !matches!(self, Self::Hs256)
    }
}

impl FromStr for TokenAlgorithm {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text.to_ascii_lowercase());
        found.ok_or_else(|| {
            InvalidValue::new(format!("{text:?} is not a valid token algorithm; use hs256, eddsa or es256"))
        })
    }
}

/// Refuses the keys that an attacker tries first (RFC 8725 section 3.5). No message quotes the value.
fn key(text: &str) -> Result<Secret, InvalidValue> {
    let remedy = "make one with: openssl rand -base64 48";
    if text.len() < KEY_MIN_BYTES {
        let length = text.len();
        return Err(InvalidValue::new(format!(
            "the key has {length} bytes, at least {KEY_MIN_BYTES} are required; {remedy}"
        )));
    }
    let mut distinct: Vec<u8> = text.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let lower = text.to_lowercase();
    let samples = ["secret", "changeme", "change-me", "example", "password", "your-", "0123456789abcdef"];
    if distinct.len() < 10 || samples.iter().any(|word| lower.contains(word)) {
        return Err(InvalidValue::new(format!(
            "the key looks like a sample or a pattern and is easy to guess; {remedy}"
        )));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_keys_are_refused() {
        for weak in ["", "short", &"a".repeat(64), "your-256-bit-secret-your-256-bit-secret", &"abcdefgh".repeat(8)] {
            assert!(key(weak).is_err(), "{weak}");
        }
        assert!(key("kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6").is_ok());
    }
}
