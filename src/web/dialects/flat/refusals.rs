//! Error table of flat: status and message of every refusal. A new reason does not compile until it is decided here. Errors of
//! HTTP itself, and reasons that the contract leaves open (`None`), get native's status and text.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::json;

use super::wire::LIFETIME;
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::web::response::error::ErrorContext;
use crate::web::response::field_error::wire_name;
use crate::web::response::problem;
use crate::web::response::problem::native_only;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let (status, message) = problem::by_table(refused.error, table);
    problem::shaped(status, json!({ "message": message }), refused.error)
}

#[expect(clippy::unnested_or_patterns, reason = "the macro is a pattern of its own")]
fn table(refusal: &Refusal) -> Option<(Status, String)> {
    let (status, message) = match refusal {
        Refusal::InvalidCredentials | Refusal::AccountNotActive(_) => (Status::BAD_REQUEST, "Invalid credentials"),
        Refusal::InvalidFields(errors) => (Status::BAD_REQUEST, fields_message(errors)),
        Refusal::TokenMissing => (Status::UNAUTHORIZED, "Access Token is required"),
        Refusal::TokenExpired => (Status::UNAUTHORIZED, "Token Expired!"),
        Refusal::TokenInvalid | Refusal::SessionEnded | Refusal::AccountNotFound => {
            (Status::UNAUTHORIZED, "Invalid/Expired Token!")
        }
        Refusal::RefreshTokenMissing => (Status::UNAUTHORIZED, "Refresh token required"),
        Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused => (Status::FORBIDDEN, "Invalid refresh token"),
        Refusal::Throttled(_) | Refusal::RateLimited(_) => {
            (Status::TOO_MANY_REQUESTS, "request limit exceeded, please wait a few seconds")
        }
        native_only!() | Refusal::CurrentPasswordWrong | Refusal::PasswordUnchanged | Refusal::IdentifierTaken(_) => {
            return None;
        }
    };
    Some((status, message.to_owned()))
}

fn fields_message(errors: &[FieldError]) -> &'static str {
    match errors.first() {
        Some(error) if wire_name(&error.field) == LIFETIME => "Maximum access token expire time can be 43200 minutes",
        Some(FieldError { rule: FieldRule::Type(_), field }) if wire_name(field) == "username" => {
            "Username is not valid"
        }
        _ => "Username and password required",
    }
}
