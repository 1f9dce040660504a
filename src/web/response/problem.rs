//! Problem documents (RFC 9457): native's error format, and the format of every error outside a mount. The table of status,
//! title and detail for each reason is here; another dialect takes from it what its contract leaves open.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::error::{RequestError, WebError};
use super::field_error::{sentence, wire_name};
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
        Self { field: wire_name(&error.field), message: sentence(error) }
    }
}

/// Status and text where a dialect's contract leaves them open: native's.
pub fn usual(error: &WebError) -> (StatusCode, String) {
    let problem = of(error);
    (problem.status, problem.detail)
}

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
        WebError::Core(Error::Refusal(Refusal::Throttled(wait) | Refusal::Busy(wait))) => {
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

/// Status, title and detail.
type Description = (StatusCode, &'static str, String);

fn describe_internal(error: &InternalError) -> Description {
    match error {
        InternalError::Unavailable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Not available now",
            "Something this service needs does not answer; try again.".into(),
        ),
        InternalError::Broken(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something broke",
            "This is our fault; the log has the request's id.".into(),
        ),
    }
}

/// A new reason does not compile until it is assigned here.
fn describe_refusal(refusal: &Refusal) -> Description {
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
        | Refusal::Busy(_) => describe_access_refusal(refusal),
        Refusal::InvalidFields(errors) => {
            let first = errors.first().map(|error| format!("{}.", sentence(error)));
            (StatusCode::UNPROCESSABLE_ENTITY, "Invalid fields", first.unwrap_or_default())
        }
    }
}

fn describe_account_refusal(refusal: &Refusal) -> Description {
    match refusal {
        Refusal::AccountNotActive(status) => (
            StatusCode::FORBIDDEN,
            "Account not active",
            format!("The account is {}. Ask its operator.", status.as_str()),
        ),
        Refusal::CurrentPasswordWrong => {
            (StatusCode::FORBIDDEN, "Current password wrong", "The current password is not the one given.".into())
        }
        Refusal::PasswordUnchanged => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Password unchanged",
            "The new password is the old one; choose another.".into(),
        ),
        Refusal::SignUpClosed => {
            (StatusCode::FORBIDDEN, "Registration closed", "Accounts are added by an operator here.".into())
        }
        Refusal::ConfirmationInvalid => (
            StatusCode::UNAUTHORIZED,
            "Not confirmed",
            "The link is spent or past its time, or the password is not the one that was chosen; sign up again.".into(),
        ),
        Refusal::IdentifierTaken(taken) => (StatusCode::CONFLICT, "Already registered", describe_taken(*taken)),
        _ => (StatusCode::UNAUTHORIZED, "Invalid credentials", "No account has this identifier and secret.".into()),
    }
}

fn describe_taken(taken: Taken) -> String {
    let names = [(taken.email, "email"), (taken.username, "username"), (taken.name, "name")];
    let names: Vec<&str> = names.into_iter().filter_map(|(taken, name)| taken.then_some(name)).collect();
    match names.as_slice() {
        [] => "The identifier is taken.".to_owned(),
        names => format!("Taken: {}.", names.join(", ")),
    }
}

fn describe_token_refusal(refusal: &Refusal) -> Description {
    let detail = match refusal {
        Refusal::TokenMissing => "Sign in first, and send the access token as a cookie or a bearer token.",
        Refusal::TokenExpired | Refusal::RefreshTokenExpired => "The token's time is over; refresh, or sign in again.",
        Refusal::SessionEnded | Refusal::RefreshSessionEnded => "The session has ended; sign in again.",
        Refusal::RefreshTokenMissing => "Send the refresh token as a cookie, or as refreshToken in the body.",
        Refusal::RefreshTokenReused => "This token was used before, so the session has been ended; sign in again.",
        _ => "The token is not one of ours, or not for this use.",
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

fn describe_access_refusal(refusal: &Refusal) -> Description {
    let retry = |wait: &Duration| format!("Try again in {} seconds.", wait.as_secs().max(1));
    match refusal {
        Refusal::PasswordChangeRequired => (
            StatusCode::FORBIDDEN,
            "Password change required",
            "The password must be changed before anything else; change it, or sign out.".into(),
        ),
        Refusal::AccountNotFound => (StatusCode::NOT_FOUND, "No such account", "There is no such account.".into()),
        Refusal::SessionNotFound => (StatusCode::NOT_FOUND, "No such session", "You have no such session.".into()),
        Refusal::Throttled(wait) => (StatusCode::TOO_MANY_REQUESTS, "Too many tries", retry(wait)),
        Refusal::Busy(wait) => (StatusCode::SERVICE_UNAVAILABLE, "Busy", retry(wait)),
        _ => (StatusCode::FORBIDDEN, "Permission denied", "The session is live and has not this right.".into()),
    }
}

fn describe_request_error(error: &RequestError) -> Description {
    let (status, title, detail) = match error {
        RequestError::MalformedBody(place) => {
            return (StatusCode::BAD_REQUEST, "Malformed body", format!("Cannot be read: {place}."));
        }
        RequestError::MethodNotAllowed(allow) => {
            return (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", format!("This path takes: {allow}."));
        }
        RequestError::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", "Send Content-Type: application/json.")
        }
        RequestError::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Body too large", "At most 16 KiB are read."),
        RequestError::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "Body too slow", "The body did not arrive in time."),
        RequestError::UriTooLong => {
            (StatusCode::URI_TOO_LONG, "URI too long", "At most 8 KiB of path and query are read.")
        }
        RequestError::HeadersTooLarge => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Headers too large", "At most 32 KiB of headers are read.")
        }
        RequestError::CookiesTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Cookies too large",
            "At most 8 KiB of cookies are read; clear the site's cookies.",
        ),
        RequestError::RouteNotFound => (StatusCode::NOT_FOUND, "No such path", "There is nothing here."),
        RequestError::OriginNotAllowed => (
            StatusCode::FORBIDDEN,
            "Origin not allowed",
            "A page of another origin may not do this; its origin belongs into CORS_ORIGINS.",
        ),
        RequestError::DuplicateCookie => (
            StatusCode::BAD_REQUEST,
            "Duplicate cookie",
            "Two cookies of the same name differ, and there is no telling which is ours; clear the site's cookies.",
        ),
        RequestError::AuthorizationMalformed => {
            (StatusCode::BAD_REQUEST, "Authorization malformed", "Send one header: Authorization: Bearer TOKEN.")
        }
    };
    (status, title, detail.to_owned())
}
