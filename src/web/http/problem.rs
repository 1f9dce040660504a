//! problem+json (RFC 9457): the shape of native's errors, and of every error outside a mount. Status, title and headers
//! of each refusal stand in one table, dialects/native/refusals.rs.

use crate::core::error::{InternalError, Taken};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::request_id::RequestId;
use crate::core::error::{Error, FieldError, Refusal};

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
    pub errors: Vec<FieldError>,
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
    errors: Vec<FieldErrorBody<'a>>,
}

#[derive(Serialize)]
struct FieldErrorBody<'a> {
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
            errors: self.errors.iter().map(FieldErrorBody::from).collect(),
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

impl<'a> From<&'a FieldError> for FieldErrorBody<'a> {
    fn from(fault: &'a FieldError) -> Self {
        Self { field: &fault.field, message: format!("{} {}", fault.field, fault.rule.message()) }
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

/// The problem that an error is.
pub fn of(error: &Error) -> Problem {
    let (status, title, detail) = match error {
        Error::Refusal(refusal) => said(refusal),
        Error::InternalError(InternalError::Unavailable(_)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Not available now",
            "Something this service needs does not answer; try again.".into(),
        ),
        Error::InternalError(InternalError::Broken(_)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something broke",
            "This is our fault; the log has the request's id.".into(),
        ),
    };
    let (code, errors) = match error {
        Error::Refusal(refusal @ Refusal::InvalidFields(faults)) => (refusal.code(), faults.clone()),
        Error::Refusal(refusal) => (refusal.code(), Vec::new()),
        Error::InternalError(InternalError::Unavailable(_)) => ("unavailable", Vec::new()),
        Error::InternalError(InternalError::Broken(_)) => ("internal_error", Vec::new()),
    };
    Problem { status, code, title, detail, errors, headers: headers_of(status, error) }
}

type Description = (StatusCode, &'static str, String);

fn said(refusal: &Refusal) -> Description {
    match refusal {
        Refusal::InvalidCredentials
        | Refusal::AccountNotActive(_)
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::SignUpClosed
        | Refusal::IdentifierTaken(_)
        | Refusal::ConfirmationInvalid => of_account(refusal),
        Refusal::TokenMissing
        | Refusal::TokenInvalid
        | Refusal::TokenExpired
        | Refusal::SessionEnded
        | Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenMissing
        | Refusal::RefreshTokenReused => of_token(refusal),
        Refusal::PermissionDenied
        | Refusal::PasswordChangeRequired
        | Refusal::OriginNotAllowed
        | Refusal::DuplicateCookie
        | Refusal::AuthorizationMalformed
        | Refusal::AccountNotFound
        | Refusal::SessionNotFound
        | Refusal::Throttled(_)
        | Refusal::Busy(_) => of_access(refusal),
        Refusal::InvalidFields(_)
        | Refusal::MalformedBody(_)
        | Refusal::UnsupportedMediaType
        | Refusal::BodyTooLarge
        | Refusal::BodyTooSlow
        | Refusal::UriTooLong
        | Refusal::HeadersTooLarge
        | Refusal::CookiesTooLarge
        | Refusal::RouteNotFound
        | Refusal::MethodNotAllowed(_) => of_request(refusal),
    }
}

fn of_account(refusal: &Refusal) -> Description {
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
        Refusal::IdentifierTaken(taken) => (StatusCode::CONFLICT, "Already registered", taken_words(*taken)),
        _ => (StatusCode::UNAUTHORIZED, "Invalid credentials", "No account has this identifier and secret.".into()),
    }
}

fn taken_words(taken: Taken) -> String {
    let names = [(taken.email, "email"), (taken.username, "username"), (taken.name, "name")];
    let names: Vec<&str> = names.into_iter().filter_map(|(taken, name)| taken.then_some(name)).collect();
    match names.as_slice() {
        [] => "The identifier is taken.".to_owned(),
        names => format!("Taken: {}.", names.join(", ")),
    }
}

fn of_token(refusal: &Refusal) -> Description {
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

fn of_access(refusal: &Refusal) -> Description {
    match refusal {
        Refusal::OriginNotAllowed => (
            StatusCode::FORBIDDEN,
            "Origin not allowed",
            "A page of another origin may not do this; its origin belongs into CORS_ORIGINS.".into(),
        ),
        Refusal::PasswordChangeRequired => (
            StatusCode::FORBIDDEN,
            "Password change required",
            "The password must be changed before anything else; change it, or sign out.".into(),
        ),
        Refusal::DuplicateCookie => (
            StatusCode::BAD_REQUEST,
            "Duplicate cookie",
            "Two cookies of the same name differ, and there is no telling which is ours; clear the site's cookies."
                .into(),
        ),
        Refusal::AuthorizationMalformed => {
            (StatusCode::BAD_REQUEST, "Authorization malformed", "Send one header: Authorization: Bearer TOKEN.".into())
        }
        Refusal::AccountNotFound => (StatusCode::NOT_FOUND, "No such account", "There is no such account.".into()),
        Refusal::SessionNotFound => (StatusCode::NOT_FOUND, "No such session", "You have no such session.".into()),
        Refusal::Throttled(wait) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many tries",
            format!("Try again in {} seconds.", wait.as_secs().max(1)),
        ),
        Refusal::Busy(wait) => {
            (StatusCode::SERVICE_UNAVAILABLE, "Busy", format!("Try again in {} seconds.", wait.as_secs().max(1)))
        }
        _ => (StatusCode::FORBIDDEN, "Permission denied", "The session is live and has not this right.".into()),
    }
}

fn of_request(refusal: &Refusal) -> Description {
    match refusal {
        Refusal::InvalidFields(faults) => {
            let first = faults.first().map(|fault| format!("{} {}.", fault.field, fault.rule.message()));
            (StatusCode::UNPROCESSABLE_ENTITY, "Invalid fields", first.unwrap_or_default())
        }
        Refusal::MalformedBody(place) => {
            (StatusCode::BAD_REQUEST, "Malformed body", format!("Cannot be read: {place}."))
        }
        Refusal::UnsupportedMediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported media type",
            "Send Content-Type: application/json.".into(),
        ),
        Refusal::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Body too large", "At most 16 KiB are read.".into()),
        Refusal::BodyTooSlow => {
            (StatusCode::REQUEST_TIMEOUT, "Body too slow", "The body did not arrive in time.".into())
        }
        Refusal::UriTooLong => {
            (StatusCode::URI_TOO_LONG, "URI too long", "At most 8 KiB of path and query are read.".into())
        }
        Refusal::HeadersTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Headers too large",
            "At most 32 KiB of headers are read.".into(),
        ),
        Refusal::CookiesTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Cookies too large",
            "At most 8 KiB of cookies are read; clear the site's cookies.".into(),
        ),
        Refusal::MethodNotAllowed(allow) => {
            (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", format!("This path takes: {allow}."))
        }
        _ => (StatusCode::NOT_FOUND, "No such path", "There is nothing here.".into()),
    }
}
