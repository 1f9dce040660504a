//! Hashes that other systems made: which texts are one, what they may cost, and whether a secret is the one behind them.
//! That a right one is replaced by ours at that sign-in is decided by `Hasher` and sign_in.rs.

mod parts;

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Version};
use aws_lc_rs::{constant_time, pbkdf2};
use zeroize::Zeroizing;

use self::parts::{Named, base64, bcrypt_normal, bytes, number};
use super::{Secret, normal};
use crate::core::error::FieldRule;

/// Stands in front of a hash that was imported and not yet replaced.
const MARK: &str = "imported:";

/// The longest text that is read as a hash.
const TEXT_MAX: usize = 512;

/// Memory of one check. 256 MiB is the most that common defaults ask for; HASH_THREADS checks run at a time.
const MEMORY_MAX: u64 = 256 << 20;

/// Memory written in one check, all passes together: one to four seconds.
const TRAFFIC_MAX: u64 = 1 << 30;

/// Rounds of PBKDF2: two to eight seconds. Four times what its users set today.
const ROUNDS_MAX: u32 = 5_000_000;

/// Costs of bcrypt: 16 takes four seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// bcrypt never reads more.
const BCRYPT_READS: usize = 72;

const UNKNOWN: FieldRule = FieldRule::Type(
    "a hash of bcrypt ($2a$, $2b$, $2y$), argon2i or argon2id, PBKDF2 or scrypt, in the PHC form or Django's",
);
const COSTLY: FieldRule = FieldRule::Type(
    "a hash that one sign-in can check: argon2 and scrypt with 256 MiB and 1 GiB over all passes at most, \
     PBKDF2 with 5,000,000 rounds, bcrypt with cost 16",
);

/// A hash from elsewhere that may be checked: its parameters are within bounds.
#[derive(Clone)]
pub struct Foreign {
    scheme: Scheme,
    /// As it was given.
    text: String,
}

#[derive(Clone)]
enum Scheme {
    Bcrypt { hash: String, cost: u32 },
    Argon2 { kind: Algorithm, version: Version, params: argon2::Params, salt: Vec<u8>, hash: Vec<u8> },
    Pbkdf2 { algorithm: pbkdf2::Algorithm, rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    Scrypt { params: scrypt::Params, salt: Vec<u8>, hash: Vec<u8> },
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Foreign(hidden)")
    }
}

impl Foreign {
    /// Reads a hash as its system wrote it, and refuses one that would take too long or too much memory to check:
    /// nothing is computed here.
    pub fn read(text: &str) -> Result<Self, FieldRule> {
        if text.len() > TEXT_MAX || !text.is_ascii() {
            return Err(UNKNOWN);
        }
        let segments: Vec<&str> = text.split('$').collect();
        let scheme = scheme(&segments).ok_or(UNKNOWN)??;
        Ok(Self { scheme, text: text.to_owned() })
    }

    /// The stored form: the hash as it was given, marked.
    pub fn stored(&self) -> String {
        format!("{MARK}{}", self.text)
    }

    /// The hash in a stored form, if it is one of these.
    pub(super) fn of_stored(stored: &str) -> Option<Self> {
        Self::read(stored.strip_prefix(MARK)?).ok()
    }

    /// The cost, if it is bcrypt's.
    pub(super) fn bcrypt_cost(&self) -> Option<u32> {
        match &self.scheme {
            Scheme::Bcrypt { cost, .. } => Some(*cost),
            Scheme::Argon2 { .. } | Scheme::Pbkdf2 { .. } | Scheme::Scrypt { .. } => None,
        }
    }

    /// Whether the secret is the one behind the hash: in NFC, as ours are, or as it was typed, since the system that made
    /// the hash may have normalised nothing.
    pub(super) fn is_of(&self, secret: &Secret) -> bool {
        let composed = normal(secret);
        self.matches(composed.expose()) || (composed != *secret && self.matches(secret.expose()))
    }

    fn matches(&self, secret: &str) -> bool {
        match &self.scheme {
            Scheme::Bcrypt { hash, .. } => matches_bcrypt(secret.as_bytes(), hash),
            Scheme::Argon2 { kind, version, params, salt, hash } => is_made(hash, |out| {
                Argon2::new(*kind, *version, params.clone()).hash_password_into(secret.as_bytes(), salt, out).is_ok()
            }),
            Scheme::Pbkdf2 { algorithm, rounds, salt, hash } => {
                pbkdf2::verify(*algorithm, *rounds, salt, secret.as_bytes(), hash).is_ok()
            }
            Scheme::Scrypt { params, salt, hash } => {
                is_made(hash, |out| ::scrypt::scrypt(secret.as_bytes(), salt, params, out).is_ok())
            }
        }
    }
}

/// `None` when the text is no such hash, an error when it asks for too much.
type Read = Option<Result<Scheme, FieldRule>>;

/// The PHC form begins with `$`, Django's with a name.
fn scheme(segments: &[&str]) -> Read {
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

fn within(bounds: bool, scheme: Scheme) -> Result<Scheme, FieldRule> {
    if bounds { Ok(scheme) } else { Err(COSTLY) }
}

/// Whether the making fills a buffer with the same bytes.
fn is_made(hash: &[u8], make: impl FnOnce(&mut [u8]) -> bool) -> bool {
    let mut buffer = Zeroizing::new(vec![0; hash.len()]);
    make(&mut buffer) && constant_time::verify_slices_are_equal(&buffer, hash).is_ok()
}

/// The makers of these hashes read 72 bytes, and most of them stopped at NUL; whoever got in there gets in here with
/// what they typed there. Our own hash, made at that moment, is of every byte.
fn matches_bcrypt(secret: &[u8], hash: &str) -> bool {
    let is = |secret: &[u8]| {
        let read = secret.get(..BCRYPT_READS).unwrap_or(secret);
        ::bcrypt::verify(read, hash).unwrap_or(false)
    };
    let before_nul = secret.split(|byte| *byte == 0).next().filter(|before| before.len() < secret.len());
    is(secret) || before_nul.is_some_and(|before| !before.is_empty() && is(before))
}

/// 22 characters of salt, 31 of digest. Some old makers left stray bits in the last one of each, so both are written anew.
fn bcrypt(cost: &str, rest: &str) -> Read {
    let cost: u32 = number(cost)?;
    let (salt, digest) = rest.split_at_checked(22).filter(|(_, digest)| digest.len() == 31)?;
    let hash = format!("$2b${cost:02}${}{}", bcrypt_normal(salt)?, bcrypt_normal(digest)?);
    Some(within(COSTS.contains(&cost), Scheme::Bcrypt { hash, cost }))
}

fn argon2(kind: &str, version: &str, params: &str, salt: &str, hash: &str) -> Read {
    let kind = if kind == "argon2i" { Algorithm::Argon2i } else { Algorithm::Argon2id };
    let version = Version::try_from(number::<u32>(version)?).ok()?;
    let mut named = Named::read(params)?;
    let (memory, passes, lanes): (u32, u32, u32) = (named.take("m")?, named.take("t")?, named.take("p")?);
    named.end()?;
    let (salt, hash) = (bytes(base64(salt)?, 8)?, bytes(base64(hash)?, 16)?);
    let bytes = u64::from(memory) << 10;
    let bounds = bytes <= MEMORY_MAX && bytes.saturating_mul(passes.into()) <= TRAFFIC_MAX;
    let params = argon2::Params::new(memory, passes, lanes, Some(hash.len())).ok()?;
    Some(within(bounds, Scheme::Argon2 { kind, version, params, salt, hash }))
}

/// `i=ROUNDS`, with `l=LENGTH` at will; passlib writes the number alone.
fn pbkdf2_phc(algorithm: pbkdf2::Algorithm, params: &str, salt: &str, hash: &str) -> Read {
    let salt = base64(salt)?;
    if !params.contains('=') {
        return pbkdf2(algorithm, params, salt, hash);
    }
    let mut named = Named::read(params)?;
    let rounds: u32 = named.take("i")?;
    let length: Option<usize> = named.take("l");
    named.end()?;
    let agrees = length.is_none_or(|length| base64(hash).is_some_and(|hash| hash.len() == length));
    if agrees { pbkdf2(algorithm, &rounds.to_string(), salt, hash) } else { None }
}

fn pbkdf2(algorithm: pbkdf2::Algorithm, rounds: &str, salt: Vec<u8>, hash: &str) -> Read {
    let rounds: NonZeroU32 = number(rounds)?;
    let (salt, hash) = (bytes(salt, 1)?, bytes(base64(hash)?, 16)?);
    Some(within(rounds.get() <= ROUNDS_MAX, Scheme::Pbkdf2 { algorithm, rounds, salt, hash }))
}

fn scrypt_phc(params: &str, salt: &str, hash: &str) -> Read {
    let mut named = Named::read(params)?;
    let (log_n, r, p) = (named.take("ln")?, named.take("r")?, named.take("p")?);
    named.end()?;
    scrypt(log_n, r, p, base64(salt)?, hash)
}

fn scrypt_django(n: &str, salt: &str, r: &str, p: &str, hash: &str) -> Read {
    let n: u64 = number(n)?;
    let log_n = n.is_power_of_two().then(|| n.trailing_zeros())?;
    scrypt(u8::try_from(log_n).ok()?, number(r)?, number(p)?, salt.into(), hash)
}

fn scrypt(log_n: u8, r: u32, p: u32, salt: Vec<u8>, hash: &str) -> Read {
    let (salt, hash) = (bytes(salt, 1)?, bytes(base64(hash)?, 16)?);
    if log_n == 0 || r == 0 || p == 0 {
        return None;
    }
    let n = 1_u64.checked_shl(log_n.into()).unwrap_or(u64::MAX);
    let block = u64::from(r) << 7;
    let memory = block.saturating_mul(n.saturating_add(p.into()));
    let traffic = block.saturating_mul(n).saturating_mul(p.into());
    if memory > MEMORY_MAX || traffic > TRAFFIC_MAX {
        return Some(Err(COSTLY));
    }
    Some(within(true, Scheme::Scrypt { params: ::scrypt::Params::new(log_n, r, p).ok()?, salt, hash }))
}

#[cfg(test)]
mod tests;
