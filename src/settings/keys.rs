//! Where signing keys and pepper come from. How they are used is for core/signing_key.rs and core/password.rs.

use std::path::PathBuf;

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

    /// A signing key of at least 32 random bytes, instead of those in the keys file: `openssl rand -base64 48`.
    #[arg(long, value_parser = key)]
    pub jwt_secret: Option<Secret>,

    /// The pepper of at least 32 random bytes, instead of the one in the keys file. Losing it makes every password useless.
    #[arg(long, value_parser = key)]
    pub pepper: Option<Secret>,
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
