//! Wire format of pin: parsers of its requests and serialisers of its responses.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use crate::core::account::Account;
use crate::core::account::identifier::IdentifierKind;
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::SignIn;
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::core::session::Issued;
use crate::secret::Secret;
use crate::web::request::body::Fields;

/// The roles of administrators in this contract.
const ADMINS: [&str; 2] = ["ADMIN", "SUPER_ADMIN"];

pub fn login(mut fields: Fields) -> Result<SignIn, Refusal> {
    let (name, pin) = (text(&mut fields, "name")?, text(&mut fields, "pin")?);
    Ok(SignIn::new(vec![(IdentifierKind::Any, name)], GivenSecret::Pin(Secret::new(pin))))
}

fn text(fields: &mut Fields, field: &str) -> Result<String, Refusal> {
    let rule = match fields.value(field) {
        Some(Value::String(text)) => return Ok(text),
        None | Some(Value::Null) => FieldRule::Missing,
        Some(_) => FieldRule::Type("a string"),
    };
    Err(Refusal::InvalidFields(vec![FieldError::new(field, rule)]))
}

pub fn logged_in(account: &Account) -> HttpResponse {
    let body = json!({ "message": "Login successful", "user": user(account), "perms": perms(account) });
    HttpResponse::Ok().json(body)
}

pub fn refreshed(issued: &Issued) -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({ "message": "Access token refreshed successfully", "accessToken": issued.access.expose() }))
}

pub fn logged_out() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "message": "Logout successful" }))
}

pub fn me(account: &Account) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "user": user(account), "perms": perms(account) }))
}

fn user(account: &Account) -> Value {
    json!({
        "userId": account.uuid.to_string(),
        "name": account.name.as_ref().or(account.username.as_ref()),
        "role": account.role,
        "isAdmin": ADMINS.contains(&account.role.as_str()),
        "email": account.email,
        "phone": account.phone,
    })
}

fn perms(account: &Account) -> Vec<Value> {
    account.permissions.iter().map(|name| json!({ "name": name })).collect()
}
