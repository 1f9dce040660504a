//! A line of an import file, as far as it could be read, and why one was refused.

use crate::core::account::import::ImportRecord;
use crate::core::error::{FieldError, FieldRule};
use crate::web::response::field_error::{message, wire_name};

/// A line that was read, fit or not, and what names its account.
pub struct Line {
    pub number: usize,
    pub label: Option<String>,
    pub read: Result<ImportRecord, String>,
}

/// Faults in words that follow each field's name.
pub fn told(faults: &[FieldError]) -> String {
    let says = |fault: &FieldError| match (wire_name(&fault.field), fault.rule) {
        (field, FieldRule::Unknown) => format!("{field} is not a field of an account"),
        ("body", rule) => format!("it {}", message(rule)),
        (field, rule) => format!("{field} {}", message(rule)),
    };
    faults.iter().map(says).collect::<Vec<_>>().join("; ")
}
