//! Problem documents (RFC 9457): native's error format, and the format of every error outside a mount. The table of status,
//! title and detail for each reason is here; another dialect takes from it what its contract leaves open.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use super::error::{RequestError, WebError};
use super::field_error::{code, limit, sentence, wire_name};
use crate::core::error::{Error, FieldError, InternalError, Refusal, Taken};
use crate::web::request::bearer::BearerChallenge;
use crate::web::request::request_id::RequestId;

/// A problem, before it is rendered.
#[derive(Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// The kind of problem: one text per code.
    pub title: &'static str,
    /// This occurrence, and what the client can do.
    pub detail: String,
    /// Fields that break a rule.
    pub errors: Vec<FieldError>,
    /// Headers that the status calls for.
    pub headers: Vec<(HeaderName, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemBody<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldErrorBody<'a>>,
}

#[derive(Serialize)]
struct FieldErrorBody<'a> {
    field: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    message: String,
}

impl Problem {
    /// The response.
    pub fn answer(&self, id: Option<&RequestId>) -> HttpResponse {
        let body = ProblemBody {
            r#type: format!("urn:doorward:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id: id.map(RequestId::as_str),
            errors: self.errors.iter().map(FieldErrorBody::from).collect(),
        };
        let mut response = HttpResponse::build(self.status).json(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        insert_headers(&mut response, &self.headers);
        response
    }
}

fn insert_headers(response: &mut HttpResponse, headers: &[(HeaderName, String)]) {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name.clone(), value);
        }
    }
}

impl<'a> From<&'a FieldError> for FieldErrorBody<'a> {
    fn from(error: &'a FieldError) -> Self {
        Self {
            field: wire_name(&error.field),
            code: code(error.rule),
            limit: limit(error.rule),
            message: sentence(error),
        }
    }
}

/// Status and text where a dialect's contract leaves them open: native's.
pub fn usual(error: &WebError) -> (StatusCode, String) {
    let problem = of(error);
    (problem.status, problem.detail)
}

/// The pattern of the reasons that belong to features of doorward's own, for which no other contract has a text. A new reason
/// stands here or in the table of every dialect; without either, their matches are not exhaustive.
macro_rules! native_only {
    () => {
        $crate::core::error::Refusal::PermissionDenied
            | $crate::core::error::Refusal::PasswordChangeRequired
            | $crate::core::error::Refusal::ConfirmationInvalid
            | $crate::core::error::Refusal::SignUpClosed
            | $crate::core::error::Refusal::SessionNotFound
            | $crate::core::error::Refusal::Busy(_)
    };
}
pub(in crate::web) use native_only;

/// Status and message by a dialect's table. A malformed `Authorization` header is an invalid token in every dialect but
/// native; other errors of HTTP itself, and what the table leaves open, are native's.
pub fn by_table(error: &WebError, table: fn(&Refusal) -> Option<(StatusCode, String)>) -> (StatusCode, String) {
    let refusal = match error {
        WebError::Request(RequestError::AuthorizationMalformed) => Some(&Refusal::TokenInvalid),
        _ => error.refusal(),
    };
    refusal.and_then(table).unwrap_or_else(|| usual(error))
}

/// An error in a dialect's format, with the headers that its status requires.
pub fn shaped(status: StatusCode, body: impl Serialize, error: &WebError) -> HttpResponse {
    let mut response = HttpResponse::build(status).json(body);
    insert_headers(&mut response, &headers_of(status, error));
    response
}

/// The headers that an error's status requires in every dialect: `WWW-Authenticate` (RFC 6750 section 3), `Retry-After` and
/// `Allow` (RFC 9110 sections 10.2.3 and 10.2.1).
pub fn headers_of(status: StatusCode, error: &WebError) -> Vec<(HeaderName, String)> {
    let challenge = challenge(status, error).map(|challenge| (WWW_AUTHENTICATE, challenge.to_string()));
    let other = match error {
        WebError::Core(Error::Refusal(Refusal::Throttled(wait) | Refusal::RateLimited(wait) | Refusal::Busy(wait))) => {
            Some((RETRY_AFTER, wait.as_secs().max(1).to_string()))
        }
        WebError::Request(RequestError::UnsupportedMediaType) => {
            Some((HeaderName::from_static("accept-post"), "application/json".to_owned()))
        }
        WebError::Request(RequestError::MethodNotAllowed(allow)) => Some((ALLOW, (*allow).to_owned())),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1".to_owned())),
        _ => None,
    };
    challenge.into_iter().chain(other).collect()
}

fn challenge(status: StatusCode, error: &WebError) -> Option<BearerChallenge> {
    match error {
        _ if matches!(error.reason(), "token_invalid" | "token_expired" | "session_ended") => {
            Some(BearerChallenge::invalid_token())
        }
        WebError::Core(Error::Refusal(Refusal::PermissionDenied)) => Some(BearerChallenge::insufficient_scope()),
        WebError::Request(RequestError::AuthorizationMalformed) => Some(BearerChallenge::invalid_request()),
        _ if status == StatusCode::UNAUTHORIZED => Some(BearerChallenge::without_error()),
        _ => None,
    }
}

/// The problem of an error.
pub fn of(error: &WebError) -> Problem {
    let (status, title, detail) = match error {
        WebError::Core(Error::Refusal(refusal)) => describe_refusal(refusal),
        WebError::Core(Error::InternalError(error)) => describe_internal(error),
        WebError::Request(error) => describe_request_error(error),
    };
    let errors = match error {
        WebError::Core(Error::Refusal(Refusal::InvalidFields(errors))) => errors.clone(),
        _ => Vec::new(),
    };
    Problem { status, code: error.reason(), title, detail, errors, headers: headers_of(status, error) }
}

impl ResponseError for WebError {
    fn status_code(&self) -> StatusCode {
        of(self).status
    }

    fn error_response(&self) -> HttpResponse {
        of(self).answer(None)
    }
}

/// Status, title and detail.
type ProblemDescription = (StatusCode, &'static str, String);

fn describe_internal(error: &InternalError) -> ProblemDescription {
    match error {
        InternalError::Unavailable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Service unavailable",
            "A dependency of the service does not respond; try again.".into(),
        ),
        InternalError::Broken(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            "The service failed; its log has the details under this request id.".into(),
        ),
    }
}

/// A new reason does not compile until it is assigned here.
fn describe_refusal(refusal: &Refusal) -> ProblemDescription {
    match refusal {
        Refusal::InvalidCredentials
        | Refusal::AccountNotActive(_)
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::SignUpClosed
        | Refusal::IdentifierTaken(_)
        | Refusal::ConfirmationInvalid => describe_account_refusal(refusal),
        Refusal::TokenMissing
        | Refusal::TokenInvalid
        | Refusal::TokenExpired
        | Refusal::SessionEnded
        | Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenMissing
        | Refusal::RefreshTokenReused => describe_token_refusal(refusal),
        Refusal::PermissionDenied
        | Refusal::PasswordChangeRequired
        | Refusal::AccountNotFound
        | Refusal::SessionNotFound
        | Refusal::Throttled(_)
        | Refusal::RateLimited(_)
        | Refusal::Busy(_) => describe_access_refusal(refusal),
        Refusal::InvalidFields(errors) => {
            let first = errors.first().map(|error| format!("{}.", sentence(error)));
            (StatusCode::UNPROCESSABLE_ENTITY, "Invalid fields", first.unwrap_or_default())
        }
    }
}

fn describe_account_refusal(refusal: &Refusal) -> ProblemDescription {
    match refusal {
        Refusal::AccountNotActive(status) => (
            StatusCode::FORBIDDEN,
            "Account not active",
            format!("The account is {}. Ask its operator.", status.as_str()),
        ),
        Refusal::CurrentPasswordWrong => {
            (StatusCode::FORBIDDEN, "Current password wrong", "The given current password is wrong.".into())
        }
        Refusal::PasswordUnchanged => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Password unchanged",
            "The new password equals the current one; choose another.".into(),
        ),
        Refusal::SignUpClosed => {
            (StatusCode::FORBIDDEN, "Registration closed", "Accounts are created by an operator.".into())
        }
        Refusal::ConfirmationInvalid => (
            StatusCode::UNAUTHORIZED,
            "Not confirmed",
            "The link was used or has expired, or the password differs from the chosen one; register again.".into(),
        ),
        Refusal::IdentifierTaken(taken) => (StatusCode::CONFLICT, "Already registered", describe_taken(*taken)),
        _ => (StatusCode::UNAUTHORIZED, "Invalid credentials", "No account has this identifier and secret.".into()),
    }
}

fn describe_taken(taken: Taken) -> String {
    let names = [(taken.email, "email"), (taken.username, "username"), (taken.name, "name")];
    let names: Vec<&str> = names.into_iter().filter_map(|(taken, name)| taken.then_some(name)).collect();
    match names.as_slice() {
        [] => "An account with this identifier already exists.".to_owned(),
        names => format!("An account with this {} already exists.", names.join(" and this ")),
    }
}

fn describe_token_refusal(refusal: &Refusal) -> ProblemDescription {
    let detail = match refusal {
        Refusal::TokenMissing => "Sign in, and send the access token as a cookie or a bearer token.",
        Refusal::TokenExpired | Refusal::RefreshTokenExpired => "The token has expired; refresh it, or sign in again.",
        Refusal::SessionEnded | Refusal::RefreshSessionEnded => "The session has ended; sign in again.",
        Refusal::RefreshTokenMissing => "Send the refresh token as a cookie, or as refreshToken in the body.",
        Refusal::RefreshTokenReused => "This refresh token was already used, so the session was ended; sign in again.",
        _ => "The token is not valid, or not for this use.",
    };
    let title = match refusal {
        Refusal::TokenMissing => "Not signed in",
        Refusal::TokenExpired | Refusal::RefreshTokenExpired => "Token expired",
        Refusal::SessionEnded | Refusal::RefreshSessionEnded => "Session ended",
        Refusal::RefreshTokenMissing => "Refresh token missing",
        Refusal::RefreshTokenReused => "Refresh token reused",
        _ => "Token invalid",
    };
    (StatusCode::UNAUTHORIZED, title, detail.to_owned())
}

fn describe_access_refusal(refusal: &Refusal) -> ProblemDescription {
    let retry = |wait: &Duration| format!("Try again in {} seconds.", wait.as_secs().max(1));
    match refusal {
        Refusal::PasswordChangeRequired => (
            StatusCode::FORBIDDEN,
            "Password change required",
            "Change the password before any other operation, or sign out.".into(),
        ),
        Refusal::AccountNotFound => (StatusCode::NOT_FOUND, "No such account", "There is no such account.".into()),
        Refusal::SessionNotFound => (StatusCode::NOT_FOUND, "No such session", "You have no such session.".into()),
        // The same for everybody: whether the client has a device of the account would show whether there is one.
        Refusal::Throttled(wait) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many attempts",
            format!(
                "{} A device that has signed in to the account before is not kept waiting by others; without one, an operator \
                 can reset the attempts.",
                retry(wait)
            ),
        ),
        Refusal::RateLimited(wait) => (StatusCode::TOO_MANY_REQUESTS, "Too many requests", retry(wait)),
        Refusal::Busy(wait) => (StatusCode::SERVICE_UNAVAILABLE, "Busy", retry(wait)),
        _ => (
            StatusCode::FORBIDDEN,
            "Permission denied",
            "You are signed in, but your account lacks the required role or permission.".into(),
        ),
    }
}

fn describe_request_error(error: &RequestError) -> ProblemDescription {
    let (status, title, detail) = match error {
        RequestError::MalformedBody(place) => {
            return (StatusCode::BAD_REQUEST, "Malformed body", format!("The request body cannot be parsed: {place}."));
        }
        RequestError::MethodNotAllowed(allow) => {
            return (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", format!("This path supports: {allow}."));
        }
        RequestError::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", "Send Content-Type: application/json.")
        }
        RequestError::BodyTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "Body too large", "A body may have at most 16 KiB.")
        }
        RequestError::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "Body too slow", "The body did not arrive in time."),
        RequestError::UriTooLong => {
            (StatusCode::URI_TOO_LONG, "URI too long", "Path and query may have at most 8 KiB.")
        }
        RequestError::HeadersTooLarge => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Headers too large", "Headers may have at most 32 KiB.")
        }
        RequestError::CookiesTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Cookies too large",
            "Cookies may have at most 8 KiB; clear the site's cookies.",
        ),
        RequestError::RouteNotFound => (StatusCode::NOT_FOUND, "No such path", "There is no such path."),
        RequestError::OriginNotAllowed => (
            StatusCode::FORBIDDEN,
            "Origin not allowed",
            "Cross-origin request refused. Add the origin to CORS_ORIGINS.",
        ),
        RequestError::DuplicateCookie => (
            StatusCode::BAD_REQUEST,
            "Duplicate cookie",
            "Two cookies of the same name have different values; clear the site's cookies.",
        ),
        RequestError::AuthorizationMalformed => {
            (StatusCode::BAD_REQUEST, "Authorization malformed", "Send one header: Authorization: Bearer TOKEN.")
        }
    };
    (status, title, detail.to_owned())
}
