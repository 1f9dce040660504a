//! Every refusal to pin's status and message.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::json;

use crate::core::error::{Error, FieldError, Refusal};
use crate::web::http::error::ErrorContext;
use crate::web::http::problem;

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let error = refused.error;
    if let Error::Refusal(Refusal::Throttled(wait)) = error {
        let body = json!({ "retryAfter": wait.as_secs().max(1) });
        return problem::shaped(Status::TOO_MANY_REQUESTS, body, error);
    }
    let said = match error {
        Error::Refusal(refusal) => said(refusal),
        Error::InternalError(_) => None,
    };
    let (status, message) = said.unwrap_or_else(|| problem::usual(error));
    problem::shaped(status, json!({ "message": message }), error)
}

fn said(refusal: &Refusal) -> Option<(Status, String)> {
    let (status, message) = match refusal {
        Refusal::InvalidCredentials | Refusal::AccountNotActive(_) => (Status::UNAUTHORIZED, "Invalid credentials"),
        Refusal::InvalidFields(faults) => return Some((Status::BAD_REQUEST, fields(faults))),
        Refusal::RefreshTokenMissing
        | Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused => (Status::UNAUTHORIZED, "Invalid token"),
        Refusal::TokenMissing
        | Refusal::TokenInvalid
        | Refusal::TokenExpired
        | Refusal::SessionEnded
        | Refusal::AccountNotFound
        | Refusal::AuthorizationMalformed => (Status::UNAUTHORIZED, "Unauthorized API access"),
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
        | Refusal::Throttled(_)
        | Refusal::Busy(_) => return None,
    };
    Some((status, message.to_owned()))
}

fn fields(faults: &[FieldError]) -> String {
    let told = faults.iter().map(|fault| format!("{} {}", fault.field, fault.rule.message()));
    told.collect::<Vec<_>>().join(", ")
}
