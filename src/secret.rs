//! Secrets and what is made of them: types that never print themselves, random bytes, keyed digests.
//! Which key is used for what is decided in core/signing_key.rs and core/password.rs.

use std::fmt;

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

macro_rules! never_printed {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}

/// A password, a PIN or a configured key as somebody typed it. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);
never_printed!(Secret);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for hashing and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether somebody knows it; how long that takes tells nothing but its length.
    pub fn is(&self, presented: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), presented.as_bytes()).is_ok()
    }
}

/// A signed access token: a JWT that opens the routes of its session until it expires or is revoked.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);
never_printed!(AccessToken);

/// A signed refresh token: good for one rotation, a pure function of key, session row and generation.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(String);
never_printed!(RefreshToken);

/// What a browser shows to be known as a device that has signed in before. Opens nothing by itself.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceToken(String);
never_printed!(DeviceToken);

impl DeviceToken {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the browser that it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl AccessToken {
    /// Takes the compact form in.
    pub fn new(compact: impl Into<String>) -> Self {
        Self(compact.into())
    }

    /// The compact form, for the client it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl RefreshToken {
    /// Takes the compact form in.
    pub fn new(compact: impl Into<String>) -> Self {
        Self(compact.into())
    }

    /// The compact form, for the client it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The system's source of randomness failed: nothing secret can be made.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// `N` random bytes.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    match rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_unspecified) => Err(NoRandomness),
    }
}

/// Unpadded base64url of bytes.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of unpadded base64url; `None` for anything else.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// A key for HMAC-SHA-256.
#[derive(Clone)]
pub struct MacKey(hmac::Key);
never_printed!(MacKey);

impl MacKey {
    /// From key bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// HMAC-SHA-256 of a message (RFC 2104).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, message).as_ref().to_vec()
    }

    /// Whether this is the message's; how long that takes does not tell how much of it is right.
    pub fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, message, mac).is_ok()
    }
}

/// A random `jti`: 16 bytes in base64url.
pub fn random_token_id() -> Result<String, NoRandomness> {
    Ok(base64url(&random_bytes::<16>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print_themselves() {
        let shown = format!("{:?} {:?} {:?}", Secret::new("hunter2"), AccessToken::new("ey"), RefreshToken::new("ey"));
        assert_eq!(shown, "Secret(hidden) AccessToken(hidden) RefreshToken(hidden)");
    }

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let mac = MacKey::new(b"Jefe").sign(b"what do ya want for nothing?");
        assert_eq!(mac.first_chunk::<4>(), Some(&[0x5b, 0xdc, 0xc1, 0x46]));
        let key = MacKey::new(b"Jefe");
        assert!(key.verify(b"what do ya want for nothing?", &mac) && !key.verify(b"what do ya want?", &mac));
        assert!(!key.verify(b"what do ya want for nothing?", &mac[..31]) && !key.verify(b"", &[]));
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
    }
}
