//! Decision of a check: what an allowed one carries, how a denied one is answered, and what the check's own URL requires.
//! It is made in forward_auth.rs and, from memory alone, in fast_path.rs.

use crate::core::session::Issued;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use url::form_urlencoded;

use super::forwarded_request::InvalidForwardedHeaders;
use super::rules::Requirement;
use crate::core::account::identity_cache::Identity;
use crate::core::caller::Caller;
use crate::core::error::{Error, Refusal};
use crate::web::request::credentials::request_id;
use crate::web::response::error::{WebError, log_error};
use crate::web::response::problem;
use crate::web::response::problem::Problem;

/// A yes.
pub(super) struct Allowed {
    /// Nobody where anybody may pass.
    pub(super) caller: Option<(Caller, Arc<Identity>)>,
    pub(super) assertion: Option<String>,
    pub(super) renewal: Option<Issued>,
}

/// A no.
pub(super) enum Denied {
    /// To the caller.
    ErrorContext(WebError),
    /// To what the proxy, or somebody in its name, said.
    InvalidForwardedHeaders(InvalidForwardedHeaders),
}

impl<E: Into<WebError>> From<E> for Denied {
    fn from(error: E) -> Self {
        Self::ErrorContext(error.into())
    }
}

impl From<InvalidForwardedHeaders> for Denied {
    fn from(unclear: InvalidForwardedHeaders) -> Self {
        Self::InvalidForwardedHeaders(unclear)
    }
}

impl Denied {
    /// What cannot be decided is 503; a request that is wrong in itself is one without a usable credential.
    pub(super) fn status(error: &WebError) -> StatusCode {
        match (error, problem::of(error).status) {
            (WebError::Core(Error::InternalError(_) | Error::Refusal(Refusal::Busy(_) | Refusal::Throttled(_))), _) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (_, StatusCode::FORBIDDEN) => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let id = request_id(request);
        match self {
            Self::ErrorContext(error) => {
                if let Some(internal) = error.internal() {
                    log_error(internal, &id);
                }
                let status = Self::status(error);
                let headers = problem::headers_of(status, error);
                Problem { status, headers, ..problem::of(error) }.answer(Some(&id))
            }
            Self::InvalidForwardedHeaders(InvalidForwardedHeaders(why)) => {
                log::warn!(request = id.as_str(), why; "a proxy's words are not believed");
                let told = Problem {
                    status: StatusCode::FORBIDDEN,
                    code: "invalid_forwarded_headers",
                    title: "Invalid forwarded headers",
                    detail: format!("{why}; see the proxy's configuration."),
                    errors: Vec::new(),
                    headers: Vec::new(),
                };
                told.answer(Some(&id))
            }
        }
    }
}

/// What the check's own URL asks for. It is the operator's, in the proxy's configuration: a word that is not known would
/// let pass whom it was to keep out.
#[derive(Debug, Default)]
pub(super) struct CheckQuery {
    pub(super) requirement: Requirement,
    pub(super) assertion: bool,
}

impl CheckQuery {
    pub(super) fn of(query: &str) -> Result<Self, InvalidForwardedHeaders> {
        let (mut asked, mut roles) = (Self::default(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                // All that follows is the client's.
                ("original", _) => break,
                ("role", role) if !role.is_empty() => roles.push(role.to_owned()),
                ("permission", permission) if !permission.is_empty() => {
                    asked.requirement.permissions.push(permission.to_owned());
                }
                ("assertion", "true") => asked.assertion = true,
                ("assertion", "false") => asked.assertion = false,
                _ => {
                    return Err(InvalidForwardedHeaders(
                        "the check's query takes role, permission and assertion=true only",
                    ));
                }
            }
        }
        if !roles.is_empty() {
            asked.requirement.roles.push(roles);
        }
        Ok(asked)
    }
}
