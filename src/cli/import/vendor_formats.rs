//! Export formats of other systems: translates one account of each into the fields of doorward's own format, whose rules then
//! apply. Sources: each vendor's documentation of its export. Unknown fields are left out, since every export has dozens; what
//! decides who may sign in is read or refused.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::line::LineError;
use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;

/// The format of an import file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// One JSON object per line, with the fields of GET /auth/me, and passwordHash or password, pinHash or pin.
    Lines,
    /// The JSON user list of the system whose API the `flat` mount speaks, with plain passwords.
    Flat,
    /// Keycloak: a realm's export, or its list of users.
    Keycloak,
    /// Auth0: the export with password hashes, one JSON object per line.
    Auth0,
    /// Firebase: `firebase auth:export users.json`; needs --hash-secret-file.
    Firebase,
    /// Supabase: the table auth.users, as CSV or JSON.
    Supabase,
    /// Django: `manage.py dumpdata auth.user`.
    Django,
    /// Devise (Rails): the table of users, as CSV or JSON; needs --hash-secret-file or --no-pepper.
    Devise,
    /// better-auth: its users with their passwords, as CSV or JSON.
    BetterAuth,
    /// Apache and nginx: a password file of htpasswd.
    Htpasswd,
    /// Ambrosia (a point of sale): its users with PIN hash and salt, as CSV or JSON.
    Ambrosia,
}

/// What the hashes of a file need beside it.
#[derive(Debug, Clone, Default)]
pub struct HashSecret(pub Option<Secret>);

type Row = Map<String, Value>;

/// An account in doorward's own format.
pub fn translate(format: ImportFormat, row: &Row, secret: &HashSecret) -> Result<Row, LineError> {
    let mut account = match format {
        ImportFormat::Lines | ImportFormat::Flat | ImportFormat::Htpasswd => return Ok(row.clone()),
        ImportFormat::Keycloak => keycloak(row)?,
        ImportFormat::Auth0 => auth0(row)?,
        ImportFormat::Firebase => firebase(row, secret)?,
        ImportFormat::Supabase => supabase(row)?,
        ImportFormat::Django => django(row)?,
        ImportFormat::Devise => devise(row, secret),
        ImportFormat::BetterAuth => better_auth(row),
        ImportFormat::Ambrosia => ambrosia(row, secret)?,
    };
    account.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    Ok(account)
}

fn object(value: Value) -> Row {
    match value {
        Value::Object(object) => object,
        _ => Row::new(),
    }
}

/// The text at a JSON pointer (RFC 6901).
fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned)
}

/// A text that is not empty; a number as text.
fn text(row: &Row, field: &str) -> Option<String> {
    match row.get(field)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A boolean, as JSON or as databases print it.
fn flag(row: &Row, field: &str) -> bool {
    match row.get(field) {
        Some(Value::Bool(on)) => *on,
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        Some(Value::String(text)) => matches!(text.to_ascii_lowercase().as_str(), "t" | "true" | "1" | "yes"),
        _ => false,
    }
}

/// A time as RFC 3339: milliseconds since 1970, or a text with or without a zone, which is UTC then.
fn time(row: &Row, field: &str) -> Option<String> {
    let text = text(row, field)?;
    if let Ok(millis) = text.parse::<i64>() {
        return Some(Timestamp::from_millis(millis).rfc3339());
    }
    let text = text.replacen(' ', "T", 1).replace(" UTC", "Z").replace(' ', "");
    let has_short_zone =
        text.len() > 19 && text.get(text.len() - 3..text.len() - 2).is_some_and(|sign| "+-".contains(sign));
    let candidates =
        [text.clone(), format!("{text}Z"), if has_short_zone { format!("{text}:00") } else { text.clone() }];
    candidates.into_iter().find(|candidate| Timestamp::parse_rfc3339(candidate).is_some()).or(Some(text))
}

/// A username, unless it is an email: many systems have the email in both places.
fn username(row: &Row, field: &str) -> Option<String> {
    text(row, field).filter(|text| !text.contains('@'))
}

/// First and last name of a display name: doorward's `name` identifies an account, and display names are not unique.
fn full_name(name: Option<String>) -> (Option<String>, Option<String>) {
    let Some(name) = name else { return (None, None) };
    match name.trim().rsplit_once(' ') {
        Some((first, last)) => (Some(first.trim().to_owned()), Some(last.to_owned())),
        None => (Some(name.trim().to_owned()), None),
    }
}

/// A web address, or nothing: exports have data URLs and paths in its place.
fn image(row: &Row, field: &str) -> Option<String> {
    text(row, field).filter(|url| url.starts_with("https://") || url.starts_with("http://"))
}

/// The id in the other system, where it is no number and no UUID.
fn imported_id(id: Option<String>) -> Option<Value> {
    id.map(|id| json!({ "importedId": id }))
}

fn keycloak(row: &Row) -> Result<Row, LineError> {
    let is_password = |credential: &&Value| text_at(credential, "/type").as_deref() == Some("password");
    let credential = row.get("credentials").and_then(Value::as_array).and_then(|list| list.iter().find(is_password));
    let must_change = row.get("requiredActions").and_then(Value::as_array);
    let must_change = must_change.is_some_and(|actions| actions.iter().any(|action| action == "UPDATE_PASSWORD"));
    let hash = credential.map(keycloak_hash).transpose()?;
    Ok(object(json!({
        "uuid": text(row, "id").filter(|id| uuid::Uuid::try_parse(id).is_ok()),
        "email": text(row, "email"),
        "emailVerified": flag(row, "emailVerified"),
        "username": username(row, "username"),
        "firstName": text(row, "firstName"),
        "lastName": text(row, "lastName"),
        "status": if row.get("enabled") == Some(&Value::Bool(false)) { "inactive" } else { "active" },
        "mustChangePassword": must_change && hash.is_some(),
        "createdAt": time(row, "createdTimestamp"),
        "passwordHash": hash,
    })))
}

/// The credential's two texts of JSON: the hash with its salt, and the algorithm with its parameters.
fn keycloak_hash(credential: &Value) -> Result<String, LineError> {
    let inner = |field: &str| serde_json::from_str::<Value>(&text_at(credential, &format!("/{field}"))?).ok();
    let unknown = || LineError::new("its credential has an algorithm other than argon2 and pbkdf2");
    let (Some(secret), Some(data)) = (inner("secretData"), inner("credentialData")) else {
        return Err(LineError::new("its credential has no secretData or no credentialData; export with credentials"));
    };
    let unpadded =
        |field: &str| text_at(&secret, &format!("/{field}")).map(|text| text.trim_end_matches('=').to_owned());
    let (Some(salt), Some(hash)) = (unpadded("salt"), unpadded("value")) else {
        return Err(LineError::new("its credential has no salt or no value"));
    };
    let rounds = data.pointer("/hashIterations").and_then(Value::as_i64).unwrap_or_default();
    let algorithm = text_at(&data, "/algorithm").unwrap_or_default();
    match algorithm.as_str() {
        "pbkdf2" | "pbkdf2-sha256" | "pbkdf2-sha512" => Ok(format!("${algorithm}${rounds}${salt}${hash}")),
        "argon2" => {
            let parameter = |name: &str| text_at(&data, &format!("/additionalParameters/{name}/0"));
            let (Some(memory), Some(lanes)) = (parameter("memory"), parameter("parallelism")) else {
                return Err(LineError::new("its argon2 credential has no memory or no parallelism"));
            };
            let kind = parameter("type").unwrap_or_else(|| "id".to_owned());
            let version = if parameter("version").as_deref() == Some("1.0") { 16 } else { 19 };
            Ok(format!("$argon2{kind}$v={version}$m={memory},t={rounds},p={lanes}${salt}${hash}"))
        }
        _ => Err(unknown()),
    }
}

fn auth0(row: &Row) -> Result<Row, LineError> {
    let custom = &row.get("custom_password_hash").cloned().unwrap_or_default();
    let hash = text(row, "passwordHash").or_else(|| text(row, "password_hash"));
    let hash = match (hash, text_at(custom, "/algorithm").as_deref()) {
        (Some(hash), _) => Some(hash),
        (None, Some("bcrypt" | "argon2" | "pbkdf2")) => text_at(custom, "/hash/value"),
        (None, Some(_)) => return Err(LineError::new("its custom_password_hash is neither bcrypt, argon2 nor pbkdf2")),
        (None, None) => None,
    };
    let id = row.get("_id").and_then(|id| text_at(id, "/$oid")).or_else(|| text(row, "user_id"));
    let (first, last) = full_name(text(row, "name").filter(|name| !name.contains('@')));
    Ok(object(json!({
        "email": text(row, "email"),
        "emailVerified": flag(row, "email_verified"),
        "username": username(row, "username"),
        "firstName": text(row, "given_name").or(first),
        "lastName": text(row, "family_name").or(last),
        "image": image(row, "picture"),
        "status": if flag(row, "blocked") { "suspended" } else { "active" },
        "createdAt": time(row, "created_at"),
        "lastSignIn": time(row, "last_login"),
        "passwordHash": hash,
        "profile": imported_id(id),
    })))
}

/// The secret is the hash_config of the project, as the console shows it: base64_signer_key, base64_salt_separator, rounds,
/// mem_cost.
fn firebase(row: &Row, secret: &HashSecret) -> Result<Row, LineError> {
    let hash = match (text(row, "passwordHash"), text(row, "salt")) {
        (Some(hash), Some(salt)) => {
            let config = secret.0.as_ref().map(Secret::expose).unwrap_or_default();
            let parameter = |name: &str| {
                let (_, rest) = config.split_once(name)?;
                let value = rest.trim_start_matches([':', '=', '"', ' ']);
                value.split([',', '"', '\n', '\r', '}', ' ']).next().filter(|value| !value.is_empty())
            };
            let names = ["rounds", "mem_cost", "base64_signer_key", "base64_salt_separator"];
            let [Some(rounds), Some(memory), Some(key), Some(separator)] = names.map(parameter) else {
                let needs = "--hash-secret-file must name a file with the project's hash_config";
                return Err(LineError::new(format!("{needs}: {}", names.join(", "))));
            };
            Some(format!("firebase-scrypt${rounds}${memory}${key}${separator}${salt}${hash}"))
        }
        _ => None,
    };
    let (first, last) = full_name(text(row, "displayName"));
    Ok(object(json!({
        "email": text(row, "email"),
        "emailVerified": flag(row, "emailVerified"),
        // An account of a telephone number or of another provider has no email.
        "username": if text(row, "email").is_none() { text(row, "localId") } else { None },
        "firstName": first,
        "lastName": last,
        "image": image(row, "photoUrl"),
        "phone": text(row, "phoneNumber"),
        "status": if flag(row, "disabled") { "inactive" } else { "active" },
        "createdAt": time(row, "createdAt"),
        "lastSignIn": time(row, "lastSignedInAt"),
        "passwordHash": hash,
        "profile": imported_id(text(row, "localId")),
    })))
}

fn supabase(row: &Row) -> Result<Row, LineError> {
    if text(row, "deleted_at").is_some() {
        return Err(LineError::new("it is deleted (deleted_at)"));
    }
    let metadata = match row.get("raw_user_meta_data") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        other => other.cloned().unwrap_or_default(),
    };
    let of_metadata = |names: [&str; 2]| names.into_iter().find_map(|name| text_at(&metadata, &format!("/{name}")));
    let (first, last) = full_name(of_metadata(["full_name", "name"]));
    let banned_until = time(row, "banned_until").map(|until| Timestamp::parse_rfc3339(&until));
    // What is no time is `infinity`.
    let is_banned = banned_until.is_some_and(|until| until.is_none_or(|until| until > Clock::system().now()));
    let email = text(row, "email");
    Ok(object(json!({
        "uuid": text(row, "id"),
        "username": if email.is_none() { text(row, "id") } else { None },
        "emailVerified": text(row, "email_confirmed_at").or_else(|| text(row, "confirmed_at")).is_some(),
        "email": email,
        "firstName": first,
        "lastName": last,
        "image": of_metadata(["avatar_url", "picture"]).filter(|url| url.starts_with("https://")),
        "phone": text(row, "phone"),
        "status": if is_banned { "suspended" } else { "active" },
        "createdAt": time(row, "created_at"),
        "updatedAt": time(row, "updated_at"),
        "lastSignIn": time(row, "last_sign_in_at"),
        "passwordHash": text(row, "encrypted_password"),
    })))
}

fn django(row: &Row) -> Result<Row, LineError> {
    let Some(fields) = row.get("fields").and_then(Value::as_object) else {
        return Err(LineError::new("it has no fields; export with manage.py dumpdata auth.user"));
    };
    if !fields.contains_key("password") {
        let model = text(row, "model").unwrap_or_default();
        return Err(LineError::new(format!(
            "it is no user but of the model {model:?}; export with manage.py dumpdata auth.user"
        )));
    }
    let is_active = fields.get("is_active").is_none() || flag(fields, "is_active");
    Ok(object(json!({
        "id": row.get("pk").filter(|pk| pk.is_i64()),
        "username": username(fields, "username"),
        "email": text(fields, "email").or_else(|| text(fields, "username").filter(|name| name.contains('@'))),
        "firstName": text(fields, "first_name"),
        "lastName": text(fields, "last_name"),
        "role": if flag(fields, "is_superuser") { Some("ADMIN") } else { None },
        "status": if is_active { "active" } else { "inactive" },
        "createdAt": time(fields, "date_joined"),
        "lastSignIn": time(fields, "last_login"),
        // A password that Django has made unusable begins with an exclamation mark, and counts as none.
        "passwordHash": text(fields, "password"),
    })))
}

fn devise(row: &Row, secret: &HashSecret) -> Row {
    let hash = text(row, "encrypted_password").map(|hash| match &secret.0 {
        Some(pepper) => format!("bcrypt-suffixed${}${hash}", STANDARD_NO_PAD.encode(pepper.expose())),
        None => hash,
    });
    let id = text(row, "id");
    let (number, uuid) =
        (id.as_ref().and_then(|id| id.parse::<i64>().ok()), id.filter(|id| uuid::Uuid::try_parse(id).is_ok()));
    let (first, last) = full_name(text(row, "name"));
    object(json!({
        "id": number,
        "uuid": uuid,
        "email": text(row, "email"),
        // A model that confirms nothing has no such column.
        "emailVerified": text(row, "confirmed_at").is_some(),
        "username": username(row, "username"),
        "firstName": text(row, "first_name").or(first),
        "lastName": text(row, "last_name").or(last),
        "role": text(row, "role").filter(|role| crate::settings::values::role(role).is_ok()),
        "status": if text(row, "locked_at").is_some() { "locked" } else { "active" },
        "createdAt": time(row, "created_at"),
        "updatedAt": time(row, "updated_at"),
        "lastSignIn": time(row, "current_sign_in_at").or_else(|| time(row, "last_sign_in_at")),
        "passwordHash": hash,
    }))
}

fn better_auth(row: &Row) -> Row {
    let (first, last) = full_name(text(row, "name"));
    let id = text(row, "id");
    let uuid = id.clone().filter(|id| uuid::Uuid::try_parse(id).is_ok());
    object(json!({
        "uuid": uuid,
        "email": text(row, "email"),
        "emailVerified": flag(row, "emailVerified") || flag(row, "email_verified"),
        "username": username(row, "username"),
        "firstName": first,
        "lastName": last,
        "image": image(row, "image"),
        "status": if flag(row, "banned") { "suspended" } else { "active" },
        "createdAt": time(row, "createdAt").or_else(|| time(row, "created_at")),
        "updatedAt": time(row, "updatedAt").or_else(|| time(row, "updated_at")),
        "passwordHash": text(row, "password"),
        "profile": if uuid.is_none() { imported_id(id) } else { None },
    }))
}

/// The hash is PBKDF2 with SHA-256 and 10,000 rounds; the salt is the app's secret and the user's id, one behind the other.
fn ambrosia(row: &Row, secret: &HashSecret) -> Result<Row, LineError> {
    let salt = match (text(row, "salt"), &secret.0, text(row, "id")) {
        (Some(salt), ..) => Some(salt),
        (None, Some(secret), Some(id)) => Some(format!("{}{id}", secret.expose())),
        _ => None,
    };
    let hash = match (text(row, "pin"), salt) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(LineError::new(
                "it has no salt; add the field, or its id and --hash-secret-file with the app's secret",
            ));
        }
        (Some(pin), Some(salt)) => {
            let hash = STANDARD.decode(&pin).map_err(|_not_base64| LineError::new("its pin is no hash in base64"))?;
            Some(format!("$pbkdf2-sha256$10000${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash)))
        }
    };
    if flag(row, "is_deleted") {
        return Err(LineError::new("it is deleted (is_deleted)"));
    }
    Ok(object(json!({
        "uuid": text(row, "id").filter(|id| uuid::Uuid::try_parse(id).is_ok()),
        "name": text(row, "name"),
        "email": text(row, "email"),
        "phone": text(row, "phone"),
        "role": text(row, "role").filter(|role| crate::settings::values::role(role).is_ok()),
        "pinHash": hash,
    })))
}
