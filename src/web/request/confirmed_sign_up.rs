//! Email-confirmed registration for the native dialect and the pages: hands the request's language, policy and client to
//! the service. The response is decided by the dialect or page.

use super::context::RequestContext;
use crate::core::credential::sign_in::NewSession;
use crate::core::error::Error;
use crate::core::registration::confirmed_sign_up::{ConfirmedSignUp, SignUpConfirmation, SignUpOrigin};
use crate::core::registration::sign_up::Registration;
use crate::web::pages;

impl RequestContext {
    /// Whether registrations are confirmed by email.
    pub fn confirms_by_mail(&self) -> bool {
        self.service.core().confirms_by_mail()
    }

    /// Stores a registration until it is confirmed. Its mail is in the language of the request.
    pub async fn sign_up_with_confirmation(
        &self,
        registration: Registration,
        return_to: Option<String>,
    ) -> Result<(), Error> {
        let origin = SignUpOrigin { language: pages::language_of(self), return_to };
        self.service.sign_up_with_confirmation(registration, origin, self.client()).await
    }

    /// Confirms a registration, with the mount's policy.
    pub async fn confirm_sign_up(
        &self,
        confirmation: SignUpConfirmation,
        session: NewSession,
    ) -> Result<ConfirmedSignUp, Error> {
        self.service.confirm_sign_up(confirmation, session, self.policy(), self.client()).await
    }
}
