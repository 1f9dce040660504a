//! Request ids: a short id for each request, in the answer's `X-Request-Id`, in every log line about it and in its audit
//! events. Which request has which id is context.rs's.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::header::HeaderName;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The header that carries the request's id to the client.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id: in the answer, in every log line about it, in its audit events.
#[derive(Debug, Clone, Copy)]
pub struct RequestId([u8; 12]);

/// Makes ids that no two requests share. They name, and open nothing, so each is a keyed digest of a counter and not
/// the system's randomness, which would cost every check more than its signature does.
#[derive(Debug, Default)]
pub struct RequestIds {
    key: RandomState,
    made: AtomicU64,
}

impl RequestIds {
    /// The next one.
    pub fn next(&self) -> RequestId {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let made = self.key.hash_one(number).to_be_bytes().into_iter().chain(number.to_le_bytes());
        let mut bytes = [0; 9];
        bytes.iter_mut().zip(made).for_each(|(byte, made)| *byte = made);
        let mut text = [b'-'; 12];
        // Nine octets are twelve characters, so this always fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        RequestId(text)
    }
}

impl RequestId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("-")
    }
}
