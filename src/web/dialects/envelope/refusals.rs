//! Every refusal to envelope's status and message.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::{Map, Value};

use super::wire::envelope;
use crate::core::error::{Error, FieldError, FieldRule, Refusal};
use crate::web::http::error::ErrorContext;
use crate::web::http::problem;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let error = refused.error;
    let said = match error {
        Error::Refusal(refusal) => said(refusal).map(|(status, message)| (status, message.to_owned())),
        Error::InternalError(_) => None,
    };
    let (status, message) = said.unwrap_or_else(|| problem::usual(error));
    let data = match error {
        Error::Refusal(Refusal::InvalidFields(faults)) => texts(faults),
        _ => Value::Null,
    };
    problem::shaped(status, envelope(false, &message, &data, &refused.at.rfc3339()), error)
}

fn said(refusal: &Refusal) -> Option<(Status, &'static str)> {
    Some(match refusal {
        Refusal::InvalidFields(_) => (Status::BAD_REQUEST, "Validation failed"),
        Refusal::MalformedBody(_) => (Status::BAD_REQUEST, "Malformed request body"),
        Refusal::IdentifierTaken(_) => (Status::CONFLICT, "Email is already registered"),
        Refusal::InvalidCredentials => (Status::UNAUTHORIZED, "Invalid email or password"),
        Refusal::Throttled(_) => (Status::LOCKED, "Account is locked"),
        Refusal::AccountNotActive(_) => (Status::FORBIDDEN, "Account is suspended"),
        Refusal::RefreshTokenExpired => (Status::UNAUTHORIZED, "Refresh token has expired"),
        Refusal::RefreshTokenInvalid
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused
        | Refusal::RefreshTokenMissing => (Status::UNAUTHORIZED, "Refresh token is invalid"),
        Refusal::TokenMissing
        | Refusal::TokenInvalid
        | Refusal::TokenExpired
        | Refusal::SessionEnded
        | Refusal::AccountNotFound
        | Refusal::AuthorizationMalformed => (Status::UNAUTHORIZED, "Unauthorized"),
        Refusal::CurrentPasswordWrong => (Status::UNAUTHORIZED, "Old password is incorrect"),
        Refusal::PasswordUnchanged => (Status::BAD_REQUEST, "New password must be different from old password"),
        Refusal::DuplicateCookie
        | Refusal::OriginNotAllowed
        | Refusal::PermissionDenied
        | Refusal::PasswordChangeRequired
        | Refusal::ConfirmationInvalid
        | Refusal::SignUpClosed
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
    })
}

/// `{field: text}`, the first text of each field.
fn texts(faults: &[FieldError]) -> Value {
    let mut data = Map::new();
    for fault in faults {
        data.entry(fault.field.clone()).or_insert_with(|| text(fault).into());
    }
    data.into()
}

fn text(fault: &FieldError) -> String {
    let field = match fault.field.as_str() {
        "email" => "Email",
        "password" => "Password",
        "refreshToken" => "Refresh token",
        "oldPassword" => "Old password",
        "newPassword" => "New password",
        other => other,
    };
    match fault.rule {
        FieldRule::Missing => format!("{field} is required"),
        FieldRule::NotAnEmail => format!("{field} must be valid"),
        FieldRule::TooShort(_) | FieldRule::TooLong(_) => format!("{field} must be between 8 and 128 characters"),
        other => format!("{field} {}", other.message()),
    }
}
