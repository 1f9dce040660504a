//! Imported password hashes of other systems: parses them, bounds what a check may cost, and verifies a secret. That a hash
//! is replaced by a native one at the first sign-in is decided by `Hasher` and sign_in.rs.

mod encoding;

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Version};
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use self::encoding::{base64, canonical_bcrypt_base64, number, parameters, sized};
use super::normalization::normalize;
use crate::core::error::FieldRule;
use crate::secret::{Secret, constant_time_eq};

/// Prefix of an imported hash in the table.
const STORED_PREFIX: &str = "imported:";

/// The longest text that is parsed.
const TEXT_MAX: usize = 512;

/// Memory of one verification. 256 MiB is the maximum of common defaults; `HASH_THREADS` verifications run at a time.
const MEMORY_MAX: u64 = 256 << 20;

/// Memory written in one verification, over all passes: one to four seconds.
const MEMORY_TRAFFIC_MAX: u64 = 1 << 30;

/// Rounds of PBKDF2: two to eight seconds, four times the current defaults.
const PBKDF2_ROUNDS_MAX: u32 = 5_000_000;

/// Costs of bcrypt: 16 takes four seconds.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// Bytes of a secret that bcrypt reads.
const BCRYPT_INPUT_MAX: usize = 72;

/// A password hash of another system, with parameters within the bounds above.
#[derive(Clone)]
pub struct ImportedHash {
    scheme: Scheme,
    /// The original text.
    text: String,
}

#[derive(Clone)]
enum Scheme {
    Bcrypt { hash: String, cost: u32 },
    Argon2 { kind: Algorithm, version: Version, params: argon2::Params, salt: Vec<u8>, hash: Vec<u8> },
    Pbkdf2 { algorithm: pbkdf2::Algorithm, rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    Scrypt { params: scrypt::Params, salt: Vec<u8>, hash: Vec<u8> },
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
        let scheme = scheme(&segments).ok_or(FieldRule::UnknownHashFormat)??;
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
        match &self.scheme {
            Scheme::Bcrypt { cost, .. } => Some(*cost),
            Scheme::Argon2 { .. } | Scheme::Pbkdf2 { .. } | Scheme::Scrypt { .. } => None,
        }
    }

    /// Verifies a secret in NFC, as native hashes have it, and as entered, since the other system may not have normalised
    /// it.
    pub(super) fn verify(&self, secret: &Secret) -> bool {
        let composed = normalize(secret);
        self.verify_text(composed.expose()) || (composed != *secret && self.verify_text(secret.expose()))
    }

    fn verify_text(&self, secret: &str) -> bool {
        match &self.scheme {
            Scheme::Bcrypt { hash, .. } => verify_bcrypt(secret.as_bytes(), hash),
            Scheme::Argon2 { kind, version, params, salt, hash } => verify_derived(hash, |out| {
                Argon2::new(*kind, *version, params.clone()).hash_password_into(secret.as_bytes(), salt, out).is_ok()
            }),
            Scheme::Pbkdf2 { algorithm, rounds, salt, hash } => {
                pbkdf2::verify(*algorithm, *rounds, salt, secret.as_bytes(), hash).is_ok()
            }
            Scheme::Scrypt { params, salt, hash } => {
                verify_derived(hash, |out| ::scrypt::scrypt(secret.as_bytes(), salt, params, out).is_ok())
            }
        }
    }
}

/// `None` for an unknown format, an error for a hash that is too expensive.
type Parsed = Option<Result<Scheme, FieldRule>>;

/// The PHC string format begins with `$`, Django's with the name of the algorithm. The split is our own, for
/// `phc::PasswordHash` refuses what is in use: salts under 8 bytes, passlib's PBKDF2 and its base64.
fn scheme(segments: &[&str]) -> Parsed {
    match segments {
        ["", "2a" | "2b" | "2y", cost, rest] | ["bcrypt", "", "2a" | "2b" | "2y", cost, rest] => bcrypt(cost, rest),
        ["" | "argon2", kind @ ("argon2i" | "argon2id"), version, params, salt, hash] => {
            argon2(kind, version.strip_prefix("v=")?, params, salt, hash)
        }
        ["" | "argon2", kind @ ("argon2i" | "argon2id"), params, salt, hash] => argon2(kind, "16", params, salt, hash),
        ["pbkdf2_sha256", rounds, salt, hash] => pbkdf2(pbkdf2::PBKDF2_HMAC_SHA256, rounds, (*salt).into(), hash),
        ["pbkdf2_sha1", rounds, salt, hash] => pbkdf2(pbkdf2::PBKDF2_HMAC_SHA1, rounds, (*salt).into(), hash),
        ["", "pbkdf2" | "pbkdf2-sha1", params, salt, hash] => pbkdf2_phc(pbkdf2::PBKDF2_HMAC_SHA1, params, salt, hash),
        ["", "pbkdf2-sha256", params, salt, hash] => pbkdf2_phc(pbkdf2::PBKDF2_HMAC_SHA256, params, salt, hash),
        ["", "pbkdf2-sha512", params, salt, hash] => pbkdf2_phc(pbkdf2::PBKDF2_HMAC_SHA512, params, salt, hash),
        ["", "scrypt", params, salt, hash] => scrypt_phc(params, salt, hash),
        ["scrypt", n, salt, r, p, hash] => scrypt_django(n, salt, r, p, hash),
        _ => None,
    }
}

fn bounded(is_within: bool, scheme: Scheme) -> Result<Scheme, FieldRule> {
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

/// 22 characters of salt and 31 of digest. Some old implementations left stray bits in the last character of each, which
/// the bcrypt crate refuses, so both are encoded anew.
fn bcrypt(cost: &str, rest: &str) -> Parsed {
    let cost: u32 = number(cost)?;
    let (salt, digest) = rest.split_at_checked(22).filter(|(_, digest)| digest.len() == 31)?;
    let hash = format!("$2b${cost:02}${}{}", canonical_bcrypt_base64(salt)?, canonical_bcrypt_base64(digest)?);
    Some(bounded(BCRYPT_COSTS.contains(&cost), Scheme::Bcrypt { hash, cost }))
}

fn argon2(kind: &str, version: &str, params: &str, salt: &str, hash: &str) -> Parsed {
    let kind = if kind == "argon2i" { Algorithm::Argon2i } else { Algorithm::Argon2id };
    let version = Version::try_from(number::<u32>(version)?).ok()?;
    let [kibibytes, passes, lanes] = parameters(params, ["m", "t", "p"])?;
    let (salt, hash) = (sized(base64(salt)?, 8)?, sized(base64(hash)?, 16)?);
    let memory = u64::from(kibibytes) << 10;
    let is_within = memory <= MEMORY_MAX && memory.saturating_mul(passes.into()) <= MEMORY_TRAFFIC_MAX;
    let params = argon2::Params::new(kibibytes, passes, lanes, Some(hash.len())).ok()?;
    Some(bounded(is_within, Scheme::Argon2 { kind, version, params, salt, hash }))
}

/// `i=ROUNDS` or `i=ROUNDS,l=LENGTH`; passlib writes the number of rounds alone.
fn pbkdf2_phc(algorithm: pbkdf2::Algorithm, params: &str, salt: &str, hash: &str) -> Parsed {
    let salt = base64(salt)?;
    if let Some([rounds, length]) = parameters(params, ["i", "l"]) {
        let has_length = base64(hash)?.len() == usize::try_from(length).ok()?;
        return if has_length { pbkdf2(algorithm, &rounds.to_string(), salt, hash) } else { None };
    }
    match parameters(params, ["i"]) {
        Some([rounds]) => pbkdf2(algorithm, &rounds.to_string(), salt, hash),
        None => pbkdf2(algorithm, params, salt, hash),
    }
}

fn pbkdf2(algorithm: pbkdf2::Algorithm, rounds: &str, salt: Vec<u8>, hash: &str) -> Parsed {
    let rounds: NonZeroU32 = number(rounds)?;
    let (salt, hash) = (sized(salt, 1)?, sized(base64(hash)?, 16)?);
    Some(bounded(rounds.get() <= PBKDF2_ROUNDS_MAX, Scheme::Pbkdf2 { algorithm, rounds, salt, hash }))
}

fn scrypt_phc(params: &str, salt: &str, hash: &str) -> Parsed {
    let [log_n, r, p] = parameters(params, ["ln", "r", "p"])?;
    scrypt(u8::try_from(log_n).ok()?, r, p, base64(salt)?, hash)
}

fn scrypt_django(n: &str, salt: &str, r: &str, p: &str, hash: &str) -> Parsed {
    let n: u64 = number(n)?;
    let log_n = n.is_power_of_two().then(|| n.trailing_zeros())?;
    scrypt(u8::try_from(log_n).ok()?, number(r)?, number(p)?, salt.into(), hash)
}

fn scrypt(log_n: u8, r: u32, p: u32, salt: Vec<u8>, hash: &str) -> Parsed {
    let (salt, hash) = (sized(salt, 1)?, sized(base64(hash)?, 16)?);
    if log_n == 0 || r == 0 || p == 0 {
        return None;
    }
    let n = 1_u64.checked_shl(log_n.into()).unwrap_or(u64::MAX);
    let block = u64::from(r) << 7;
    let memory = block.saturating_mul(n.saturating_add(p.into()));
    let traffic = block.saturating_mul(n).saturating_mul(p.into());
    // Before the parameters are built: their constructor may refuse such sizes, and the reason must be the cost.
    if memory > MEMORY_MAX || traffic > MEMORY_TRAFFIC_MAX {
        return Some(Err(FieldRule::HashTooExpensive));
    }
    Some(Ok(Scheme::Scrypt { params: ::scrypt::Params::new(log_n, r, p).ok()?, salt, hash }))
}

#[cfg(test)]
mod tests;
