//! Wire format of envelope: parsers of its requests and serialisers of its responses.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::core::AccountStatus;
use crate::core::account::Account;
use crate::core::account::identifier;
use crate::core::account::identifier::IdentifierKind;
use crate::core::credential::password::{GivenSecret, PASSWORD_MAX};
use crate::core::credential::sign_in::SignIn;
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::core::session::Issued;
use crate::core::session::caller::DEVICE_TEXT_MAX;
use crate::secret::{RefreshToken, Secret};
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;

/// The minimum length of a new password in this contract.
const PASSWORD_MIN: usize = 8;

/// The roles of this contract; every other role is shown as a customer.
const ROLES: [&str; 4] = ["CUSTOMER", "ADMIN", "SUPER_ADMIN", "VENDOR"];

pub fn register(mut fields: Fields) -> Result<Registration, Refusal> {
    let mut errors = Vec::new();
    let email = email(&mut fields, &mut errors);
    let password = new_password(&mut fields, &mut errors, "password");
    check(errors)?;
    let secret = Secret::new(password);
    let registration = Registration { email: Some(email), password: Some(secret), ..Registration::default() };
    Ok(registration)
}

/// A sign-in does not check the password's length: a short one is a wrong one.
pub fn login(mut fields: Fields) -> Result<SignIn, Refusal> {
    let mut errors = Vec::new();
    let email = email(&mut fields, &mut errors);
    let password = required(&mut fields, &mut errors, "password");
    check(errors)?;
    let device = match fields.value("deviceId") {
        Some(Value::String(id)) if !id.is_empty() => {
            Some(id.chars().filter(|c| !c.is_control()).take(DEVICE_TEXT_MAX).collect())
        }
        _ => None,
    };
    Ok(sign_in_request(email, Secret::new(password), device))
}

pub fn refresh_token(mut fields: Fields) -> Result<RefreshToken, Refusal> {
    let mut errors = Vec::new();
    let token = required(&mut fields, &mut errors, "refreshToken");
    check(errors)?;
    Ok(RefreshToken::new(token))
}

pub fn change_password(mut fields: Fields) -> Result<(Secret, Secret), Refusal> {
    let mut errors = Vec::new();
    let old = required(&mut fields, &mut errors, "oldPassword");
    let new = new_password(&mut fields, &mut errors, "newPassword");
    check(errors)?;
    Ok((Secret::new(old), Secret::new(new)))
}

fn check(errors: Vec<FieldError>) -> Result<(), Refusal> {
    if errors.is_empty() { Ok(()) } else { Err(Refusal::InvalidFields(errors)) }
}

fn required(fields: &mut Fields, errors: &mut Vec<FieldError>, field: &str) -> String {
    match fields.value(field) {
        Some(Value::String(text)) if !text.is_empty() => text,
        _ => {
            errors.push(FieldError::new(field, FieldRule::Missing));
            String::new()
        }
    }
}

fn email(fields: &mut Fields, errors: &mut Vec<FieldError>) -> String {
    let errors_before = errors.len();
    let email = required(fields, errors, "email");
    if errors_before == errors.len() && identifier::email(&email).is_err() {
        errors.push(FieldError::new("email", FieldRule::NotAnEmail));
    }
    email
}

fn new_password(fields: &mut Fields, errors: &mut Vec<FieldError>, field: &str) -> String {
    let errors_before = errors.len();
    let password = required(fields, errors, field);
    if errors_before == errors.len() && !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.chars().count()) {
        errors.push(FieldError::new(field, FieldRule::TooShort(PASSWORD_MIN)));
    }
    password
}

fn sign_in_request(email: String, secret: Secret, device: Option<String>) -> SignIn {
    let mut request = SignIn::new(vec![(IdentifierKind::Email, email)], GivenSecret::Password(secret));
    request.session.device.id = device;
    request
}

/// The envelope itself.
pub fn envelope(success: bool, message: &str, data: &Value, timestamp: &str) -> Value {
    json!({ "success": success, "message": message, "data": data, "timestamp": timestamp })
}

fn answer(context: &RequestContext, status: StatusCode, message: &str, data: &Value) -> HttpResponse {
    HttpResponse::build(status).json(envelope(true, message, data, &context.service.core().now().rfc3339()))
}

pub fn done(context: &RequestContext, message: &str) -> HttpResponse {
    answer(context, StatusCode::OK, message, &Value::Null)
}

pub fn tokens(context: &RequestContext, status: StatusCode, message: &str, issued: &Issued) -> HttpResponse {
    let data = json!({
        "accessToken": issued.access.expose(),
        "refreshToken": issued.refresh.expose(),
        "tokenType": "Bearer",
        "expiresIn": context.policy().access_ttl.as_secs(),
    });
    answer(context, status, message, &data)
}

pub fn me(context: &RequestContext, account: &Account) -> HttpResponse {
    let role = ROLES.into_iter().find(|role| *role == account.role).unwrap_or("CUSTOMER");
    let status = match account.status {
        AccountStatus::Active => "ACTIVE",
        AccountStatus::Locked => "LOCKED",
        AccountStatus::Inactive | AccountStatus::Suspended => "SUSPENDED",
    };
    let data = json!({
        "id": account.id.0,
        "email": account.email,
        "role": role,
        "accountStatus": status,
        "emailVerified": account.email_verified,
        "createdAt": account.created_at.rfc3339(),
        "updatedAt": account.updated_at.rfc3339(),
    });
    answer(context, StatusCode::OK, "Current user fetched successfully", &data)
}
