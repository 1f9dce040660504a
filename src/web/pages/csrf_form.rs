//! CSRF tokens of the pages' forms: every form contains a token that only this service can make. Before a sign-in it is bound to
//! a cookie of its own (double submit), which prevents login CSRF: signing a victim in to the attacker's account. After it,
//! it is bound to the session. The tokens are made and compared by core/defence/csrf_token.rs.

use actix_web::HttpResponse;

use crate::core::SessionId;
use crate::core::error::Error;
use crate::secret::{base64url, from_base64url, random_bytes};
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;

/// The form field with the token.
const TOKEN: &str = "token";

/// The CSRF protection of a browser that is not signed in: the cookie's value, which its tokens are bound to.
#[derive(Debug)]
pub struct AnonymousCsrf {
    cookie: String,
    is_new: bool,
}

impl AnonymousCsrf {
    /// By the cookie of a request, or with a new random value.
    pub fn of(context: &RequestContext) -> Result<Self, Error> {
        let presented =
            context.csrf_cookie().filter(|value| from_base64url(value).is_some_and(|bytes| bytes.len() == 16));
        match presented {
            Some(cookie) => Ok(Self { cookie, is_new: false }),
            None => Ok(Self { cookie: base64url(&random_bytes::<16>()?), is_new: true }),
        }
    }

    /// The token for this browser's forms.
    pub fn token(&self, context: &RequestContext) -> String {
        context.service.core().csrf_token(&self.binding())
    }

    /// Whether a submitted form contains this browser's token.
    pub fn verify(&self, context: &RequestContext, fields: &mut Fields) -> bool {
        let presented = fields.text(TOKEN).unwrap_or_default();
        !self.is_new && context.service.core().verify_csrf_token(&self.binding(), &presented)
    }

    /// Sets the cookie, unless the browser has it already.
    pub fn set_cookie(&self, context: &RequestContext, mut response: HttpResponse) -> HandlerResult {
        if self.is_new {
            context.set_csrf_cookie(&mut response, &self.cookie)?;
        }
        Ok(response)
    }

    fn binding(&self) -> String {
        format!("guest {}", self.cookie)
    }
}

/// The token for a session's forms.
pub fn session_token(context: &RequestContext, session: SessionId) -> String {
    context.service.core().csrf_token(&format!("session {session}"))
}

/// Whether a submitted form contains the token of one of these sessions.
pub fn verify_session_token(context: &RequestContext, sessions: &[SessionId], fields: &mut Fields) -> bool {
    let presented = fields.text(TOKEN).unwrap_or_default();
    let is_valid =
        |session: &SessionId| context.service.core().verify_csrf_token(&format!("session {session}"), &presented);
    sessions.iter().any(is_valid)
}
