//! Request ids: a short id per request, in the response's `X-Request-Id`, in every log line about the request and in its audit
//! events. They are assigned by credentials.rs.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::header::HeaderName;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The header that carries the request's id to the client.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id.
#[derive(Debug, Clone, Copy)]
pub struct RequestId([u8; 12]);

/// Generates unique ids. They are no secrets, so each is a keyed hash of a counter instead of system randomness, which would
/// cost each check more than verifying its token.
#[derive(Debug, Default)]
pub struct RequestIds {
    key: RandomState,
    counter: AtomicU64,
}

impl RequestIds {
    /// The next id.
    pub fn next(&self) -> RequestId {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let made = self.key.hash_one(number).to_be_bytes().into_iter().chain(number.to_le_bytes());
        let mut bytes = [0; 9];
        bytes.iter_mut().zip(made).for_each(|(byte, made)| *byte = made);
        let mut text = [b'-'; 12];
        // Nine bytes encode to twelve characters, so this always fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        RequestId(text)
    }
}

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("-")
    }
}
