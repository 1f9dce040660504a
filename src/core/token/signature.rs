//! JWS compact serialisation (RFC 7515): signs and verifies with one key and one algorithm. The claims are token.rs's.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};

use crate::core::error::{InternalError, Refusal};
use crate::core::keys::signing_key::SigningKey;
use crate::secret::{MacKey, from_base64url};

/// The longest token that is examined, in bytes; those of this service have less than 700.
pub const TOKEN_MAX: usize = 4096;

/// A verification key with its algorithm. The key decides on the algorithm, never the token (RFC 8725 section 3.1).
#[derive(Debug)]
pub enum SignatureVerifier {
    /// HS256, with the key's state precomputed: a verification costs little more than its digest.
    Shared(Box<MacKey>),
    /// A public key and its algorithm.
    Public(DecodingKey, Algorithm),
}

impl SignatureVerifier {
    /// For access tokens under this key.
    pub fn of_access(key: &SigningKey) -> Self {
        match key.jwt_algorithm() {
            Algorithm::HS256 => Self::Shared(Box::new(key.derive.clone())),
            algorithm => Self::Public(key.decoding.clone(), algorithm),
        }
    }

    /// For refresh tokens under this key: HS256 with the key itself or its companion.
    pub fn of_refresh(key: &SigningKey) -> Self {
        Self::Shared(Box::new(key.derive.clone()))
    }

    fn accepts(&self, message: &[u8], signature: &str) -> bool {
        match self {
            Self::Shared(key) => from_base64url(signature).is_some_and(|signature| key.verify(message, &signature)),
            Self::Public(key, algorithm) => {
                jsonwebtoken::crypto::verify(signature, message, key, *algorithm).unwrap_or(false)
            }
        }
    }
}

/// The header of a token of this type under this key.
pub fn header(key: &SigningKey, algorithm: Algorithm, typ: &str) -> Header {
    let mut header = Header::new(algorithm);
    header.typ = Some(typ.to_owned());
    header.kid = Some(key.id.clone());
    header
}

/// The encoded header: the first segment of every token with this header.
pub fn header_text(header: &Header, key: &EncodingKey) -> Result<String, InternalError> {
    let sample = sign(header, &(), key)?;
    Ok(sample.split('.').next().unwrap_or_default().to_owned())
}

/// Signs a payload; the compact serialisation.
pub(in crate::core) fn sign<T: Serialize>(
    header: &Header,
    payload: &T,
    key: &EncodingKey,
) -> Result<String, InternalError> {
    encode(header, payload, key).map_err(|cause| InternalError::broken_by("signing failed", cause))
}

/// Verifies the signature with the key and algorithm that the exact header text belongs to, and only then decodes the payload.
/// Only the canonical base64url encoding of a payload is accepted.
pub fn verify(token: &str, by_header: &HashMap<String, SignatureVerifier>) -> Result<Vec<u8>, Refusal> {
    if token.len() > TOKEN_MAX {
        return Err(Refusal::TokenInvalid);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refusal::TokenInvalid)?;
    let (header, payload) = message.split_once('.').ok_or(Refusal::TokenInvalid)?;
    let verifier = by_header.get(header).ok_or(Refusal::TokenInvalid)?;
    if !verifier.accepts(message.as_bytes(), signature) {
        return Err(Refusal::TokenInvalid);
    }
    from_base64url(payload).ok_or(Refusal::TokenInvalid)
}

/// Parses a payload. The caller checks the claims: there is no hidden leeway and no optional claim.
pub fn read_claims<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(payload).map_err(|_invalid| Refusal::TokenInvalid)
}
