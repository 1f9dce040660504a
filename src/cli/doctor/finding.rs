//! A finding of the doctor, and how it is printed.

use crate::cli::console::print_line;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It works.
    Passed(String),
    /// It works, but somebody will be surprised.
    Warning(String),
    /// It does not work.
    Failed(String),
}

impl Finding {
    /// Prints it, a line.
    pub fn print_line(&self) {
        match self {
            Self::Passed(text) => print_line(&format!("ok    {text}")),
            Self::Warning(text) => print_line(&format!("odd   {text}")),
            Self::Failed(text) => print_line(&format!("WRONG {text}")),
        }
    }
}
