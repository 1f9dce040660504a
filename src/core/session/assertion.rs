//! Identity assertion: a signed JWT of 30 seconds that states to an app behind a proxy who sent a request. Its key is
//! token/assertion_key.rs's; whether one is issued, and for which host and method, is web/forward_auth's.

use std::time::Duration;

use serde::Serialize;

use crate::core::Core;
use crate::core::error::{Error, InternalError};
use crate::core::keys::signing_key::PublicKey;
use crate::core::session::caller::Caller;
use crate::secret::random_token_id;

/// Lifetime of an assertion.
pub const ASSERTION_TTL: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct AssertionPayload<'a> {
    iss: &'a str,
    aud: &'a str,
    /// The method of the request, as in a DPoP proof (RFC 9449 section 4.2).
    htm: &'a str,
    sub: String,
    sid: String,
    role: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Core {
    /// Signs that this caller has just sent a request of this method to this host.
    pub fn assert_caller(&self, caller: &Caller, host: &str, method: &str) -> Result<String, Error> {
        let (now, authority) = (self.now(), self.tokens());
        let payload = AssertionPayload {
            iss: &self.rules.tokens.issuer,
            aud: host,
            htm: method,
            sub: caller.account.to_string(),
            sid: caller.session.to_string(),
            role: &caller.role,
            iat: now.seconds(),
            exp: now.plus(ASSERTION_TTL).seconds(),
            jti: random_token_id()?,
        };
        let key = authority.assertion_key()?;
        Ok(key.sign(&payload)?)
    }

    /// The public keys for checking assertions: one for each trusted signing key, the newest first.
    pub fn assertion_keys(&self) -> Result<Vec<(String, PublicKey)>, InternalError> {
        self.tokens().assertion_keys()
    }
}
