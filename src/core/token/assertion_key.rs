//! A signed assertion: a JWT of half a minute by which an app sees that a request came through the proxy and who sent it.
//! Whether one is asked for, and for which host and method, is web/forward_auth's to read.
//!
//! It has its own key, type and list of public keys: an app that got one cannot show it anywhere as an access token, and
//! no checker of access tokens takes its key (RFC 8725 sections 3.8, 3.11 and 3.12).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::signature::sign;
use crate::core::error::InternalError;
use crate::core::keys::signing_key::{PublicKey, SigningKey};
use crate::secret::base64url;

/// An Ed25519 private key of 32 octets in PKCS#8 (RFC 8410 section 7) begins so.
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What signs assertions beside a signing key: derived from it, so that every node has the same one without being told, and
/// it is retired with it.
#[derive(Debug, Clone)]
pub struct AssertionKey {
    header: Header,
    encoding: EncodingKey,
    public: PublicKey,
}

impl AssertionKey {
    /// The one that belongs to a signing key.
    pub fn of(key: &SigningKey) -> Result<Self, InternalError> {
        let seed = key.derive.sign(b"doorward assertions");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        let pair = pair.map_err(|why| InternalError::broken_by("no key for assertions", why))?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("doorward-assertion+jwt".to_owned());
        header.kid = Some(format!("{}.assertion", key.id));
        Ok(Self {
            header,
            encoding: EncodingKey::from_ed_der(&[&PKCS8_HEAD[..], &seed].concat()),
            public: PublicKey::Ed25519 { x: base64url(pair.public_key().as_ref()) },
        })
    }

    /// Signs a payload.
    pub(in crate::core) fn sign(&self, payload: &impl Serialize) -> Result<String, InternalError> {
        sign(&self.header, payload, &self.encoding)
    }

    /// Its `kid`, and what checks it.
    pub fn public(&self) -> (String, PublicKey) {
        (self.header.kid.clone().unwrap_or_default(), self.public.clone())
    }
}
