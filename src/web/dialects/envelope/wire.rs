//! The shapes of envelope's requests and answers.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::core::AccountStatus;
use crate::core::account::Account;
use crate::core::account::identifier;
use crate::core::account::identifier::IdentifierKind;
use crate::core::caller::DEVICE_TEXT_MAX;
use crate::core::credential::password::{GivenSecret, PASSWORD_MAX};
use crate::core::credential::sign_in::SignIn;
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::core::session::Issued;
use crate::secret::{RefreshToken, Secret};
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;

/// The fewest characters of a new password here.
const PASSWORD_MIN: usize = 8;

/// The roles that this wire knows; anybody else is a customer.
const ROLES: [&str; 4] = ["CUSTOMER", "ADMIN", "SUPER_ADMIN", "VENDOR"];

pub fn register(mut fields: Fields) -> Result<Registration, Refusal> {
    let mut faults = Vec::new();
    let email = email(&mut fields, &mut faults);
    let password = new_password(&mut fields, &mut faults, "password");
    none_of(faults)?;
    Ok(Registration { email: Some(email), password: Some(Secret::new(password)), ..Registration::default() })
}

/// A sign-in does not judge the password's length: a short one is a wrong one.
pub fn login(mut fields: Fields) -> Result<SignIn, Refusal> {
    let mut faults = Vec::new();
    let email = email(&mut fields, &mut faults);
    let password = required(&mut fields, &mut faults, "password");
    none_of(faults)?;
    let device = match fields.value("deviceId") {
        Some(Value::String(id)) if !id.is_empty() => {
            Some(id.chars().filter(|c| !c.is_control()).take(DEVICE_TEXT_MAX).collect())
        }
        _ => None,
    };
    Ok(wish(email, Secret::new(password), device))
}

pub fn refresh_token(mut fields: Fields) -> Result<RefreshToken, Refusal> {
    let mut faults = Vec::new();
    let token = required(&mut fields, &mut faults, "refreshToken");
    none_of(faults)?;
    Ok(RefreshToken::new(token))
}

pub fn change_password(mut fields: Fields) -> Result<(Secret, Secret), Refusal> {
    let mut faults = Vec::new();
    let old = required(&mut fields, &mut faults, "oldPassword");
    let new = new_password(&mut fields, &mut faults, "newPassword");
    none_of(faults)?;
    Ok((Secret::new(old), Secret::new(new)))
}

fn none_of(faults: Vec<FieldError>) -> Result<(), Refusal> {
    if faults.is_empty() { Ok(()) } else { Err(Refusal::InvalidFields(faults)) }
}

fn required(fields: &mut Fields, faults: &mut Vec<FieldError>, field: &str) -> String {
    match fields.value(field) {
        Some(Value::String(text)) if !text.is_empty() => text,
        _ => {
            faults.push(FieldError::new(field, FieldRule::Missing));
            String::new()
        }
    }
}

fn email(fields: &mut Fields, faults: &mut Vec<FieldError>) -> String {
    let before = faults.len();
    let email = required(fields, faults, "email");
    if before == faults.len() && identifier::email(&email).is_err() {
        faults.push(FieldError::new("email", FieldRule::NotAnEmail));
    }
    email
}

fn new_password(fields: &mut Fields, faults: &mut Vec<FieldError>, field: &str) -> String {
    let before = faults.len();
    let password = required(fields, faults, field);
    if before == faults.len() && !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.chars().count()) {
        faults.push(FieldError::new(field, FieldRule::TooShort(PASSWORD_MIN)));
    }
    password
}

fn wish(email: String, secret: Secret, device: Option<String>) -> SignIn {
    let mut wish = SignIn::new(vec![(IdentifierKind::Email, email)], GivenSecret::Password(secret));
    wish.session.device.id = device;
    wish
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
