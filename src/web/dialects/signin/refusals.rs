//! Every refusal to signin's status and message.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::json;

use crate::core::error::{Error, FieldError, FieldRule, Refusal};
use crate::web::http::error::ErrorContext;
use crate::web::http::problem;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let error = refused.error;
    if let Some(errors) = validation(error) {
        let body = json!({ "statusCode": 400, "message": "Validation failed", "errors": errors });
        return problem::shaped(Status::BAD_REQUEST, body, error);
    }
    let said = match error {
        Error::Refusal(refusal) => said(refusal).map(|(status, message)| (status, message.to_owned())),
        Error::InternalError(_) => None,
    };
    let (status, message) = said.unwrap_or_else(|| problem::usual(error));
    problem::shaped(status, json!({ "statusCode": status.as_u16(), "message": message }), error)
}

fn said(refusal: &Refusal) -> Option<(Status, &'static str)> {
    Some(match refusal {
        Refusal::InvalidCredentials => (Status::UNAUTHORIZED, "Invalid email or password"),
        Refusal::AccountNotActive(_) => (Status::FORBIDDEN, "Account is inactive. Contact administrator."),
        Refusal::IdentifierTaken(taken) if taken.email => (Status::CONFLICT, "Email already registered"),
        Refusal::IdentifierTaken(_) => (Status::CONFLICT, "Username already taken"),
        Refusal::TokenMissing => (Status::UNAUTHORIZED, "Missing Bearer token"),
        Refusal::TokenInvalid | Refusal::TokenExpired | Refusal::SessionEnded | Refusal::AuthorizationMalformed => {
            (Status::UNAUTHORIZED, "Invalid token")
        }
        Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused
        | Refusal::AccountNotFound => (Status::UNAUTHORIZED, "Invalid refresh token"),
        Refusal::RefreshTokenMissing
        | Refusal::InvalidFields(_)
        | Refusal::DuplicateCookie
        | Refusal::OriginNotAllowed
        | Refusal::PermissionDenied
        | Refusal::PasswordChangeRequired
        | Refusal::ConfirmationInvalid
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::SignUpClosed
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
        | Refusal::Throttled(_)
        | Refusal::Busy(_) => return None,
    })
}

/// The list under "Validation failed", if that is what it is.
fn validation(error: &Error) -> Option<Vec<String>> {
    match error {
        Error::Refusal(Refusal::InvalidFields(faults)) => Some(faults.iter().map(text).collect()),
        Error::Refusal(Refusal::RefreshTokenMissing) => Some(vec!["refreshToken should not be empty".to_owned()]),
        _ => None,
    }
}

fn text(fault: &FieldError) -> String {
    let field = match fault.field.as_str() {
        "firstName" => "first_name",
        "lastName" => "last_name",
        other => other,
    };
    match fault.rule {
        FieldRule::OneOf(_) => "email or username must be provided".to_owned(),
        FieldRule::TooShort(least) => format!("{field} must be at least {least} characters"),
        FieldRule::TooLong(most) => format!("{field} must be at most {most} characters"),
        FieldRule::Missing => format!("{field} should not be empty"),
        FieldRule::NotAnEmail => format!("{field} must be an email"),
        FieldRule::Type(_) => format!("{field} must be a string"),
        other => format!("{field} {}", other.message()),
    }
}
