//! Every refusal to store's status and message. Each answer repeats the path as it was sent, but never the token in it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode as Status;
use serde_json::{Value, json};

use crate::core::error::{Error, FieldError, FieldRule, Refusal, Taken};
use crate::web::http::error::ErrorContext;
use crate::web::http::problem;

/// The order in which a sign-up's fields are told.
const ORDER: [&str; 5] = ["firstName", "lastName", "login", "email", "password"];

pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let path = without_token(refused.target);
    let said = match refused.error {
        Error::Refusal(Refusal::RouteNotFound | Refusal::MethodNotAllowed(_)) => {
            Some((Status::NOT_FOUND, Value::from(format!("Cannot {} {path}", refused.method))))
        }
        Error::Refusal(refusal) => said(refusal),
        Error::InternalError(_) => None,
    };
    let (status, message) = said.unwrap_or_else(|| {
        let (status, words) = problem::usual(refused.error);
        (status, words.into())
    });
    let body = json!({
        "statusCode": status.as_u16(),
        "message": message,
        "timestamp": refused.at.rfc3339(),
        "path": path,
    });
    problem::shaped(status, body, refused.error)
}

fn said(refusal: &Refusal) -> Option<(Status, Value)> {
    let (status, message) = match refusal {
        Refusal::InvalidFields(faults) => return Some((Status::BAD_REQUEST, texts(faults).into())),
        Refusal::IdentifierTaken(taken) => (Status::BAD_REQUEST, taken_text(*taken)),
        Refusal::InvalidCredentials | Refusal::AccountNotActive(_) => {
            (Status::BAD_REQUEST, "The login or password is incorrect")
        }
        Refusal::RefreshTokenMissing => (Status::BAD_REQUEST, "Refresh token must not be empty"),
        Refusal::TokenMissing => (Status::UNAUTHORIZED, "Unauthorised user (empty bearer token)"),
        Refusal::TokenInvalid
        | Refusal::AuthorizationMalformed
        | Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenReused => (Status::UNAUTHORIZED, "Invalid token"),
        Refusal::TokenExpired | Refusal::RefreshTokenExpired => (Status::UNAUTHORIZED, "Token expired"),
        Refusal::SessionEnded | Refusal::RefreshSessionEnded | Refusal::AccountNotFound => {
            (Status::UNAUTHORIZED, "Token verification failed")
        }
        Refusal::DuplicateCookie
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
    };
    Some((status, message.into()))
}

fn taken_text(taken: Taken) -> &'static str {
    match (taken.username || taken.name, taken.email) {
        (true, true) => "Login and email already used",
        (false, true) => "Email already used",
        _ => "Login already used",
    }
}

/// A text a broken rule, in the order of the fields; core's names of them become this wire's.
fn texts(faults: &[FieldError]) -> Vec<String> {
    let named = |fault: &FieldError| if fault.field == "username" { "login" } else { fault.field.as_str() }.to_owned();
    let place = |field: &str| ORDER.iter().position(|known| *known == field).unwrap_or(ORDER.len());
    let mut texts: Vec<(usize, String)> =
        faults.iter().map(|fault| (place(&named(fault)), text(&named(fault), fault.rule))).collect();
    texts.sort_by_key(|(place, _)| *place);
    texts.into_iter().map(|(_, text)| text).collect()
}

fn text(field: &str, rule: FieldRule) -> String {
    match rule {
        FieldRule::TooShort(least) => format!("{field} must be longer than or equal to {least} characters"),
        FieldRule::TooLong(most) => format!("{field} must be shorter than or equal to {most} characters"),
        FieldRule::Missing => format!("{field} should not be empty"),
        FieldRule::NotAnEmail => format!("{field} must be an email"),
        other => format!("{field} {}", other.message()),
    }
}

/// From this length on a value may be a secret, whatever its name.
const SHORTEST_SECRET: usize = 16;

/// A token in a query must not be echoed: logs and screens keep what answers say.
fn without_token(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let shown = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let is_token = url::form_urlencoded::parse(name.as_bytes()).next().is_some_and(|(name, _)| name == "rt");
        match pair.contains('=') {
            true if is_token || value.len() >= SHORTEST_SECRET => format!("{name}=***"),
            false if value.len() >= SHORTEST_SECRET => "***".to_owned(),
            _ => pair.to_owned(),
        }
    });
    format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
}
