//! The shapes of flat's requests and answers.

use std::time::Duration;

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use crate::core::account::Account;
use crate::core::account::identifier::IdentifierKind;
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::{SignIn, SignedIn};
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::core::session::Issued;
use crate::secret::{RefreshToken, Secret};
use crate::web::http::body::Fields;
use crate::web::http::context::RequestContext;
use crate::web::http::error::HandlerResult;

/// The field that chooses an access token's life, in minutes.
pub const LIFETIME: &str = "expiresInMins";

/// The longest life that may be chosen, in minutes: 30 days.
const LONGEST: f64 = 43_200.0;

pub struct Login {
    pub wish: SignIn,
    pub access_ttl: Option<Duration>,
}

pub struct Refresh {
    pub token: Option<RefreshToken>,
    /// Read before the token is looked at and refused after its absence.
    pub access_ttl: Result<Option<Duration>, Refusal>,
}

/// Checks presence, type, lifetime, in that order.
pub fn login(mut fields: Fields) -> Result<Login, Refusal> {
    let (username, password) = (present(fields.value("username")), present(fields.value("password")));
    let (Some(username), Some(password)) = (username, password) else {
        return Err(fault("username", FieldRule::Missing));
    };
    let Value::String(username) = username else { return Err(fault("username", FieldRule::Type("text"))) };
    let access_ttl = lifetime(&mut fields)?;
    // A password that is no text is nobody's.
    let Value::String(password) = password else { return Err(Refusal::InvalidCredentials) };
    let wish = SignIn::new(vec![(IdentifierKind::Username, username)], GivenSecret::Password(Secret::new(password)));
    Ok(Login { wish, access_ttl })
}

pub fn refresh(mut fields: Fields) -> Refresh {
    let token = match fields.value("refreshToken") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(RefreshToken::new(text)),
        Some(other) => Some(RefreshToken::new(other.to_string())),
    };
    Refresh { token, access_ttl: lifetime(&mut fields) }
}

/// What counts as there: not null, false, 0 or "".
fn present(value: Option<Value>) -> Option<Value> {
    value.filter(|value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => true,
    })
}

/// A number of minutes, or text that is one; fractions count.
fn lifetime(fields: &mut Fields) -> Result<Option<Duration>, Refusal> {
    let minutes = match fields.value(LIFETIME) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    match minutes {
        Some(minutes) if (1.0..=LONGEST).contains(&minutes) => Ok(Some(Duration::from_secs_f64(minutes * 60.0))),
        _ => Err(fault(LIFETIME, FieldRule::Type("a number of minutes"))),
    }
}

fn fault(field: &str, rule: FieldRule) -> Refusal {
    Refusal::InvalidFields(vec![FieldError::new(field, rule)])
}

/// The seven fields that name a user.
fn user(account: &Account) -> Map<String, Value> {
    let text = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
    let fields = [
        ("id", Value::from(account.id.0)),
        ("username", text(&account.username)),
        ("email", text(&account.email)),
        ("firstName", text(&account.first_name)),
        ("lastName", text(&account.last_name)),
        ("gender", text(&account.gender)),
        ("image", text(&account.image)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub fn logged_in(context: &RequestContext, signed_in: &SignedIn) -> HandlerResult {
    let mut body = user(&signed_in.account);
    body.insert("accessToken".to_owned(), signed_in.issued.access.expose().into());
    body.insert("refreshToken".to_owned(), signed_in.issued.refresh.expose().into());
    context.set_cookies(HttpResponse::Ok().json(body), &signed_in.issued)
}

pub fn refreshed(context: &RequestContext, issued: &Issued) -> HandlerResult {
    let body = json!({ "accessToken": issued.access.expose(), "refreshToken": issued.refresh.expose() });
    context.set_cookies(HttpResponse::Ok().json(body), issued)
}

/// The bare user with whatever else the profile holds, at the top level; what an owner wrote there hides no field of ours.
pub fn me(account: &Account) -> HttpResponse {
    let mut body: Map<String, Value> = serde_json::from_str(&account.profile).unwrap_or_default();
    body.extend(user(account));
    body.insert("role".to_owned(), account.role.clone().into());
    body.insert("phone".to_owned(), account.phone.as_deref().unwrap_or_default().into());
    HttpResponse::Ok().json(body)
}

pub fn message(text: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "message": text }))
}
