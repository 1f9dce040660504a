//! Where signing keys and pepper come from, and with which algorithm access tokens are signed. How they are used is for
//! core/signing_key.rs and core/password.rs.

use std::path::PathBuf;
use std::str::FromStr;

use crate::secret::Secret;

/// The least length of a configured key: the strength of HMAC-SHA-256 (RFC 7518 section 3.2).
const KEY_MIN_BYTES: usize = 32;

/// Settings of keys.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Keys")]
pub struct Keys {
    /// The file that holds signing keys and pepper, made at the first start, readable by its owner only. Default:
    /// beside the SQLite file, with the ending .keys; doorward.keys with PostgreSQL.
    #[arg(long)]
    pub keys_file: Option<PathBuf>,

    /// `hs256`, `eddsa` or `es256`: what a new signing key signs access tokens with. The last two have public keys, at
    /// /.well-known/jwks.json, by which other services check tokens themselves. On a service that has keys it is
    /// `doorward keys rotate` that makes the switch. Default: as the keys before; hs256 for the first.
    #[arg(long)]
    pub token_algorithm: Option<TokenAlgorithm>,

    /// An HS256 signing key of at least 32 random bytes, instead of those in the keys file: `openssl rand -base64 48`.
    #[arg(long, value_parser = key)]
    pub jwt_secret: Option<Secret>,

    /// The pepper of at least 32 random bytes, instead of the one in the keys file. Losing it makes every password useless.
    #[arg(long, value_parser = key)]
    pub pepper: Option<Secret>,
}

/// What a signing key signs access tokens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256: whoever can check a token can make one.
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA with P-256 and SHA-256 (RFC 7518 section 3.4).
    Es256,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::EdDsa, Self::Es256];

    /// The word in settings, in the keys file and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "hs256",
            Self::EdDsa => "eddsa",
            Self::Es256 => "es256",
        }
    }

    /// Whether tokens can be checked by those who cannot make them.
    pub const fn has_public_key(self) -> bool {
        !matches!(self, Self::Hs256)
    }
}

impl FromStr for TokenAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text.to_ascii_lowercase());
        found.ok_or_else(|| format!("{text:?} is no algorithm for tokens; use hs256, eddsa or es256"))
    }
}

/// Refuses what an attacker would try first (RFC 8725 section 3.5).
fn key(text: &str) -> Result<Secret, String> {
    let way_out = "make one with: openssl rand -base64 48";
    if text.len() < KEY_MIN_BYTES {
        return Err(format!("it has {} bytes and needs at least {KEY_MIN_BYTES}; {way_out}", text.len()));
    }
    let mut distinct: Vec<u8> = text.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let lower = text.to_lowercase();
    let sample = ["secret", "changeme", "change-me", "example", "password", "your-", "0123456789abcdef"];
    if distinct.len() < 10 || sample.iter().any(|word| lower.contains(word)) {
        return Err(format!("it looks like a sample or a pattern, which is guessed first; {way_out}"));
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
