//! Sign-ups whose outcome a mail tells, as native and the pages take them: what of the request core has to know. What the
//! answer looks like is theirs.

use super::http::context::RequestContext;
use super::pages;
use crate::core::credential::sign_in::SignIn;
use crate::core::error::Error;
use crate::core::registration::confirmed_sign_up::{Confirmed, SignUpOrigin};
use crate::core::registration::sign_up::Registration;
use crate::secret::Secret;

impl RequestContext {
    /// Whether a mail tells how a sign-up ended, and not the answer to it.
    pub fn confirms_by_mail(&self) -> bool {
        self.service.core().confirms_by_mail()
    }

    /// Notes a sign-up, in the language of the request.
    pub async fn sign_up_with_confirmation(
        &self,
        person: Registration,
        return_to: Option<String>,
    ) -> Result<(), Error> {
        let from = SignUpOrigin { language: pages::language_of(self), return_to };
        self.service.sign_up_with_confirmation(person, from, self.client()).await
    }

    /// Confirms one, with the mount's policy.
    pub async fn confirm_sign_up(&self, token: Secret, wish: SignIn) -> Result<Confirmed, Error> {
        self.service.confirm_sign_up(token, wish, self.policy(), self.client()).await
    }
}
