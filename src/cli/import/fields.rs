//! What one account of a file says, field by field, in either format. A field that nobody knows is refused where the format
//! is ours: a misspelt `passwordHash` would make an account without one.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::records::Record;
use crate::cli::account::permission;
use crate::cli::import::line::{Line, told};
use crate::clock::Timestamp;
use crate::core::account::Profile;
use crate::core::account::identifier;
use crate::core::account::identifier::Identifier;
use crate::core::account::import::ImportRecord;
use crate::core::error::{Error, FieldError, FieldRule, Refusal};
use crate::core::registration::sign_up::{Privileges, Registration};
use crate::core::{AccountId, AccountStatus, Id128};
use crate::secret::Secret;
use crate::settings::values;
use crate::web::request::body::Fields;
use crate::web::response::error::{RequestError, WebError};

/// Fields of flat's users that are nobody's profile, since `/auth/me` would show them: what pays, what proves who one is,
/// and what came from one computer.
const NOT_KEPT: [&str; 7] = ["bank", "crypto", "ein", "ip", "macAddress", "ssn", "userAgent"];

/// How the file is to be read.
pub struct Reading {
    pub flat: bool,
    pub plain_secrets: bool,
    pub role: Option<String>,
    pub new_ids: bool,
}

impl Reading {
    pub fn line(&self, record: Record) -> Line {
        let number = record.line;
        let Some(bytes) = record.bytes else {
            return Line { number, label: None, read: Err("it is longer than 64 KiB".to_owned()) };
        };
        match Fields::parse(&bytes) {
            Ok(mut fields) => {
                let person = self.person(&mut fields);
                let label = label(&person);
                let read = self.newcomer(number, fields, person);
                Line { number, label, read: read.map_err(|faults| told(&faults)) }
            }
            Err(error) => Line { number, label: None, read: Err(unreadable(&error)) },
        }
    }

    /// Who it is, and the plain secrets.
    fn person(&self, fields: &mut Fields) -> Registration {
        let mut named = |field: &str| fields.text(field).filter(|text| !text.is_empty());
        let (email, username) = (named("email"), named("username"));
        let name = if self.flat { None } else { named("name") };
        let password = self.plain(fields, "password");
        let pin = if self.flat { None } else { self.plain(fields, "pin") };
        let profile = Profile {
            name: None,
            first_name: fields.text_or_null("firstName"),
            last_name: fields.text_or_null("lastName"),
            gender: fields.text_or_null("gender"),
            image: fields.text_or_null("image"),
            phone: fields.text_or_null("phone"),
            further: None,
        };
        Registration { email, username, name, password, pin, profile }
    }

    fn plain(&self, fields: &mut Fields, field: &str) -> Option<Secret> {
        let secret = fields.secret(field)?;
        if self.plain_secrets {
            Some(secret)
        } else {
            fields.add_error(field, FieldRule::Type("left out without --plain-secrets"))
        }
    }

    fn newcomer(
        &self,
        line: usize,
        mut fields: Fields,
        mut person: Registration,
    ) -> Result<ImportRecord, Vec<FieldError>> {
        let given = id(&mut fields).filter(|_| !self.new_ids);
        let role = role(&mut fields).or_else(|| self.role.clone());
        let mut newcomer = ImportRecord {
            line,
            id: given,
            uuid: None,
            person: Registration::default(),
            privileges: Privileges { role, ..Privileges::default() },
            password_hash: None,
            pin_hash: None,
            stats: None,
            status: AccountStatus::Active,
            must_change_password: false,
            last_sign_in_at: None,
            created_at: None,
            updated_at: None,
        };
        if self.flat {
            person.profile.further = Some(Value::Object(kept(fields.take_rest())).to_string());
        } else {
            self.further(&mut fields, &mut newcomer);
            person.profile.further = fields.object("profile");
        }
        newcomer.person = person;
        match fields.deny_unknown_fields() {
            Ok(()) => Ok(newcomer),
            Err(Refusal::InvalidFields(faults)) => Err(faults),
            Err(_other) => Err(Vec::new()),
        }
    }

    /// What flat's users do not have.
    fn further(&self, fields: &mut Fields, newcomer: &mut ImportRecord) {
        newcomer.uuid = uuid(fields).filter(|_| !self.new_ids);
        newcomer.password_hash = hash(fields, "passwordHash");
        newcomer.pin_hash = hash(fields, "pinHash");
        newcomer.privileges.permissions = permissions(fields);
        newcomer.privileges.email_verified = fields.bool("emailVerified").unwrap_or(false);
        newcomer.stats = fields.object("stats");
        newcomer.status = status(fields);
        newcomer.must_change_password = fields.bool("mustChangePassword").unwrap_or(false);
        newcomer.created_at = time(fields, "createdAt");
        newcomer.updated_at = time(fields, "updatedAt");
        newcomer.last_sign_in_at = time(fields, "lastSignIn");
    }
}

/// What names it in the report: only what may be an identifier, since people put passwords into the wrong column too.
fn label(person: &Registration) -> Option<String> {
    let of = |text: &Option<String>, rule: fn(&str) -> Result<Identifier, FieldRule>| rule(text.as_deref()?).ok();
    let first = of(&person.username, identifier::username).or_else(|| of(&person.email, identifier::email));
    first.or_else(|| of(&person.name, identifier::name)).map(|identifier| identifier.canonical)
}

/// The reader speaks of a body and of its only line.
fn unreadable(error: &WebError) -> String {
    match error {
        WebError::Request(RequestError::MalformedBody(why)) => {
            why.replace("the body", "it").replace("line 1 column", "column")
        }
        WebError::Core(Error::Refusal(Refusal::InvalidFields(faults))) => told(faults),
        other => other.reason().to_owned(),
    }
}

fn kept(mut further: Map<String, Value>) -> Map<String, Value> {
    further.retain(|field, _| !NOT_KEPT.contains(&field.as_str()));
    further
}

fn id(fields: &mut Fields) -> Option<AccountId> {
    match fields.value("id")? {
        Value::Null => None,
        Value::Number(number) if number.is_i64() => number.as_i64().map(AccountId),
        _ => fields.add_error("id", FieldRule::Type("a whole number")),
    }
}

fn uuid(fields: &mut Fields) -> Option<Id128> {
    let text = fields.text("uuid")?;
    text.parse::<Uuid>().map(Id128).ok().or_else(|| fields.add_error("uuid", FieldRule::Type("a uuid")))
}

fn role(fields: &mut Fields) -> Option<String> {
    let text = fields.text("role").filter(|text| !text.is_empty())?;
    let rule = FieldRule::Type("up to 64 letters, digits, _ and -");
    values::role(&text).ok().or_else(|| fields.add_error("role", rule))
}

fn status(fields: &mut Fields) -> AccountStatus {
    let Some(text) = fields.text("status") else { return AccountStatus::Active };
    let rule = FieldRule::Type("active, inactive, locked or suspended");
    let read = text.to_ascii_lowercase().parse().ok().or_else(|| fields.add_error("status", rule));
    read.unwrap_or(AccountStatus::Inactive)
}

fn time(fields: &mut Fields, field: &str) -> Option<Timestamp> {
    let text = fields.text(field)?;
    Timestamp::parse_rfc3339(&text)
        .or_else(|| fields.add_error(field, FieldRule::Type("a time like 2026-11-21T09:34:00Z")))
}

fn permissions(fields: &mut Fields) -> Vec<String> {
    let rule = FieldRule::Type("a list of words without white space");
    let words = |list: Vec<Value>| list.iter().map(|word| permission(word.as_str()?).ok()).collect::<Option<Vec<_>>>();
    let read = match fields.value("permissions") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => words(list),
        Some(_) => None,
    };
    read.or_else(|| fields.add_error("permissions", rule)).unwrap_or_default()
}

/// A hash, unless there is none: empty, or behind the `!` with which Unix and Django shut an account's password.
fn hash(fields: &mut Fields, field: &str) -> Option<Secret> {
    fields.text(field).filter(|text| !text.is_empty() && !text.starts_with('!')).map(Secret::new)
}
