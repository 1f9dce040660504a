//! problem+json (RFC 9457): the shape of native's errors, and of every error outside a mount. Status, title and headers
//! of each refusal stand in one table, dialects/native/refusals.rs.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::context::RequestId;
use crate::core::error::{Error, FieldFault, Refusal};

pub use crate::web::dialects::native::refusals::of;

/// One problem, not yet an answer.
#[derive(Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// What it is, always the same words for one code.
    pub title: &'static str,
    /// What it is this time, and what to do.
    pub detail: String,
    /// Fields that break a rule.
    pub errors: Vec<FieldFault>,
    /// Headers that the status calls for.
    pub headers: Vec<(HeaderName, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError<'a>>,
}

#[derive(Serialize)]
struct FieldError<'a> {
    field: &'a str,
    message: String,
}

impl Problem {
    /// The answer.
    pub fn answer(&self, id: Option<&RequestId>) -> HttpResponse {
        let body = Body {
            r#type: format!("urn:doorward:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id: id.map(RequestId::as_str),
            errors: self.errors.iter().map(FieldError::from).collect(),
        };
        let mut answer = HttpResponse::build(self.status).json(body);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.headers_mut().insert(name.clone(), value);
            }
        }
        answer
    }
}

impl<'a> From<&'a FieldFault> for FieldError<'a> {
    fn from(fault: &'a FieldFault) -> Self {
        Self { field: &fault.field, message: format!("{} {}", fault.field, fault.rule.says()) }
    }
}

/// Status and words for what a dialect's contract leaves open: native's.
pub fn usual(error: &Error) -> (StatusCode, String) {
    let problem = of(error);
    (problem.status, problem.detail)
}

/// An error in a dialect's shape, with the headers that its status calls for.
pub fn shaped(status: StatusCode, body: impl Serialize, error: &Error) -> HttpResponse {
    let mut answer = HttpResponse::build(status).json(body);
    for (name, value) in headers_of(status, error) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// The headers that an error's status calls for, whatever its dialect: `WWW-Authenticate` (RFC 6750 section 3),
/// `Retry-After` and `Allow` (RFC 9110 sections 10.2.3 and 10.2.1).
pub fn headers_of(status: StatusCode, error: &Error) -> Vec<(HeaderName, String)> {
    let challenge = |error: &str| (WWW_AUTHENTICATE, format!("Bearer realm=\"doorward\"{error}"));
    let mut headers = Vec::new();
    match error {
        Error::Refusal(refusal) if matches!(refusal.code(), "token_invalid" | "token_expired" | "session_ended") => {
            headers.push(challenge(", error=\"invalid_token\""));
        }
        Error::Refusal(Refusal::PermissionDenied) => headers.push(challenge(", error=\"insufficient_scope\"")),
        Error::Refusal(Refusal::AuthorizationMalformed) => headers.push(challenge(", error=\"invalid_request\"")),
        _ if status == StatusCode::UNAUTHORIZED => headers.push(challenge("")),
        _ => {}
    }
    match error {
        Error::Refusal(Refusal::Throttled(wait) | Refusal::Busy(wait)) => {
            headers.push((RETRY_AFTER, wait.as_secs().max(1).to_string()));
        }
        Error::Refusal(Refusal::UnsupportedMediaType) => {
            headers.push((HeaderName::from_static("accept-post"), "application/json".to_owned()));
        }
        Error::Refusal(Refusal::MethodNotAllowed(allow)) => headers.push((ALLOW, (*allow).to_owned())),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => headers.push((RETRY_AFTER, "1".to_owned())),
        _ => {}
    }
    headers
}
