//! Text forms of password hashes that are neither PHC strings nor Django's: crypt(3), LDAP, Spring, WordPress, Werkzeug, ASP.NET
//! Identity, better-auth, and two of our own for hashes that need a secret of the other system, Firebase's and Devise's. What a
//! check may cost is decided by scheme.rs.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::encoding::{base64, number, sized};
use super::legacy::{FirebaseScrypt, Md5Crypt, Phpass};
use super::phc_forms::{self, bcrypt, scrypt};
use super::scheme::{BcryptInput, PBKDF2_ROUNDS_MAX, Parsed, SHA_CRYPT_ROUNDS_MAX, Scheme, bounded};
use crate::secret::Secret;

/// MD5 rounds of phpass: WordPress had 2^13.
const PHPASS_ROUNDS_MAX: u32 = 1 << 20;

/// The scheme of a text in one of these forms.
pub(super) fn parse(text: &str) -> Parsed {
    let segments: Vec<&str> = text.split('$').collect();
    match segments.as_slice() {
        ["", "1", salt, hash] => Some(Ok(Scheme::Md5Crypt(Md5Crypt::parse("$1$", salt, hash)?))),
        ["", "apr1", salt, hash] => Some(Ok(Scheme::Md5Crypt(Md5Crypt::parse("$apr1$", salt, hash)?))),
        ["", kind @ ("5" | "6"), salt, hash] => sha_crypt(text, kind, "5000", salt, hash),
        ["", kind @ ("5" | "6"), rounds, salt, hash] => {
            sha_crypt(text, kind, rounds.strip_prefix("rounds=")?, salt, hash)
        }
        ["", "P" | "H", rest] => {
            let phpass = Phpass::parse(rest)?;
            Some(bounded(phpass.rounds() <= PHPASS_ROUNDS_MAX, Scheme::Phpass(phpass)))
        }
        ["", "wp", "2y", cost, rest] => with_input(bcrypt(cost, rest), BcryptInput::WordPress),
        ["bcrypt_sha256", "", "2a" | "2b" | "2y", cost, rest] => with_input(bcrypt(cost, rest), BcryptInput::Sha256Hex),
        ["bcrypt-suffixed", suffix, "", "2a" | "2b" | "2y", cost, rest] => {
            let suffix = String::from_utf8(base64(suffix)?).ok()?;
            with_input(bcrypt(cost, rest), BcryptInput::Suffixed(Secret::new(suffix)))
        }
        ["firebase-scrypt", rounds, memory, signer_key, separator, salt, hash] => {
            firebase([rounds, memory], [signer_key, separator, salt, hash])
        }
        [method, salt, hash] if method.contains(':') => werkzeug(method, salt, hash),
        [one] if one.starts_with('{') => ldap_or_spring(one),
        ["{bcrypt}" | "{argon2}" | "{argon2@SpringSecurity_v5_8}", rest @ ..] if !rest.is_empty() => {
            phc_forms::parse(&[&[""], rest].concat())
        }
        [one] if one.contains(':') => better_auth(one),
        [one] => asp_net(one),
        _ => None,
    }
}

/// The same bcrypt over another input.
fn with_input(parsed: Parsed, input: BcryptInput) -> Parsed {
    let replace = |scheme| match scheme {
        Scheme::Bcrypt { hash, cost, .. } => Scheme::Bcrypt { hash, cost, input },
        other => other,
    };
    parsed.map(|bounded| bounded.map(replace))
}

/// Ulrich Drepper's SHA-crypt. The crate reads the text again at each check.
fn sha_crypt(text: &str, kind: &str, rounds: &str, salt: &str, hash: &str) -> Parsed {
    let rounds: u32 = number(rounds)?;
    let length = if kind == "5" { 43 } else { 86 };
    let is_crypt = |text: &str| text.chars().all(|character| super::legacy::crypt_value(character).is_some());
    let fits = salt.len() <= 16 && hash.len() == length && is_crypt(hash) && rounds >= sha_crypt::Params::ROUNDS_MIN;
    fits.then(|| bounded(rounds <= SHA_CRYPT_ROUNDS_MAX, Scheme::ShaCrypt { text: text.to_owned() }))
}

/// `{SHA}` and `{SSHA}` of LDAP (RFC 2307), which is SHA-1 of the password and the salt behind it.
fn ldap_or_spring(text: &str) -> Parsed {
    let (name, rest) = text.strip_prefix('{')?.split_once('}')?;
    if !matches!(name.to_ascii_uppercase().as_str(), "SHA" | "SSHA") {
        return None;
    }
    let mut hash = STANDARD.decode(rest).ok()?;
    if hash.len() < 20 || (name.len() == 3) != (hash.len() == 20) {
        return None;
    }
    let salt = hash.split_off(20);
    Some(Ok(Scheme::SaltedSha1 { salt: if salt.is_empty() { salt } else { sized(salt, 1)? }, hash }))
}

/// `scrypt:N:r:p$salt$hex` and `pbkdf2:sha256:rounds$salt$hex`, whose salt is text.
fn werkzeug(method: &str, salt: &str, hash: &str) -> Parsed {
    let (hash, salt) = (hex(hash)?, salt.as_bytes().to_vec());
    let parts: Vec<&str> = method.split(':').collect();
    match parts.as_slice() {
        ["scrypt", n, r, p] => {
            let n: u64 = number(n)?;
            let log_n = n.is_power_of_two().then(|| n.trailing_zeros())?;
            scrypt(u8::try_from(log_n).ok()?, number(r)?, number(p)?, salt, hash)
        }
        ["pbkdf2", digest, rounds] => {
            let algorithm = match *digest {
                "sha1" => pbkdf2::PBKDF2_HMAC_SHA1,
                "sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
                "sha512" => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return None,
            };
            pbkdf2_of(algorithm, number(rounds)?, salt, hash)
        }
        _ => None,
    }
}

fn pbkdf2_of(algorithm: pbkdf2::Algorithm, rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8>) -> Parsed {
    let (salt, hash) = (sized(salt, 1)?, sized(hash, 16)?);
    Some(bounded(rounds.get() <= PBKDF2_ROUNDS_MAX, Scheme::Pbkdf2 { algorithm, rounds, salt, hash }))
}

/// `salt:key` in hexadecimal: scrypt over the text of the salt and the password in NFKC.
fn better_auth(text: &str) -> Parsed {
    let (salt, key) = text.split_once(':')?;
    let is_lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if salt.len() != 32 || key.len() != 128 || !is_lower_hex(salt) || !is_lower_hex(key) {
        return None;
    }
    match scrypt(14, 16, 1, salt.as_bytes().to_vec(), hex(key)?)? {
        Ok(Scheme::Scrypt { params, salt, hash, .. }) => Some(Ok(Scheme::Scrypt { params, salt, hash, nfkc: true })),
        other => Some(other),
    }
}

/// ASP.NET Identity: version 2 is PBKDF2 with SHA-1 and 1000 rounds; version 3 names algorithm, rounds and the salt's length.
fn asp_net(text: &str) -> Parsed {
    let bytes = STANDARD.decode(text).ok()?;
    let (version, rest) = bytes.split_first()?;
    let word = |at: usize| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    match version {
        0 if rest.len() == 48 => {
            let (salt, hash) = rest.split_at_checked(16)?;
            pbkdf2_of(pbkdf2::PBKDF2_HMAC_SHA1, NonZeroU32::new(1000)?, salt.to_vec(), hash.to_vec())
        }
        1 => {
            let algorithm = match word(0)? {
                0 => pbkdf2::PBKDF2_HMAC_SHA1,
                1 => pbkdf2::PBKDF2_HMAC_SHA256,
                2 => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return None,
            };
            let (rounds, salt_length) = (NonZeroU32::new(word(4)?)?, usize::try_from(word(8)?).ok()?);
            let (salt, hash) = rest.get(12..)?.split_at_checked(salt_length)?;
            pbkdf2_of(algorithm, rounds, salt.to_vec(), hash.to_vec())
        }
        _ => None,
    }
}

fn firebase([rounds, memory]: [&str; 2], [signer_key, separator, salt, hash]: [&str; 4]) -> Parsed {
    let any = |text: &str| STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
    let (block, log_n): (u32, u8) = (number(rounds)?, number(memory)?);
    let salt = sized([any(salt)?, any(separator)?].concat(), 1)?;
    let (signer_key, hash) = (sized(any(signer_key)?, 16)?, sized(any(hash)?, 16)?);
    match scrypt(log_n, block, 1, salt, hash)? {
        Ok(Scheme::Scrypt { params, salt, hash, .. }) => {
            Some(Ok(Scheme::Firebase(FirebaseScrypt { params, salt, signer_key, hash })))
        }
        other => Some(other),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.as_bytes().chunks(2).filter(|_| is_hex).map(pair).collect::<Option<Vec<u8>>>().filter(|_| is_hex)
}
