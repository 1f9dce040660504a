//! Field errors as text: a field's name on the wire and an English sentence for the rule that its value breaks. Dialects
//! whose contract has other texts write their own; the pages' texts are in their catalogs.

use crate::core::error::{Field, FieldError, FieldRule};

/// The field's name in native's format, which the import format shares.
pub fn wire_name(field: &Field) -> &str {
    match field {
        Field::Id => "id",
        Field::Email => "email",
        Field::Username => "username",
        Field::Name => "name",
        Field::Password => "password",
        Field::NewPassword => "newPassword",
        Field::Pin => "pin",
        Field::FirstName => "firstName",
        Field::LastName => "lastName",
        Field::Gender => "gender",
        Field::Image => "image",
        Field::Phone => "phone",
        Field::PasswordHash => "passwordHash",
        Field::PinHash => "pinHash",
        Field::MustChangePassword => "mustChangePassword",
        Field::CreatedAt => "createdAt",
        Field::UpdatedAt => "updatedAt",
        Field::LastSignIn => "lastSignIn",
        Field::Named(name) => name,
    }
}

/// The stable name of the rule, by which a client chooses a text of its own.
pub const fn code(rule: FieldRule) -> &'static str {
    match rule {
        FieldRule::Missing => "required",
        FieldRule::OneOf(_) => "one_required",
        FieldRule::Type(_) => "wrong_type",
        FieldRule::TooShort(_) => "too_short",
        FieldRule::TooLong(_) => "too_long",
        FieldRule::ControlCharacter => "control_character",
        FieldRule::NotAnEmail => "not_an_email",
        FieldRule::NotAName => "not_a_name",
        FieldRule::Reserved => "reserved",
        FieldRule::NotAUrl => "not_a_url",
        FieldRule::NotAPin => "not_a_pin",
        FieldRule::TooCommon => "too_common",
        FieldRule::LikeIdentifier => "like_identifier",
        FieldRule::NoPassword => "no_password",
        FieldRule::WithoutPassword => "without_password",
        FieldRule::BesidePlainSecret => "beside_plain_secret",
        FieldRule::IdOutOfRange(_) => "id_out_of_range",
        FieldRule::TimeOutOfRange => "time_out_of_range",
        FieldRule::UnknownHashFormat => "unknown_hash_format",
        FieldRule::HashTooExpensive => "hash_too_expensive",
        FieldRule::Unknown => "unknown_field",
    }
}

/// The number that a rule about a length names, in characters.
pub const fn limit(rule: FieldRule) -> Option<usize> {
    match rule {
        FieldRule::TooShort(limit) | FieldRule::TooLong(limit) => Some(limit),
        _ => None,
    }
}

/// The rule as words that follow the field's name.
pub fn message(rule: FieldRule) -> String {
    let text = match rule {
        FieldRule::OneOf(fields) => return format!("is missing; one of {fields} is required"),
        FieldRule::Type(expected) => return format!("must be {expected}"),
        FieldRule::TooShort(1) => "must not be empty",
        FieldRule::TooShort(min) => return format!("must have at least {min} characters"),
        FieldRule::TooLong(max) => return format!("must have at most {max} characters"),
        FieldRule::IdOutOfRange(max) => return format!("must be a number from 1 to {max}"),
        FieldRule::Missing => "is required",
        FieldRule::ControlCharacter => "must be text without control characters",
        FieldRule::NotAnEmail => "must be an email address",
        FieldRule::NotAName => "may hold letters of one script, digits and . _ - only",
        FieldRule::Reserved => "is reserved; choose another",
        FieldRule::NotAUrl => "must be an http or https URL",
        FieldRule::NotAPin => "must be 4 to 12 digits",
        FieldRule::TooCommon => "is on the list of common passwords; choose another",
        FieldRule::LikeIdentifier => "must not be like the name it protects",
        FieldRule::NoPassword => "must be set before its change can be required; this account has none",
        FieldRule::WithoutPassword => "must be omitted if there is no password",
        FieldRule::BesidePlainSecret => "must be omitted if the plain secret is given",
        FieldRule::TimeOutOfRange => "must be a time between 1970 and now",
        FieldRule::UnknownHashFormat => "must be a password hash of a scheme that docs/import.md lists",
        FieldRule::HashTooExpensive => {
            "must be a hash that one sign-in can check: argon2 and scrypt with 256 MiB and 1 GiB over all passes at most, \
             PBKDF2 with 5,000,000 rounds, bcrypt with cost 16"
        }
        FieldRule::Unknown => "is not a field of this request",
    };
    text.to_owned()
}

/// The rule as "FIELD message".
pub fn sentence(error: &FieldError) -> String {
    format!("{} {}", wire_name(&error.field), message(error.rule))
}
