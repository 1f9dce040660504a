//! Secret types that never print themselves, and cryptographic primitives: random bytes, digests, HMAC, constant-time
//! comparison, base64url. Which key is used for what is decided by core/keys/signing_key.rs and core/credential/password.rs.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

macro_rules! redacted_debug {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}

/// A password, a PIN or a configured key as entered. Its memory is zeroed on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);
redacted_debug!(Secret);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. It must not be logged or stored.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the presented text equals the secret, in constant time.
    pub fn is(&self, presented: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), presented.as_bytes())
    }
}

/// A signed access token: a JWT that authenticates requests of its session until it expires or is revoked.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);
redacted_debug!(AccessToken);

/// A signed refresh token: valid for one rotation, a pure function of key, session row and generation.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(String);
redacted_debug!(RefreshToken);

/// The cookie value that identifies a trusted device, one that has signed in before. It authenticates no request.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceToken(String);
redacted_debug!(DeviceToken);

impl DeviceToken {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the browser that owns it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl AccessToken {
    /// Wraps the compact form.
    pub fn new(compact: impl Into<String>) -> Self {
        Self(compact.into())
    }

    /// The compact form, for the client that owns it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl RefreshToken {
    /// Wraps the compact form.
    pub fn new(compact: impl Into<String>) -> Self {
        Self(compact.into())
    }

    /// The compact form, for the client that owns it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The system's random number generator failed, so no secret can be generated.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct NoRandomness;

/// Random bytes of the system's generator, fit for keys.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    match rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_unspecified) => Err(NoRandomness),
    }
}

/// Encodes bytes in unpadded base64url.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes unpadded base64url; `None` for anything else.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Whether two byte strings are equal. The time depends on their lengths alone, so an attacker who measures it cannot
/// guess a MAC byte by byte. Every comparison with a secret or a MAC goes through here or through `MacKey::verify`.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The SHA-256 digest of bytes.
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
redacted_debug!(MacKey);

impl MacKey {
    /// Makes a key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The HMAC-SHA-256 of a message (RFC 2104).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, message).as_ref().to_vec()
    }

    /// Whether this is the message's MAC, in constant time.
    pub fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, message, mac).is_ok()
    }
}

/// A random `jti` (RFC 7519 section 4.1.7): 16 bytes in base64url.
pub fn random_token_id() -> Result<String, NoRandomness> {
    Ok(base64url(&random_bytes::<16>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_redacts_secrets() {
        let shown = format!("{:?} {:?} {:?}", Secret::new("hunter2"), AccessToken::new("ey"), RefreshToken::new("ey"));
        assert_eq!(shown, "Secret(hidden) AccessToken(hidden) RefreshToken(hidden)");
    }

    #[test]
    fn hmac_matches_rfc_4231() {
        let mac = MacKey::new(b"Jefe").sign(b"what do ya want for nothing?");
        assert_eq!(mac.first_chunk::<4>(), Some(&[0x5b, 0xdc, 0xc1, 0x46]));
        let key = MacKey::new(b"Jefe");
        assert!(key.verify(b"what do ya want for nothing?", &mac) && !key.verify(b"what do ya want?", &mac));
        assert!(!key.verify(b"what do ya want for nothing?", &mac[..31]) && !key.verify(b"", &[]));
    }

    #[test]
    fn constant_time_eq_compares_content_and_length() {
        assert!(constant_time_eq(b"same", b"same") && constant_time_eq(b"", b""));
        assert!(!constant_time_eq(b"same", b"sane") && !constant_time_eq(b"same", b"sam"));
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
    }
}
