//! Signing and checking the compact form (RFC 7515) with one key and one algorithm. What stands in it is token.rs's.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::core::refusal::{Fault, Refusal};
use crate::core::signing_key::SigningKey;

/// The longest token looked at; ours have under 700 octets.
const TOKEN_MAX: usize = 4096;

/// What a token under one header text is checked with.
#[derive(Debug)]
pub struct Check {
    key: DecodingKey,
    validation: Validation,
}

impl Check {
    /// The library checks the signature; the claims are checked here, where there is no hidden leeway and no claim is
    /// optional.
    pub fn new(key: &DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { key: key.clone(), validation }
    }
}

/// The header of a token of this type under this key.
pub fn header(key: &SigningKey, algorithm: Algorithm, typ: &str) -> Header {
    let mut header = Header::new(algorithm);
    header.typ = Some(typ.to_owned());
    header.kid = Some(key.id.clone());
    header
}

/// The first segment of every token with this header.
pub fn header_text(header: &Header, key: &EncodingKey) -> Result<String, Fault> {
    let sample = sign(header, &(), key)?;
    Ok(sample.split('.').next().unwrap_or_default().to_owned())
}

/// The compact form.
pub(in crate::core) fn sign<T: Serialize>(header: &Header, payload: &T, key: &EncodingKey) -> Result<String, Fault> {
    encode(header, payload, key).map_err(|cause| Fault::Broken(format!("signing failed: {cause}")))
}

/// Signature first, by the key and algorithm that the exact header text belongs to; only then the payload.
pub fn verify<T: DeserializeOwned>(token: &str, by_header: &HashMap<String, Check>) -> Result<T, Refusal> {
    if token.len() > TOKEN_MAX {
        return Err(Refusal::TokenInvalid);
    }
    let (header, _) = token.split_once('.').ok_or(Refusal::TokenInvalid)?;
    let check = by_header.get(header).ok_or(Refusal::TokenInvalid)?;
    let decoded = decode::<T>(token, &check.key, &check.validation);
    decoded.map(|data| data.claims).map_err(|_forged_or_torn| Refusal::TokenInvalid)
}
