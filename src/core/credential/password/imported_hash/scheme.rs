//! Hash schemes of imported passwords: their parameters, the bounds of what a check may cost, and the verification. Texts are parsed
//! by phc_forms.rs and vendor_forms.rs.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Version};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::legacy::{FirebaseScrypt, Md5Crypt, Phpass, verify_salted_sha1};
use crate::core::error::FieldRule;
use crate::secret::{Secret, constant_time_eq};

/// Memory of one verification. 256 MiB is the maximum of common defaults; `HASH_THREADS` verifications run at a time.
pub const MEMORY_MAX: u64 = 256 << 20;

/// Memory written in one verification, over all passes: one to four seconds.
pub const MEMORY_TRAFFIC_MAX: u64 = 1 << 30;

/// Rounds of PBKDF2: two to eight seconds, four times the current defaults.
pub const PBKDF2_ROUNDS_MAX: u32 = 5_000_000;

/// Rounds of SHA-crypt: one to two seconds, two hundred times the default.
pub const SHA_CRYPT_ROUNDS_MAX: u32 = 1_000_000;

/// Costs of bcrypt: 16 takes four seconds.
pub const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// Bytes of a secret that bcrypt reads.
const BCRYPT_INPUT_MAX: usize = 72;

/// A scheme with the parameters, the salt and the hash of one password.
#[derive(Clone)]
pub enum Scheme {
    Bcrypt { hash: String, cost: u32, input: BcryptInput },
    Argon2 { kind: Algorithm, version: Version, params: argon2::Params, salt: Vec<u8>, hash: Vec<u8> },
    Pbkdf2 { algorithm: pbkdf2::Algorithm, rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    Scrypt { params: scrypt::Params, salt: Vec<u8>, hash: Vec<u8>, nfkc: bool },
    ShaCrypt { text: String },
    Md5Crypt(Md5Crypt),
    Phpass(Phpass),
    SaltedSha1 { salt: Vec<u8>, hash: Vec<u8> },
    Firebase(FirebaseScrypt),
}

/// What the other system passes to bcrypt.
#[derive(Clone)]
pub enum BcryptInput {
    /// The password.
    Password,
    /// Its SHA-256 in hexadecimal, as Django's `bcrypt_sha256`.
    Sha256Hex,
    /// Its keyed SHA-384 in base64, as WordPress since 6.8.
    WordPress,
    /// The password and a pepper behind it, as Devise.
    Suffixed(Secret),
}

impl BcryptInput {
    fn of(&self, secret: &str) -> Vec<u8> {
        match self {
            Self::Password => secret.as_bytes().to_vec(),
            Self::Sha256Hex => {
                let digest = digest::digest(&digest::SHA256, secret.as_bytes());
                digest.as_ref().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
            }
            Self::WordPress => {
                // PHP's trim: six characters, NUL among them.
                let trimmed = secret.trim_matches([' ', '\t', '\n', '\r', '\0', '\u{b}']);
                let key = hmac::Key::new(hmac::HMAC_SHA384, b"wp-sha384");
                STANDARD.encode(hmac::sign(&key, trimmed.as_bytes())).into_bytes()
            }
            Self::Suffixed(suffix) => [secret.as_bytes(), suffix.expose().as_bytes()].concat(),
        }
    }
}

impl Scheme {
    /// The cost of a bcrypt hash.
    pub fn bcrypt_cost(&self) -> Option<u32> {
        if let Self::Bcrypt { cost, .. } = self { Some(*cost) } else { None }
    }

    /// Whether this text is the secret.
    pub fn verify(&self, secret: &str) -> bool {
        match self {
            Scheme::Bcrypt { hash, input, .. } => verify_bcrypt(&input.of(secret), hash),
            Scheme::Argon2 { kind, version, params, salt, hash } => verify_derived(hash, |out| {
                Argon2::new(*kind, *version, params.clone()).hash_password_into(secret.as_bytes(), salt, out).is_ok()
            }),
            Scheme::Pbkdf2 { algorithm, rounds, salt, hash } => {
                pbkdf2::verify(*algorithm, *rounds, salt, secret.as_bytes(), hash).is_ok()
            }
            Scheme::Scrypt { params, salt, hash, nfkc } => {
                let secret = Zeroizing::new(if *nfkc { secret.nfkc().collect() } else { secret.to_owned() });
                verify_derived(hash, |out| ::scrypt::scrypt(secret.as_bytes(), salt, params, out).is_ok())
            }
            Scheme::ShaCrypt { text } => ShaCrypt::default().verify_password(secret.as_bytes(), text.as_str()).is_ok(),
            Scheme::Md5Crypt(hash) => hash.verify(secret.as_bytes()),
            Scheme::Phpass(hash) => hash.verify(secret.as_bytes()),
            Scheme::SaltedSha1 { salt, hash } => verify_salted_sha1(secret.as_bytes(), salt, hash),
            Scheme::Firebase(hash) => hash.verify(secret.as_bytes()),
        }
    }
}

/// `None` for an unknown format, an error for a hash that is too expensive.
pub type Parsed = Option<Result<Scheme, FieldRule>>;

/// The scheme, if its cost is within the bounds.
pub fn bounded(is_within: bool, scheme: Scheme) -> Result<Scheme, FieldRule> {
    if is_within { Ok(scheme) } else { Err(FieldRule::HashTooExpensive) }
}

/// Compares a hash with a derived one in constant time.
fn verify_derived(hash: &[u8], derive: impl FnOnce(&mut [u8]) -> bool) -> bool {
    let mut buffer = Zeroizing::new(vec![0; hash.len()]);
    derive(&mut buffer) && constant_time_eq(&buffer, hash)
}

/// Other implementations of bcrypt read 72 bytes, and most of them stop at NUL: a secret that signed in there must sign
/// in here. Our own hash, made at that sign-in, covers every byte.
fn verify_bcrypt(secret: &[u8], hash: &str) -> bool {
    let verify = |secret: &[u8]| {
        let read = secret.get(..BCRYPT_INPUT_MAX).unwrap_or(secret);
        ::bcrypt::verify(read, hash).unwrap_or(false)
    };
    let before_nul = secret.split(|byte| *byte == 0).next().filter(|before| before.len() < secret.len());
    // A leading NUL would make any such secret the empty one.
    verify(secret) || before_nul.is_some_and(|before| !before.is_empty() && verify(before))
}
