//! Error table of store: status and message of every refusal. A new reason does not compile until it is decided here. Errors of
//! HTTP itself, and reasons that the contract leaves open (`None`), get native's status and text.
//! Each response repeats the path as it was sent, without the token in its query.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::{Value, json};

use crate::core::error::{Error, Field, FieldError, FieldRule, Refusal, Taken};
use crate::web::response::error::{ErrorContext, RequestError, WebError};
use crate::web::response::field_error::{message, wire_name};
use crate::web::response::problem;
use crate::web::response::problem::native_only;

/// The order of a sign-up's field errors.
const ORDER: [&str; 5] = ["firstName", "lastName", "login", "email", "password"];

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let path = without_token(refused.target);
    let (status, message) = match refused.error {
        WebError::Request(RequestError::RouteNotFound | RequestError::MethodNotAllowed(_)) => {
            (Status::NOT_FOUND, Value::from(format!("Cannot {} {path}", refused.method)))
        }
        WebError::Core(Error::Refusal(Refusal::InvalidFields(errors))) => (Status::BAD_REQUEST, texts(errors).into()),
        error => {
            let (status, message) = problem::by_table(error, table);
            (status, message.into())
        }
    };
    let body = json!({
        "statusCode": status.as_u16(),
        "message": message,
        "timestamp": refused.at.rfc3339(),
        "path": path,
    });
    problem::shaped(status, body, refused.error)
}

#[expect(clippy::unnested_or_patterns, reason = "the macro is a pattern of its own")]
fn table(refusal: &Refusal) -> Option<(Status, String)> {
    let (status, message) = match refusal {
        Refusal::IdentifierTaken(taken) => (Status::BAD_REQUEST, taken_text(*taken)),
        Refusal::InvalidCredentials | Refusal::AccountNotActive(_) => {
            (Status::BAD_REQUEST, "The login or password is incorrect")
        }
        Refusal::RefreshTokenMissing => (Status::BAD_REQUEST, "Refresh token must not be empty"),
        Refusal::TokenMissing => (Status::UNAUTHORIZED, "Unauthorised user (empty bearer token)"),
        Refusal::TokenInvalid | Refusal::RefreshTokenInvalid | Refusal::RefreshTokenReused => {
            (Status::UNAUTHORIZED, "Invalid token")
        }
        Refusal::TokenExpired | Refusal::RefreshTokenExpired => (Status::UNAUTHORIZED, "Token expired"),
        Refusal::SessionEnded | Refusal::RefreshSessionEnded | Refusal::AccountNotFound => {
            (Status::UNAUTHORIZED, "Token verification failed")
        }
        native_only!()
        | Refusal::InvalidFields(_)
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::Throttled(_)
        | Refusal::RateLimited(_) => return None,
    };
    Some((status, message.to_owned()))
}

fn taken_text(taken: Taken) -> &'static str {
    match (taken.username || taken.name, taken.email) {
        (true, true) => "Login and email already used",
        (false, true) => "Email already used",
        _ => "Login already used",
    }
}

/// One text per broken rule, in the order of the fields.
fn texts(errors: &[FieldError]) -> Vec<String> {
    let place = |field: &str| ORDER.iter().position(|known| *known == field).unwrap_or(ORDER.len());
    let mut texts: Vec<(usize, String)> = errors
        .iter()
        .map(|error| (place(field_name(&error.field)), text(field_name(&error.field), error.rule)))
        .collect();
    texts.sort_by_key(|(place, _)| *place);
    texts.into_iter().map(|(_, text)| text).collect()
}

/// This contract's name of a username is "login".
fn field_name(field: &Field) -> &str {
    match wire_name(field) {
        "username" => "login",
        other => other,
    }
}

fn text(field: &str, rule: FieldRule) -> String {
    match rule {
        FieldRule::TooShort(min) => format!("{field} must be longer than or equal to {min} characters"),
        FieldRule::TooLong(max) => format!("{field} must be shorter than or equal to {max} characters"),
        FieldRule::Missing => format!("{field} should not be empty"),
        FieldRule::NotAnEmail => format!("{field} must be an email"),
        other => format!("{field} {}", message(other)),
    }
}

/// A value of at least this length may be a secret, whatever its name.
const MIN_SECRET_LENGTH: usize = 16;

/// The target without secrets in its query: a response may end up in logs and on screens.
fn without_token(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let shown = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let is_token = url::form_urlencoded::parse(name.as_bytes()).next().is_some_and(|(name, _)| name == "rt");
        match pair.contains('=') {
            true if is_token || value.len() >= MIN_SECRET_LENGTH => format!("{name}=***"),
            false if value.len() >= MIN_SECRET_LENGTH => "***".to_owned(),
            _ => pair.to_owned(),
        }
    });
    format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
}
