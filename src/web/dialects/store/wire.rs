//! Wire format of store: parsers of its requests and serialisers of its responses.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use crate::core::account::identifier;
use crate::core::account::identifier::IdentifierKind;
use crate::core::account::{Account, Profile};
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::SignIn;
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::core::session::Issued;
use crate::secret::Secret;
use crate::web::request::body::Fields;

/// A field's length bounds, and whether an empty value is an error of its own.
struct Bounds {
    min: usize,
    max: usize,
    not_empty: bool,
}

const NAME: Bounds = Bounds { min: 1, max: 20, not_empty: true };
const LOGIN: Bounds = Bounds { min: 3, max: 24, not_empty: false };
const PASSWORD: Bounds = Bounds { min: 8, max: 32, not_empty: false };

pub fn sign_up(mut fields: Fields) -> Result<Registration, Refusal> {
    let mut errors = Vec::new();
    let first_name = bounded(&mut fields, &mut errors, "firstName", &NAME);
    let last_name = bounded(&mut fields, &mut errors, "lastName", &NAME);
    let login = bounded(&mut fields, &mut errors, "login", &LOGIN);
    let email = trimmed(&mut fields, "email").unwrap_or_default();
    if identifier::email(&email).is_err() {
        errors.push(FieldError::new("email", FieldRule::NotAnEmail));
    }
    let password = bounded(&mut fields, &mut errors, "password", &PASSWORD);
    if !errors.is_empty() {
        return Err(Refusal::InvalidFields(errors));
    }
    let profile =
        Profile { first_name: Some(Some(first_name)), last_name: Some(Some(last_name)), ..Profile::default() };
    Ok(Registration {
        email: Some(email),
        username: Some(login),
        password: Some(Secret::new(password)),
        profile,
        ..Registration::default()
    })
}

pub fn sign_in(mut fields: Fields) -> Result<SignIn, Refusal> {
    let mut errors = Vec::new();
    let login = bounded(&mut fields, &mut errors, "login", &LOGIN);
    let password = bounded(&mut fields, &mut errors, "password", &PASSWORD);
    if errors.is_empty() {
        Ok(sign_in_request(login, Secret::new(password)))
    } else {
        Err(Refusal::InvalidFields(errors))
    }
}

fn sign_in_request(login: String, secret: Secret) -> SignIn {
    SignIn::new(vec![(IdentifierKind::Username, login)], GivenSecret::Password(secret))
}

fn trimmed(fields: &mut Fields, field: &str) -> Option<String> {
    match fields.value(field) {
        Some(Value::String(text)) => Some(text.trim().to_owned()),
        _ => None,
    }
}

/// Reports every rule that the value breaks: length, then emptiness, then type. An absent value breaks all of them.
fn bounded(fields: &mut Fields, errors: &mut Vec<FieldError>, field: &str, bounds: &Bounds) -> String {
    let value = fields.value(field).filter(|value| !value.is_null());
    let text = match &value {
        Some(Value::String(text)) => Some(text.trim().to_owned()),
        _ => None,
    };
    let length = text.as_ref().map_or(0, |text| text.chars().count());
    let mut report = |rule| errors.push(FieldError::new(field, rule));
    if length < bounds.min {
        report(FieldRule::TooShort(bounds.min));
    }
    if length > bounds.max {
        report(FieldRule::TooLong(bounds.max));
    }
    if bounds.not_empty && (value.is_none() || text.as_deref() == Some("")) {
        report(FieldRule::Missing);
    }
    if text.is_none() {
        report(FieldRule::Type("a string"));
    }
    text.unwrap_or_default()
}

pub fn tokens(issued: &Issued) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "access_token": issued.access.expose(), "refresh_token": issued.refresh.expose() }))
}

pub fn user(account: &Account) -> HttpResponse {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    HttpResponse::Ok().json(json!({
        "_uuid": account.uuid.to_string(),
        "firstName": text(&account.first_name),
        "lastName": text(&account.last_name),
        "login": text(&account.username),
        "email": text(&account.email),
        "avatarURL": account.image,
    }))
}
