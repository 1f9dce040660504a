//! What makes a form ours: a MAC over whatever the form is bound to, so that no other site can make one up (CSRF). What a
//! form is bound to (a cookie before sign-in, a session after it) is for the pages to say.

use crate::core::Core;
use crate::secret::base64url;

/// Octets of a MAC: forging one is a guess in 2^128.
const MAC: usize = 16;

impl Core {
    /// The token of a form that is bound to this text. The same on every node.
    pub fn csrf_token(&self, bound_to: &str) -> String {
        let mac = self.hasher.digest_key().sign(format!("form {bound_to}").as_bytes());
        base64url(mac.get(..MAC).unwrap_or(&mac))
    }

    /// Whether a form brought the token of what it is bound to.
    pub fn is_form_token(&self, bound_to: &str, given: &str) -> bool {
        let expected = self.csrf_token(bound_to);
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), given.as_bytes()).is_ok()
    }
}
