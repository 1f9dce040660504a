//! A line of an import file, as far as it could be read, and why one was refused.

use crate::core::account::import::Newcomer;
use crate::core::error::{FieldFault, FieldRule};

/// A line that was read, fit or not, and what names its account.
pub struct Line {
    pub number: usize,
    pub label: Option<String>,
    pub read: Result<Newcomer, String>,
}

/// Faults in words that follow each field's name.
pub fn told(faults: &[FieldFault]) -> String {
    let says = |fault: &FieldFault| match (fault.field.as_str(), fault.rule) {
        (field, FieldRule::Unknown) => format!("{field} is not a field of an account"),
        ("body", rule) => format!("it {}", rule.says()),
        (field, rule) => format!("{field} {}", rule.says()),
    };
    faults.iter().map(says).collect::<Vec<_>>().join("; ")
}
