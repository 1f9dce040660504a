//! What the form to sign in and the form to register share: the wish for a session, and the way on of who got one.

use super::layout::redirect;
use crate::core::account::identifier::IdentifierKind;
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::SignIn;
use crate::core::error::Error;
use crate::core::session::{Device, Issued};
use crate::secret::Secret;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;

/// A session in this browser, in the place of the one whose cookies it brings.
pub fn wish(
    call: &Call,
    identifiers: Vec<(IdentifierKind, String)>,
    password: Secret,
    remember: bool,
) -> Result<SignIn, Error> {
    Ok(SignIn {
        device: Device { id: None, name: None, persistent: remember },
        replaces: call.door.core().sessions_named_by(&call.presented_cookies()?),
        ..SignIn::new(identifiers, GivenSecret::Password(password))
    })
}

/// Sets the cookies and goes to where the person came from; by way of the account's page, if the password must be changed.
pub fn go_on(call: &Call, back: Option<&str>, issued: &Issued) -> Answered {
    let redirects = call.door.redirects();
    let target = if issued.must_change_password { redirects.account_page(back) } else { redirects.target(back) };
    call.set_cookies(redirect(&target), issued)
}
