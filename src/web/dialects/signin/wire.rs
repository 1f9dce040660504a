//! Wire format of signin: parsers of its requests and serialisers of its responses.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::core::AccountStatus;
use crate::core::account::identifier::IdentifierKind;
use crate::core::account::{Account, Profile};
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::SignIn;
use crate::core::error::{FieldRule, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::core::session::Issued;
use crate::secret::{RefreshToken, Secret};
use crate::web::request::body::Fields;

/// The minimum length of a password in this contract.
const PASSWORD_MIN: usize = 6;

pub fn sign_in(mut fields: Fields) -> Result<SignIn, Refusal> {
    let given = [("email", IdentifierKind::Email), ("username", IdentifierKind::Username)];
    let given = given.map(|(field, kind)| (kind, fields.text(field).filter(|text| !text.is_empty())));
    let identifiers: Vec<_> = given
        .into_iter()
        .filter_map(|(kind, text)| Some((kind, text?)))
        .map(|(kind, text)| (kind, if kind == IdentifierKind::Username { without_blanks(&text) } else { text }))
        .collect();
    if identifiers.is_empty() && !fields.has_errors() {
        fields.add_error::<()>("email", FieldRule::OneOf("email, username"));
    }
    let secret = password(&mut fields);
    fields.finish()?;
    Ok(sign_in_request(identifiers, secret))
}

pub fn sign_up(mut fields: Fields) -> Result<Registration, Refusal> {
    let email = required(&mut fields, "email");
    let secret = password(&mut fields);
    let (first_name, last_name) = (required(&mut fields, "first_name"), required(&mut fields, "last_name"));
    let username = fields.text("username").filter(|text| !text.is_empty()).map(|text| without_blanks(&text));
    let phone = fields.text("phone").filter(|text| !text.is_empty());
    fields.finish()?;
    let profile = Profile {
        first_name: Some(Some(first_name)),
        last_name: Some(Some(last_name)),
        phone: phone.map(Some),
        ..Profile::default()
    };
    let registration =
        Registration { email: Some(email), username, password: Some(secret), profile, ..Registration::default() };
    Ok(registration)
}

pub fn refresh(mut fields: Fields) -> Result<RefreshToken, Refusal> {
    let token = fields.text("refreshToken").filter(|token| !token.is_empty());
    fields.finish()?;
    token.map(RefreshToken::new).ok_or(Refusal::RefreshTokenMissing)
}

pub fn sign_out(mut fields: Fields) -> Option<RefreshToken> {
    match fields.value("refreshToken") {
        Some(Value::String(token)) if !token.is_empty() => Some(RefreshToken::new(token)),
        _ => None,
    }
}

/// Clients of this contract generate usernames from people's names, "Ada Lovelace"; a username here has no blanks.
fn without_blanks(username: &str) -> String {
    username.split_whitespace().collect::<Vec<_>>().join(".")
}

fn required(fields: &mut Fields, field: &str) -> String {
    let has_errors = fields.has_errors();
    let text = fields.text(field).filter(|text| !text.is_empty());
    if text.is_none() && has_errors == fields.has_errors() {
        fields.add_error::<()>(field, FieldRule::Missing);
    }
    text.unwrap_or_default()
}

fn password(fields: &mut Fields) -> Secret {
    let password = fields.text("password").unwrap_or_default();
    if password.chars().count() < PASSWORD_MIN {
        fields.add_error::<()>("password", FieldRule::TooShort(PASSWORD_MIN));
    }
    Secret::new(password)
}

fn sign_in_request(identifiers: Vec<(IdentifierKind, String)>, secret: Secret) -> SignIn {
    SignIn::new(identifiers, GivenSecret::Password(secret))
}

/// Tokens and the user. `rol` is the role under its Spanish key; an unset field is "".
pub fn signed_in(status: StatusCode, account: &Account, issued: &Issued, now: Timestamp) -> HttpResponse {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let figures: &RawValue = serde_json::from_str(&account.stats).unwrap_or(RawValue::NULL);
    HttpResponse::build(status).json(json!({
        "accessToken": issued.access.expose(),
        "refreshToken": issued.refresh.expose(),
        "user": {
            "id": account.id.0,
            "username": text(&account.username),
            "email": text(&account.email),
            "firstName": text(&account.first_name),
            "lastName": text(&account.last_name),
            "rol": account.role,
            "avatar": text(&account.image),
            "status": status_name(account.status),
            "lastLogin": account.last_sign_in_at.unwrap_or(now).rfc3339(),
            "createdAt": account.created_at.rfc3339(),
            "permissions": account.permissions,
            "stats": figures,
        },
    }))
}

/// The three statuses of this contract.
const fn status_name(status: AccountStatus) -> &'static str {
    match status {
        AccountStatus::Active => "active",
        AccountStatus::Inactive => "inactive",
        AccountStatus::Locked | AccountStatus::Suspended => "suspended",
    }
}

pub fn success() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "success": true }))
}
