//! A finding of the doctor, and how it is printed.

use crate::cli::console::say;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It works.
    Fine(String),
    /// It works, but somebody will be surprised.
    Odd(String),
    /// It does not work.
    Wrong(String),
}

impl Finding {
    /// Prints it, a line.
    pub fn say(&self) {
        match self {
            Self::Fine(text) => say(&format!("ok    {text}")),
            Self::Odd(text) => say(&format!("odd   {text}")),
            Self::Wrong(text) => say(&format!("WRONG {text}")),
        }
    }
}
