//! A parsed line of an import file, and the messages for lines with errors.

use crate::core::account::import::ImportRecord;
use crate::core::error::{FieldError, FieldRule};
use crate::web::response::field_error::{message, wire_name};

/// A line of the file, valid or not.
pub struct ImportLine {
    /// The line number, from 1.
    pub number: usize,
    /// An identifier of its account, for the report.
    pub label: Option<String>,
    /// The account, or why the line is refused.
    pub result: Result<ImportRecord, String>,
}

/// The message of field errors: each field's name and its error.
pub fn describe_errors(errors: &[FieldError]) -> String {
    let describe = |error: &FieldError| match (wire_name(&error.field), error.rule) {
        (field, FieldRule::Unknown) => format!("{field} is not a field of an account"),
        ("body", rule) => format!("it {}", message(rule)),
        (field, rule) => format!("{field} {}", message(rule)),
    };
    errors.iter().map(describe).collect::<Vec<_>>().join("; ")
}
