//! Console output and prompts of the commands. The only file that writes to standard output and standard error directly.

use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};

use crate::cli::error::CommandError;
use crate::secret::Secret;

/// Prints a line to standard output. Errors are ignored: the reader of a pipe may have gone.
pub fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Prints a text as it is to standard output.
pub fn print_text(text: &[u8]) {
    let _ = stdout().write_all(text);
}

/// Prints an error message to standard error, each line with the program's name.
pub fn print_error(lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(stderr(), "doorward: {line}");
    }
}

/// Whether standard error is a terminal, so that progress can be shown.
pub fn is_terminal() -> bool {
    stderr().is_terminal()
}

/// Replaces the progress line; an empty one removes it.
pub fn print_progress(line: &str) {
    let _ = write!(stderr(), "\r\x1b[K{line}");
    let _ = stderr().flush();
}

/// Prints a table whose columns are as wide as their widest cell.
pub fn print_table(head: &[&str], rows: &[Vec<String>]) {
    Table::new(head).print(rows);
}

/// A table that is printed page by page, so that its length takes no memory: a column is as wide as its widest cell so far.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    widths: Vec<usize>,
    has_head: bool,
}

impl Table {
    /// A table with this head, which is printed with the first page.
    pub fn new(head: &[&str]) -> Self {
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let widths = head.iter().map(String::len).collect();
        Self { head, widths, has_head: false }
    }

    /// Prints a page.
    pub fn print(&mut self, rows: &[Vec<String>]) {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}"));
            print_line(padded.collect::<Vec<_>>().join("  ").trim_end());
        };
        if !std::mem::replace(&mut self.has_head, true) {
            line(&self.head);
        }
        rows.iter().for_each(|row| line(row));
    }
}

/// Prompts for a line at a terminal, or reads one from standard input.
pub fn read_line(prompt: &str) -> Result<String, CommandError> {
    let _ = write!(stderr(), "{prompt}");
    let _ = stderr().flush();
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(|error| CommandError::Other(format!("no answer can be read: {error}")))?;
    Ok(line)
}

/// Reads a secret: from standard input with `from_stdin`, otherwise by two prompts at a terminal. Never from an argument,
/// which every user of the machine can read.
pub fn read_secret(name: &str, from_stdin: bool) -> Result<Secret, CommandError> {
    let unreadable = |error: std::io::Error| CommandError::Other(format!("the {name} cannot be read: {error}"));
    if from_stdin {
        let mut text = String::new();
        stdin().read_to_string(&mut text).map_err(unreadable)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        return Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)));
    }
    if !stdin().is_terminal() {
        return Err(CommandError::Other(format!("no terminal to prompt for the {name}; use --{name}-stdin")));
    }
    let first = rpassword::prompt_password(format!("New {name}: ")).map_err(unreadable)?;
    let repeated = rpassword::prompt_password("Repeat it: ").map_err(unreadable)?;
    if first == repeated {
        Ok(Secret::new(first))
    } else {
        Err(CommandError::Other("the two entries differ; nothing was changed".into()))
    }
}
