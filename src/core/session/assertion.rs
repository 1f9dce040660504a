//! Identity assertion: a JWT of half a minute that tells an app behind a proxy who sent a request. Its key is
//! token/assertion_key.rs's; whether one is asked for, and for which host and method, is web/forward_auth's to read.

use std::time::Duration;

use serde::Serialize;

use crate::core::Core;
use crate::core::caller::Caller;
use crate::core::error::{Error, InternalError};
use crate::core::keys::signing_key::PublicKey;
use crate::secret::random_token_id;

/// How long one lives.
pub const LIFE: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    aud: &'a str,
    /// The method that the request had, as DPoP proofs say it (RFC 9449 section 4.2).
    htm: &'a str,
    sub: String,
    sid: String,
    role: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Core {
    /// Says that this caller sent a request of this method to this host, just now.
    pub fn assert_caller(&self, caller: &Caller, host: &str, method: &str) -> Result<String, Error> {
        let (now, gate) = (self.now(), self.gate());
        let payload = Payload {
            iss: &self.rules.tokens.issuer,
            aud: host,
            htm: method,
            sub: caller.account.to_string(),
            sid: caller.session.to_string(),
            role: &caller.role,
            iat: now.seconds(),
            exp: now.plus(LIFE).seconds(),
            jti: random_token_id()?,
        };
        let key = gate.assertion_key()?;
        Ok(key.sign(&payload)?)
    }

    /// What apps check assertions with: one for every believed signing key, the newest first.
    pub fn assertion_keys(&self) -> Result<Vec<(String, PublicKey)>, InternalError> {
        self.gate().assertion_keys()
    }
}
