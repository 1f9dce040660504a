//! Sign-ups whose outcome a mail tells, as native and the pages take them: what of the request core has to know. What the
//! answer looks like is theirs.

use super::http::context::Call;
use super::pages;
use crate::core::credential::sign_in::SignIn;
use crate::core::error::Error;
use crate::core::registration::confirmed_sign_up::{AskedFrom, Confirmed};
use crate::core::registration::sign_up::NewPerson;
use crate::secret::Secret;

impl Call {
    /// Whether a mail tells how a sign-up ended, and not the answer to it.
    pub fn tells_by_mail(&self) -> bool {
        self.door.core().tells_by_mail()
    }

    /// Notes a sign-up, in the language of the request.
    pub async fn sign_up_silently(&self, person: NewPerson, leads_back: Option<String>) -> Result<(), Error> {
        let from = AskedFrom { language: pages::language_of(self), leads_back };
        self.door.sign_up_silently(person, from, self.client()).await
    }

    /// Confirms one, with the mount's policy.
    pub async fn confirm_sign_up(&self, token: Secret, wish: SignIn) -> Result<Confirmed, Error> {
        self.door.confirm_sign_up(token, wish, self.policy(), self.client()).await
    }
}
