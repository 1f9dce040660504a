//! What the pages that begin a session share: the sign-in request that a form makes, and the redirect after the sign-in.

use super::layout::redirect;
use crate::core::account::identifier::IdentifierKind;
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::{NewSession, SignIn};
use crate::core::session::{Device, Issued};
use crate::secret::Secret;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;

/// A request for a session that replaces the one whose cookies the browser sends.
pub fn sign_in_request(
    context: &RequestContext,
    identifiers: Vec<(IdentifierKind, String)>,
    password: Secret,
    remember: bool,
) -> SignIn {
    SignIn { identifiers, secret: GivenSecret::Password(password), session: new_session(context, remember) }
}

/// A session in this browser, which replaces the one whose cookies it presents.
pub fn new_session(context: &RequestContext, remember: bool) -> NewSession {
    NewSession {
        device: Device { id: None, name: None, persistent: remember },
        replaces: context.replaced_by_sign_in(),
    }
}

/// Sets the session cookies and redirects to the return URL, or to `/account` if the password must be changed first.
pub fn redirect_after_sign_in(context: &RequestContext, return_url: Option<&str>, issued: &Issued) -> HandlerResult {
    let redirects = context.service.redirects();
    let target =
        if issued.must_change_password { redirects.account_page(return_url) } else { redirects.target(return_url) };
    context.set_cookies(redirect(&target), issued)
}
