//! A finding of `doorward doctor`, and its prefix in the output: `ok`, `warning` or `error`.

use crate::cli::console::print_line;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// No problem.
    Passed(String),
    /// Works, but may be unintended or unsafe.
    Warning(String),
    /// Does not work.
    Failed(String),
}

impl Finding {
    /// Prints the finding on one line.
    pub fn print_line(&self) {
        match self {
            Self::Passed(text) => print_line(&format!("ok       {text}")),
            Self::Warning(text) => print_line(&format!("warning  {text}")),
            Self::Failed(text) => print_line(&format!("error    {text}")),
        }
    }
}
