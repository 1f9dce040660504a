//! Assertion key: the Ed25519 key pair that signs identity assertions. Their contents are session/assertion.rs's.
//!
//! Assertions have their own key, `typ` and key set: an app that received one cannot use it as an access token, and no
//! verifier of access tokens accepts its key (RFC 8725 sections 3.8, 3.11 and 3.12).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::signature::sign;
use crate::core::error::InternalError;
use crate::core::keys::signing_key::{PublicKey, SigningKey};
use crate::secret::base64url;

/// The prefix that makes an Ed25519 private key of 32 bytes a PKCS#8 document (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The assertion key of a signing key. It is derived from that key, so every node has the same one, and it is retired with it.
#[derive(Debug, Clone)]
pub struct AssertionKey {
    header: Header,
    encoding: EncodingKey,
    public: PublicKey,
}

impl AssertionKey {
    /// Derives it from a signing key.
    pub fn of(key: &SigningKey) -> Result<Self, InternalError> {
        let seed = key.derive.sign(b"doorward assertions");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        let pair = pair.map_err(|cause| InternalError::broken_by("cannot derive the assertion key", cause))?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("doorward-assertion+jwt".to_owned());
        header.kid = Some(format!("{}.assertion", key.id));
        Ok(Self {
            header,
            encoding: EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], &seed].concat()),
            public: PublicKey::Ed25519 { x: base64url(pair.public_key().as_ref()) },
        })
    }

    /// Signs a payload.
    pub(in crate::core) fn sign(&self, payload: &impl Serialize) -> Result<String, InternalError> {
        sign(&self.header, payload, &self.encoding)
    }

    /// Its `kid` and public key.
    pub fn public(&self) -> (String, PublicKey) {
        (self.header.kid.clone().unwrap_or_default(), self.public.clone())
    }
}
