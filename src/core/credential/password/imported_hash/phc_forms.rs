//! Text forms of password hashes: the PHC string format, and Django's and passlib's variants of it. What a check may cost is decided
//! by scheme.rs.

use std::num::NonZeroU32;

use argon2::{Algorithm, Version};
use aws_lc_rs::pbkdf2;

use super::encoding::{base64, canonical_bcrypt_base64, number, parameters, sized};
use super::scheme::{
    BCRYPT_COSTS, BcryptInput, MEMORY_MAX, MEMORY_TRAFFIC_MAX, PBKDF2_ROUNDS_MAX, Parsed, Scheme, bounded,
};
use crate::core::error::FieldRule;

/// The PHC string format begins with `$`, Django's with the name of the algorithm. The split is our own, for
/// `phc::PasswordHash` refuses what is in use: salts under 8 bytes, passlib's PBKDF2 and its base64.
pub fn parse(segments: &[&str]) -> Parsed {
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

/// 22 characters of salt and 31 of digest. Some old implementations left stray bits in the last character of each, which
/// the bcrypt crate refuses, so both are encoded anew.
pub fn bcrypt(cost: &str, rest: &str) -> Parsed {
    let cost: u32 = number(cost)?;
    let (salt, digest) = rest.split_at_checked(22).filter(|(_, digest)| digest.len() == 31)?;
    let hash = format!("$2b${cost:02}${}{}", canonical_bcrypt_base64(salt)?, canonical_bcrypt_base64(digest)?);
    Some(bounded(BCRYPT_COSTS.contains(&cost), Scheme::Bcrypt { hash, cost, input: BcryptInput::Password }))
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
    scrypt(u8::try_from(log_n).ok()?, r, p, base64(salt)?, base64(hash)?)
}

fn scrypt_django(n: &str, salt: &str, r: &str, p: &str, hash: &str) -> Parsed {
    let n: u64 = number(n)?;
    let log_n = n.is_power_of_two().then(|| n.trailing_zeros())?;
    scrypt(u8::try_from(log_n).ok()?, number(r)?, number(p)?, salt.into(), base64(hash)?)
}

/// The scheme by its parameters, if one check of it is affordable.
pub fn scrypt(log_n: u8, r: u32, p: u32, salt: Vec<u8>, hash: Vec<u8>) -> Parsed {
    let (salt, hash) = (sized(salt, 1)?, sized(hash, 16)?);
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
    Some(Ok(Scheme::Scrypt { params: ::scrypt::Params::new(log_n, r, p).ok()?, salt, hash, nfkc: false }))
}
