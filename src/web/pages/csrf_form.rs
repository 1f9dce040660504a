//! Forms that only our own pages can send: each carries a token that is bound to a cookie before a sign-in, so that nobody
//! is signed in to somebody else's account, and to the session after it (CSRF).

use actix_web::HttpResponse;

use crate::core::SessionId;
use crate::core::error::Error;
use crate::secret::{base64url, from_base64url, random_bytes};
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;

/// The field that carries the token.
const TOKEN: &str = "token";

/// A browser before its sign-in.
#[derive(Debug)]
pub struct Guest {
    bound_to: String,
    is_new: bool,
}

impl Guest {
    /// The one that the cookie names, or a new one.
    pub fn of(context: &RequestContext) -> Result<Self, Error> {
        let known = context.csrf_cookie().filter(|value| from_base64url(value).is_some_and(|bytes| bytes.len() == 16));
        match known {
            Some(bound_to) => Ok(Self { bound_to, is_new: false }),
            None => Ok(Self { bound_to: base64url(&random_bytes::<16>()?), is_new: true }),
        }
    }

    /// The token of its forms.
    pub fn token(&self, context: &RequestContext) -> String {
        context.service.core().csrf_token(&self.purpose())
    }

    /// Whether a form brought it.
    pub fn sent(&self, context: &RequestContext, fields: &mut Fields) -> bool {
        let given = fields.text(TOKEN).unwrap_or_default();
        !self.is_new && context.service.core().verify_csrf_token(&self.purpose(), &given)
    }

    /// Sets the cookie that the next form is bound to, unless the browser has it.
    pub fn keep(&self, context: &RequestContext, mut answer: HttpResponse) -> HandlerResult {
        if self.is_new {
            context.set_csrf_cookie(&mut answer, &self.bound_to)?;
        }
        Ok(answer)
    }

    fn purpose(&self) -> String {
        format!("guest {}", self.bound_to)
    }
}

/// The token of a session's forms.
pub fn token_of(context: &RequestContext, session: SessionId) -> String {
    context.service.core().csrf_token(&format!("session {session}"))
}

/// Whether a form brought the token of one of these sessions.
pub fn sent_by(context: &RequestContext, sessions: &[SessionId], fields: &mut Fields) -> bool {
    let given = fields.text(TOKEN).unwrap_or_default();
    let is_theirs =
        |session: &SessionId| context.service.core().verify_csrf_token(&format!("session {session}"), &given);
    sessions.iter().any(is_theirs)
}
