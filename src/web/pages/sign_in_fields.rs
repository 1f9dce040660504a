//! What the form to sign in and the form to register share: the wish for a session, and the way on of who got one.

use super::layout::redirect;
use crate::core::account::identifier::IdentifierKind;
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::SignIn;
use crate::core::session::{Device, Issued};
use crate::secret::Secret;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError};

/// A session in this browser, in the place of the one whose cookies it brings.
pub fn wish(
    context: &RequestContext,
    identifiers: Vec<(IdentifierKind, String)>,
    password: Secret,
    remember: bool,
) -> Result<SignIn, RequestError> {
    Ok(SignIn {
        device: Device { id: None, name: None, persistent: remember },
        replaces: context.service.core().sessions_of_tokens(&context.presented_cookies()?),
        ..SignIn::new(identifiers, GivenSecret::Password(password))
    })
}

/// Sets the cookies and goes to where the person came from; by way of the account's page, if the password must be changed.
pub fn go_on(context: &RequestContext, back: Option<&str>, issued: &Issued) -> HandlerResult {
    let redirects = context.service.redirects();
    let target = if issued.must_change_password { redirects.account_page(back) } else { redirects.target(back) };
    context.set_cookies(redirect(&target), issued)
}
