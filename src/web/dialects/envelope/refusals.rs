//! Error table of envelope: status and message of every refusal. A new reason does not compile until it is decided here. Errors of
//! HTTP itself, and reasons that the contract leaves open (`None`), get native's status and text.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::{Map, Value};

use super::wire::envelope;
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::web::response::error::{ErrorContext, RequestError, WebError};
use crate::web::response::field_error::{message, wire_name};
use crate::web::response::problem;
use crate::web::response::problem::native_only;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let error = refused.error;
    let (status, message) = match error {
        WebError::Request(RequestError::MalformedBody(_)) => (Status::BAD_REQUEST, "Malformed request body".to_owned()),
        _ => problem::by_table(error, table),
    };
    let data = match error.refusal() {
        Some(Refusal::InvalidFields(errors)) => field_messages(errors),
        _ => Value::Null,
    };
    problem::shaped(status, envelope(false, &message, &data, &refused.at.rfc3339()), error)
}

#[expect(clippy::unnested_or_patterns, reason = "the macro is a pattern of its own")]
fn table(refusal: &Refusal) -> Option<(Status, String)> {
    let (status, message) = match refusal {
        Refusal::InvalidFields(_) => (Status::BAD_REQUEST, "Validation failed"),
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
        | Refusal::AccountNotFound => (Status::UNAUTHORIZED, "Unauthorized"),
        Refusal::CurrentPasswordWrong => (Status::UNAUTHORIZED, "Old password is incorrect"),
        Refusal::PasswordUnchanged => (Status::BAD_REQUEST, "New password must be different from old password"),
        native_only!() | Refusal::RateLimited(_) => return None,
    };
    Some((status, message.to_owned()))
}

/// `{field: text}` with the first text of each field.
fn field_messages(errors: &[FieldError]) -> Value {
    let mut data = Map::new();
    for error in errors {
        data.entry(wire_name(&error.field)).or_insert_with(|| text(error).into());
    }
    data.into()
}

fn text(error: &FieldError) -> String {
    let field = match wire_name(&error.field) {
        "email" => "Email",
        "password" => "Password",
        "refreshToken" => "Refresh token",
        "oldPassword" => "Old password",
        "newPassword" => "New password",
        other => other,
    };
    match error.rule {
        FieldRule::Missing => format!("{field} is required"),
        FieldRule::NotAnEmail => format!("{field} must be valid"),
        FieldRule::TooShort(_) | FieldRule::TooLong(_) => format!("{field} must be between 8 and 128 characters"),
        other => format!("{field} {}", message(other)),
    }
}
