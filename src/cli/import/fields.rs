//! Parser of one account of an import file, in either format. Unknown fields are refused in doorward's own format: a misspelt
//! `passwordHash` would create an account without a password.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::line::Record;
use super::vendor_formats::{HashSecret, ImportFormat, translate};
use crate::cli::account::permission;
use crate::cli::import::line::{ImportLine, LineError};
use crate::clock::Timestamp;
use crate::core::account::Profile;
use crate::core::account::identifier;
use crate::core::account::identifier::Identifier;
use crate::core::account::import::ImportRecord;
use crate::core::error::{Error, FieldRule, Refusal};
use crate::core::registration::sign_up::{Privileges, Registration};
use crate::core::{AccountId, AccountStatus, AccountUuid};
use crate::secret::Secret;
use crate::settings::values;
use crate::web::request::body::Fields;
use crate::web::response::error::{RequestError, WebError};

/// Fields of the flat format that are dropped, because `/auth/me` would show them as part of the profile: payment data,
/// identity numbers, and data of one device.
const DROPPED_FIELDS: [&str; 7] = ["bank", "crypto", "ein", "ip", "macAddress", "ssn", "userAgent"];

/// Parses records by the options of the command.
pub struct RecordParser {
    /// The format of the file.
    pub format: ImportFormat,
    /// What its hashes need beside it.
    pub hash_secret: HashSecret,
    /// Whether plain passwords and PINs are accepted.
    pub plain_secrets: bool,
    /// The role of accounts without one.
    pub role: Option<String>,
    /// Whether the ids of the file are ignored.
    pub new_ids: bool,
}

impl RecordParser {
    /// Parses a record. Errors are part of the line: they stop no other.
    pub fn parse(&self, record: Record) -> ImportLine {
        let number = record.line;
        let Some(bytes) = record.bytes else {
            return ImportLine { number, label: None, result: Err(LineError::new("it is longer than 64 KiB")) };
        };
        match Fields::parse(&bytes).map_err(|error| parse_error(&error)).and_then(|fields| self.translate(fields)) {
            Ok(mut fields) => {
                let person = self.person(&mut fields);
                let label = label(&person);
                ImportLine { number, label, result: self.account(number, fields, person) }
            }
            Err(error) => ImportLine { number, label: None, result: Err(error) },
        }
    }

    /// The fields in doorward's own format.
    fn translate(&self, mut fields: Fields) -> Result<Fields, LineError> {
        let translated = translate(self.format, &fields.take_rest(), &self.hash_secret)?;
        Ok(Fields::of(translated))
    }

    fn is_flat(&self) -> bool {
        self.format == ImportFormat::Flat
    }

    /// Identifiers, profile and plain secrets.
    fn person(&self, fields: &mut Fields) -> Registration {
        let mut non_empty = |field: &str| fields.text(field).filter(|text| !text.is_empty());
        let (email, username) = (non_empty("email"), non_empty("username"));
        let name = if self.is_flat() { None } else { non_empty("name") };
        let password = self.plain_secret(fields, "password");
        let pin = if self.is_flat() { None } else { self.plain_secret(fields, "pin") };
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

    /// A plain secret, or an error without --plain-secrets.
    fn plain_secret(&self, fields: &mut Fields, field: &str) -> Option<Secret> {
        let secret = fields.secret(field)?;
        if self.plain_secrets {
            Some(secret)
        } else {
            fields.add_error(field, FieldRule::Type("left out without --plain-secrets"))
        }
    }

    /// The account with the fields that `person` did not take.
    fn account(&self, line: usize, mut fields: Fields, mut person: Registration) -> Result<ImportRecord, LineError> {
        let given_id = id(&mut fields).filter(|_| !self.new_ids);
        let role = role(&mut fields).or_else(|| self.role.clone());
        let mut account = ImportRecord {
            line,
            id: given_id,
            uuid: None,
            registration: Registration::default(),
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
        if self.is_flat() {
            person.profile.further = Some(Value::Object(without_dropped_fields(fields.take_rest())).to_string());
        } else {
            self.own_format_fields(&mut fields, &mut account);
            person.profile.further = fields.object("profile");
        }
        account.registration = person;
        match fields.deny_unknown_fields() {
            Ok(()) => Ok(account),
            Err(Refusal::InvalidFields(errors)) => Err(errors.as_slice().into()),
            Err(other) => Err(LineError::new(crate::cli::error::explain(&other.into()))),
        }
    }

    /// The fields that only doorward's own format has.
    fn own_format_fields(&self, fields: &mut Fields, account: &mut ImportRecord) {
        account.uuid = uuid(fields).filter(|_| !self.new_ids);
        account.password_hash = hash(fields, "passwordHash");
        account.pin_hash = hash(fields, "pinHash");
        account.privileges.permissions = permissions(fields);
        account.privileges.email_verified = fields.bool("emailVerified").unwrap_or(false);
        account.stats = fields.object("stats");
        account.status = status(fields);
        account.must_change_password = fields.bool("mustChangePassword").unwrap_or(false);
        account.created_at = time(fields, "createdAt");
        account.updated_at = time(fields, "updatedAt");
        account.last_sign_in_at = time(fields, "lastSignIn");
    }
}

/// The account's name in the report: only a valid identifier, because a password may stand in the wrong column.
fn label(person: &Registration) -> Option<String> {
    let of = |text: &Option<String>, rule: fn(&str) -> Result<Identifier, FieldRule>| rule(text.as_deref()?).ok();
    let first = of(&person.username, identifier::username).or_else(|| of(&person.email, identifier::email));
    first.or_else(|| of(&person.name, identifier::name)).map(|identifier| identifier.canonical)
}

/// The message of a JSON error. It comes from the parser of request bodies, so its words are adapted to a file.
fn parse_error(error: &WebError) -> LineError {
    match error {
        WebError::Request(RequestError::MalformedBody(message)) => {
            LineError::new(message.replace("the body", "it").replace("line 1 column", "column"))
        }
        WebError::Core(Error::Refusal(Refusal::InvalidFields(errors))) => errors.as_slice().into(),
        other => LineError::new(other.reason()),
    }
}

fn without_dropped_fields(mut further: Map<String, Value>) -> Map<String, Value> {
    further.retain(|field, _| !DROPPED_FIELDS.contains(&field.as_str()));
    further
}

fn id(fields: &mut Fields) -> Option<AccountId> {
    match fields.value("id")? {
        Value::Null => None,
        Value::Number(number) if number.is_i64() => number.as_i64().map(AccountId),
        _ => fields.add_error("id", FieldRule::Type("a whole number")),
    }
}

fn uuid(fields: &mut Fields) -> Option<AccountUuid> {
    let text = fields.text("uuid")?;
    text.parse::<Uuid>().map(AccountUuid).ok().or_else(|| fields.add_error("uuid", FieldRule::Type("a uuid")))
}

fn role(fields: &mut Fields) -> Option<String> {
    let text = fields.text("role").filter(|text| !text.is_empty())?;
    let rule = FieldRule::Type("up to 64 letters, digits, _ and -");
    values::role(&text).ok().or_else(|| fields.add_error("role", rule))
}

/// The status. After an error the value does not matter: the line is refused.
fn status(fields: &mut Fields) -> AccountStatus {
    let Some(text) = fields.text("status") else { return AccountStatus::Active };
    let rule = FieldRule::Type("active, inactive, locked or suspended");
    let parsed = text.to_ascii_lowercase().parse().ok().or_else(|| fields.add_error("status", rule));
    parsed.unwrap_or(AccountStatus::Inactive)
}

fn time(fields: &mut Fields, field: &str) -> Option<Timestamp> {
    let text = fields.text(field)?;
    Timestamp::parse_rfc3339(&text)
        .or_else(|| fields.add_error(field, FieldRule::Type("a time like 2026-11-21T09:34:00Z")))
}

fn permissions(fields: &mut Fields) -> Vec<String> {
    let rule = FieldRule::Type("a list of words without white space");
    let words = |list: Vec<Value>| list.iter().map(|word| permission(word.as_str()?).ok()).collect::<Option<Vec<_>>>();
    let parsed = match fields.value("permissions") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => words(list),
        Some(_) => None,
    };
    parsed.or_else(|| fields.add_error("permissions", rule)).unwrap_or_default()
}

/// A hash. Empty means none, and so does the prefix `!`, with which Unix and Django lock a password.
fn hash(fields: &mut Fields, field: &str) -> Option<Secret> {
    fields.text(field).filter(|text| !text.is_empty() && !text.starts_with('!')).map(Secret::new)
}
