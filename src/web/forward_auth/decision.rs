//! Authorization decision of a check: `authorize` is the only function that makes an `Allowed`, for the handler
//! (forward_auth.rs) and for the fast path (fast_path.rs) alike. It decides from the requirement, the caller and the identity;
//! where these come from is decided by the two callers. The query of a check and the response to a denied check are here too.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use url::form_urlencoded;

use super::forwarded_request::InvalidForwardedHeaders;
use super::rules::{Requirement, RuleMatch};
use crate::core::account::identity_cache::Identity;
use crate::core::error::{Error, Refusal};
use crate::core::session::Issued;
use crate::core::session::caller::Caller;
use crate::web::request::credentials::request_id;
use crate::web::response::error::{RequestError, WebError, log_error};
use crate::web::response::problem;
use crate::web::response::problem::Problem;
use crate::web::service::Doorward;

/// A signed-in caller with the account's identity.
pub(super) type Subject = (Caller, Arc<Identity>);

/// Proof that a check is allowed, with what its response contains. The fields are private, so that no other file can make one.
pub(super) struct Allowed {
    subject: Option<Subject>,
    assertion: Option<String>,
    renewal: Option<Issued>,
}

/// Decides a check: a public path is allowed without a subject, any other for a subject that meets the requirement.
pub(super) fn authorize(matched: RuleMatch, subject: Option<Subject>) -> Result<Allowed, Refusal> {
    let subject = match (matched, subject) {
        // The app behind a public path receives no identity, even if a session exists: its requests were not checked.
        (RuleMatch::Public, _) => None,
        (RuleMatch::SignedIn(requirement), Some(subject)) if requirement.is_met_by(&subject.1) => Some(subject),
        (RuleMatch::SignedIn(_), Some(_)) => return Err(Refusal::PermissionDenied),
        (RuleMatch::SignedIn(_), None) => return Err(Refusal::TokenMissing),
    };
    Ok(Allowed { subject, assertion: None, renewal: None })
}

impl Allowed {
    /// The caller and the identity that the app receives; none on a public path.
    pub(super) fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// The signed assertion that the app receives.
    pub(super) fn assertion(&self) -> Option<&str> {
        self.assertion.as_deref()
    }

    /// The access token that the browser receives as a cookie.
    pub(super) fn renewal(&self) -> Option<&Issued> {
        self.renewal.as_ref()
    }

    /// Adds a signed assertion.
    pub(super) fn with_assertion(self, assertion: String) -> Self {
        Self { assertion: Some(assertion), ..self }
    }

    /// Adds the tokens of a renewal, if there was one.
    pub(super) fn with_renewal(self, renewal: Option<Issued>) -> Self {
        Self { renewal, ..self }
    }
}

/// Why a check is denied.
pub(super) enum Denied {
    /// The caller is not allowed, or it cannot be decided.
    Error(WebError),
    /// The proxy is misconfigured, or a client imitates it.
    InvalidForwardedHeaders(InvalidForwardedHeaders),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Error(refusal.into())
    }
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<WebError> for Denied {
    fn from(error: WebError) -> Self {
        Self::Error(error)
    }
}

impl From<RequestError> for Denied {
    fn from(error: RequestError) -> Self {
        Self::Error(error.into())
    }
}

impl From<InvalidForwardedHeaders> for Denied {
    fn from(invalid: InvalidForwardedHeaders) -> Self {
        Self::InvalidForwardedHeaders(invalid)
    }
}

impl Denied {
    /// 503 if the check cannot be decided now, 403 if the caller lacks a permission, and 401 for everything else: a malformed
    /// request has no usable credential.
    pub(super) fn status(error: &WebError) -> StatusCode {
        match (error, problem::of(error).status) {
            (
                WebError::Core(
                    Error::InternalError(_)
                    | Error::Refusal(Refusal::Busy(_) | Refusal::Throttled(_) | Refusal::RateLimited(_)),
                ),
                _,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            (_, StatusCode::FORBIDDEN) => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn response(&self, service: &Doorward, request: &HttpRequest) -> HttpResponse {
        let id = request_id(request);
        match self {
            Self::Error(error) => {
                if let Some(internal) = error.internal() {
                    log_error(internal, &id);
                }
                let status = Self::status(error);
                let headers = problem::headers_of(status, error);
                Problem { status, headers, ..problem::of(error) }.answer(Some(&id))
            }
            Self::InvalidForwardedHeaders(InvalidForwardedHeaders(reason)) => {
                if let Some(checks) = service.forward_auth().invalid_checks.count(reason, service.core().now()) {
                    log::warn!(checks, request = id.as_str(), reason; "checks were denied because of their headers or query");
                }
                let problem = Problem {
                    status: StatusCode::FORBIDDEN,
                    code: "invalid_forwarded_headers",
                    title: "Invalid forwarded headers",
                    detail: format!("{reason}; check the proxy's configuration."),
                    errors: Vec::new(),
                    headers: Vec::new(),
                };
                problem.answer(Some(&id))
            }
        }
    }
}

/// What the query of a check requires. The operator writes it in the proxy's configuration; an unknown parameter is an error,
/// since a misspelt one would otherwise allow everyone whom it was meant to exclude.
#[derive(Debug, Default)]
pub(super) struct CheckQuery {
    pub(super) requirement: Requirement,
    pub(super) assertion: bool,
}

impl CheckQuery {
    pub(super) fn parse(query: &str) -> Result<Self, InvalidForwardedHeaders> {
        let (mut parsed, mut roles) = (Self::default(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                // Everything that follows comes from the client, which must not be able to add a role.
                ("original", _) => break,
                ("role", role) if !role.is_empty() => roles.push(role.to_owned()),
                ("permission", permission) if !permission.is_empty() => {
                    parsed.requirement.permissions.push(permission.to_owned());
                }
                ("assertion", "true") => parsed.assertion = true,
                ("assertion", "false") => parsed.assertion = false,
                _ => {
                    return Err(InvalidForwardedHeaders(
                        "the query of a check may only contain role, permission, assertion=true or =false, and original",
                    ));
                }
            }
        }
        if !roles.is_empty() {
            parsed.requirement.roles.push(roles);
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{AccountUuid, SessionId};

    fn subject(role: &str) -> Subject {
        let caller = Caller {
            account: AccountUuid(uuid::Uuid::from_u128(1)),
            session: SessionId(uuid::Uuid::nil()),
            generation: 0,
            expires_at: crate::clock::Timestamp::from_seconds(0),
            role: role.to_owned(),
            must_change_password: false,
        };
        let identity = Identity {
            account: AccountUuid(uuid::Uuid::from_u128(1)),
            user: String::new(),
            email: String::new(),
            name: String::new(),
            role: role.to_owned(),
            permissions: Vec::new(),
        };
        (caller, Arc::new(identity))
    }

    #[test]
    fn only_a_public_path_is_allowed_without_a_subject() {
        let admin = || RuleMatch::SignedIn(CheckQuery::parse("role=ADMIN").unwrap().requirement);
        let anyone = || RuleMatch::SignedIn(Requirement::default());
        assert_eq!(authorize(anyone(), None).err(), Some(Refusal::TokenMissing));
        assert_eq!(authorize(admin(), None).err(), Some(Refusal::TokenMissing));
        assert_eq!(authorize(admin(), Some(subject("USER"))).err(), Some(Refusal::PermissionDenied));
        assert!(authorize(admin(), Some(subject("ADMIN"))).unwrap().subject().is_some());
        assert!(authorize(anyone(), Some(subject("USER"))).unwrap().subject().is_some());
        for subject in [None, Some(subject("USER"))] {
            assert!(authorize(RuleMatch::Public, subject).unwrap().subject().is_none());
        }
    }
}
