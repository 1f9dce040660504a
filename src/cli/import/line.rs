//! A line of an import file as it is read, and as it is parsed; and the messages for lines with errors.

use std::fmt;

use crate::core::account::import::ImportRecord;
use crate::core::error::{FieldError, FieldRule};
use crate::web::response::field_error::{message, wire_name};

/// The maximum length of a line: four times the maximum request body. It bounds the memory that a file can use.
pub const LINE_MAX_BYTES: u64 = 64 * 1024;

/// The bytes of one account.
pub struct Record {
    /// The number of its first line, from 1.
    pub line: usize,
    /// The JSON text; `None` when the line is too long.
    pub bytes: Option<Vec<u8>>,
}

/// A line of the file, valid or not.
pub struct ImportLine {
    /// The line number, from 1.
    pub number: usize,
    /// An identifier of its account, for the report.
    pub label: Option<String>,
    /// The account, or why the line is refused.
    pub result: Result<ImportRecord, LineError>,
}

/// Why a line is refused: the message of the report, without secrets and hashes.
#[derive(Debug, Clone)]
pub struct LineError(String);

impl LineError {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<&[FieldError]> for LineError {
    fn from(errors: &[FieldError]) -> Self {
        Self(describe_errors(errors))
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The message of field errors: each field's name and its error.
fn describe_errors(errors: &[FieldError]) -> String {
    let describe = |error: &FieldError| match (wire_name(&error.field), error.rule) {
        (field, FieldRule::Unknown) => format!("{field} is not a field of an account"),
        ("body", rule) => format!("it {}", message(rule)),
        (field, rule) => format!("{field} {}", message(rule)),
    };
    errors.iter().map(describe).collect::<Vec<_>>().join("; ")
}
