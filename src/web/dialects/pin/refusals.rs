//! Error table of pin: status and message of every refusal. A new reason does not compile until it is decided here. Errors of
//! HTTP itself, and reasons that the contract leaves open (`None`), get native's status and text.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::json;

use crate::core::error::{FieldError, Refusal};
use crate::web::response::error::ErrorContext;
use crate::web::response::field_error::sentence;
use crate::web::response::problem;
use crate::web::response::problem::native_only;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let error = refused.error;
    if let Some(Refusal::Throttled(wait) | Refusal::RateLimited(wait)) = error.refusal() {
        let body = json!({ "retryAfter": wait.as_secs().max(1) });
        return problem::shaped(Status::TOO_MANY_REQUESTS, body, error);
    }
    let (status, message) = problem::by_table(error, table);
    problem::shaped(status, json!({ "message": message }), error)
}

#[expect(clippy::unnested_or_patterns, reason = "the macro is a pattern of its own")]
fn table(refusal: &Refusal) -> Option<(Status, String)> {
    let (status, message) = match refusal {
        Refusal::InvalidCredentials | Refusal::AccountNotActive(_) => (Status::UNAUTHORIZED, "Invalid credentials"),
        Refusal::InvalidFields(errors) => return Some((Status::BAD_REQUEST, fields_message(errors))),
        Refusal::RefreshTokenMissing
        | Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused => (Status::UNAUTHORIZED, "Invalid token"),
        Refusal::TokenMissing
        | Refusal::TokenInvalid
        | Refusal::TokenExpired
        | Refusal::SessionEnded
        | Refusal::AccountNotFound => (Status::UNAUTHORIZED, "Unauthorized API access"),
        native_only!()
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::IdentifierTaken(_)
        | Refusal::Throttled(_)
        | Refusal::RateLimited(_) => return None,
    };
    Some((status, message.to_owned()))
}

fn fields_message(errors: &[FieldError]) -> String {
    errors.iter().map(sentence).collect::<Vec<_>>().join(", ")
}
