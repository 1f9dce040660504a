//! Error table of signin: status and message of every refusal. A new reason does not compile until it is decided here. Errors of
//! HTTP itself, and reasons that the contract leaves open (`None`), get native's status and text.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::json;

use crate::core::error::{Field, FieldError, FieldRule, Refusal};
use crate::web::response::error::{ErrorContext, WebError};
use crate::web::response::field_error::{message, wire_name};
use crate::web::response::problem;
use crate::web::response::problem::native_only;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let error = refused.error;
    if let Some(errors) = validation(error) {
        let body = json!({ "statusCode": 400, "message": "Validation failed", "errors": errors });
        return problem::shaped(Status::BAD_REQUEST, body, error);
    }
    let (status, message) = problem::by_table(error, table);
    problem::shaped(status, json!({ "statusCode": status.as_u16(), "message": message }), error)
}

#[expect(clippy::unnested_or_patterns, reason = "the macro is a pattern of its own")]
fn table(refusal: &Refusal) -> Option<(Status, String)> {
    let (status, message) = match refusal {
        Refusal::InvalidCredentials => (Status::UNAUTHORIZED, "Invalid email or password"),
        Refusal::AccountNotActive(_) => (Status::FORBIDDEN, "Account is inactive. Contact administrator."),
        Refusal::IdentifierTaken(taken) if taken.email => (Status::CONFLICT, "Email already registered"),
        Refusal::IdentifierTaken(_) => (Status::CONFLICT, "Username already taken"),
        Refusal::TokenMissing => (Status::UNAUTHORIZED, "Missing Bearer token"),
        Refusal::TokenInvalid | Refusal::TokenExpired | Refusal::SessionEnded => {
            (Status::UNAUTHORIZED, "Invalid token")
        }
        Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused
        | Refusal::AccountNotFound => (Status::UNAUTHORIZED, "Invalid refresh token"),
        native_only!()
        | Refusal::RefreshTokenMissing
        | Refusal::InvalidFields(_)
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::Throttled(_)
        | Refusal::RateLimited(_) => return None,
    };
    Some((status, message.to_owned()))
}

/// The list of a validation error, if the error is one.
fn validation(error: &WebError) -> Option<Vec<String>> {
    match error.refusal() {
        Some(Refusal::InvalidFields(errors)) => Some(errors.iter().map(text).collect()),
        Some(Refusal::RefreshTokenMissing) => Some(vec!["refreshToken should not be empty".to_owned()]),
        _ => None,
    }
}

fn text(error: &FieldError) -> String {
    let field = match &error.field {
        Field::FirstName => "first_name",
        Field::LastName => "last_name",
        other => wire_name(other),
    };
    match error.rule {
        FieldRule::OneOf(_) => "email or username must be provided".to_owned(),
        FieldRule::TooShort(min) => format!("{field} must be at least {min} characters"),
        FieldRule::TooLong(max) => format!("{field} must be at most {max} characters"),
        FieldRule::Missing => format!("{field} should not be empty"),
        FieldRule::NotAnEmail => format!("{field} must be an email"),
        FieldRule::Type(_) | FieldRule::ControlCharacter => format!("{field} must be a string"),
        other => format!("{field} {}", message(other)),
    }
}
