//! Wire format of flat: parsers of its requests and serialisers of its responses.

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
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;

/// The field with the requested lifetime of the access token, in minutes.
pub const LIFETIME: &str = "expiresInMins";

/// The longest lifetime that a client may request, in minutes: 30 days.
const LIFETIME_MAX: f64 = 43_200.0;

/// The same as a duration.
pub const ACCESS_TTL_MAX: Duration = Duration::from_hours(30 * 24);

pub struct FlatLogin {
    pub sign_in: SignIn,
    pub access_ttl: Option<Duration>,
}

pub struct FlatRefresh {
    pub token: Option<RefreshToken>,
    /// Parsed with the token; an invalid lifetime is refused only after a missing token.
    pub access_ttl: Result<Option<Duration>, Refusal>,
}

/// Checks presence, type, lifetime, in that order.
pub fn login(mut fields: Fields) -> Result<FlatLogin, Refusal> {
    let (username, password) = (present(fields.value("username")), present(fields.value("password")));
    let (Some(username), Some(password)) = (username, password) else {
        return Err(field_error("username", FieldRule::Missing));
    };
    let Value::String(username) = username else { return Err(field_error("username", FieldRule::Type("text"))) };
    let access_ttl = lifetime(&mut fields)?;
    // A password that is no text is a wrong one.
    let Value::String(password) = password else { return Err(Refusal::InvalidCredentials) };
    let sign_in = SignIn::new(vec![(IdentifierKind::Username, username)], GivenSecret::Password(Secret::new(password)));
    Ok(FlatLogin { sign_in, access_ttl })
}

pub fn refresh(mut fields: Fields) -> FlatRefresh {
    let token = match fields.value("refreshToken") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(RefreshToken::new(text)),
        Some(other) => Some(RefreshToken::new(other.to_string())),
    };
    FlatRefresh { token, access_ttl: lifetime(&mut fields) }
}

/// A value that counts as present: not null, false, 0 or "".
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
        Some(minutes) if (1.0..=LIFETIME_MAX).contains(&minutes) => Ok(Some(Duration::from_secs_f64(minutes * 60.0))),
        _ => Err(field_error(LIFETIME, FieldRule::Type("a number of minutes"))),
    }
}

fn field_error(field: &str, rule: FieldRule) -> Refusal {
    Refusal::InvalidFields(vec![FieldError::new(field, rule)])
}

/// The seven fields of a user.
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

/// The user with the other fields of the profile at the top level; those never replace a field of the user.
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
