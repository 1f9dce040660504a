//! CSRF tokens of forms: a MAC over the form's binding, so that another site cannot forge a submission. What a form is bound
//! to (a cookie before sign-in, the session after it) is decided by web/pages.

use crate::core::Core;
use crate::secret::{base64url, constant_time_eq};

/// Bytes of a token's MAC: a forgery is a guess among 2^128.
const CSRF_MAC_BYTES: usize = 16;

impl Core {
    /// The token of a form with this binding. Stateless, so every node accepts it.
    pub fn csrf_token(&self, binding: &str) -> String {
        let mac = self.hasher.digest_key().sign(format!("form {binding}").as_bytes());
        base64url(mac.get(..CSRF_MAC_BYTES).unwrap_or(&mac))
    }

    /// Whether the presented token belongs to the binding, in constant time.
    pub fn verify_csrf_token(&self, binding: &str, presented: &str) -> bool {
        let expected = self.csrf_token(binding);
        constant_time_eq(expected.as_bytes(), presented.as_bytes())
    }
}
