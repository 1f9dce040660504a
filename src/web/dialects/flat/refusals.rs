//! Every refusal to flat's status and message.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::json;

use super::wire::LIFETIME;
use crate::core::error::{Error, FieldError, FieldRule, Refusal};
use crate::web::http::error::ErrorContext;
use crate::web::http::problem;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let (status, message) = match refused.error {
        Error::Refusal(refusal) => said(refusal).unwrap_or_else(|| problem::usual(refused.error)),
        Error::InternalError(_) => problem::usual(refused.error),
    };
    problem::shaped(status, json!({ "message": message }), refused.error)
}

fn said(refusal: &Refusal) -> Option<(Status, String)> {
    let (status, message) = match refusal {
        Refusal::InvalidCredentials | Refusal::AccountNotActive(_) => (Status::BAD_REQUEST, "Invalid credentials"),
        Refusal::InvalidFields(faults) => (Status::BAD_REQUEST, fields(faults)),
        Refusal::TokenMissing => (Status::UNAUTHORIZED, "Access Token is required"),
        Refusal::TokenExpired => (Status::UNAUTHORIZED, "Token Expired!"),
        Refusal::TokenInvalid | Refusal::SessionEnded | Refusal::AccountNotFound | Refusal::AuthorizationMalformed => {
            (Status::UNAUTHORIZED, "Invalid/Expired Token!")
        }
        Refusal::RefreshTokenMissing => (Status::UNAUTHORIZED, "Refresh token required"),
        Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused => (Status::FORBIDDEN, "Invalid refresh token"),
        Refusal::Throttled(_) => (Status::TOO_MANY_REQUESTS, "request limit exceeded, please wait a few seconds"),
        Refusal::DuplicateCookie
        | Refusal::OriginNotAllowed
        | Refusal::PermissionDenied
        | Refusal::PasswordChangeRequired
        | Refusal::ConfirmationInvalid
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::SignUpClosed
        | Refusal::IdentifierTaken(_)
        | Refusal::MalformedBody(_)
        | Refusal::UnsupportedMediaType
        | Refusal::BodyTooLarge
        | Refusal::BodyTooSlow
        | Refusal::UriTooLong
        | Refusal::HeadersTooLarge
        | Refusal::CookiesTooLarge
        | Refusal::RouteNotFound
        | Refusal::MethodNotAllowed(_)
        | Refusal::SessionNotFound
        | Refusal::Busy(_) => return None,
    };
    Some((status, message.to_owned()))
}

fn fields(faults: &[FieldError]) -> &'static str {
    match faults.first() {
        Some(fault) if fault.field == LIFETIME => "Maximum access token expire time can be 43200 minutes",
        Some(FieldError { rule: FieldRule::Type(_), field }) if field == "username" => "Username is not valid",
        _ => "Username and password required",
    }
}
