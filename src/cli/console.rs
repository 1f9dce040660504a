//! What the command line prints and asks. The only place that writes to standard output and error by hand.

use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};

use crate::cli::error::CommandError;
use crate::secret::Secret;

/// A line for whoever typed the command, or the script that reads it; nobody may be reading any more.
pub fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// A line about what went wrong.
pub fn print_error(lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(stderr(), "doorward: {line}");
    }
}

/// Whether somebody watches standard error.
pub fn is_watched() -> bool {
    stderr().is_terminal()
}

/// Replaces the line that shows how far it is; an empty one takes it away.
pub fn progress(line: &str) {
    let _ = write!(stderr(), "\r\x1b[K{line}");
    let _ = stderr().flush();
}

/// Columns, as wide as their widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        print_line(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
}

/// A secret: from standard input when `from_stdin`, else asked for twice at a terminal. Never from an argument, where
/// every user of the machine can read it.
pub fn read_secret(what: &str, from_stdin: bool) -> Result<Secret, CommandError> {
    let broken = |why: std::io::Error| CommandError::Other(format!("the {what} cannot be read: {why}"));
    if from_stdin {
        let mut text = String::new();
        stdin().read_to_string(&mut text).map_err(broken)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        return Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)));
    }
    if !stdin().is_terminal() {
        return Err(CommandError::Other(format!("there is no terminal to ask for the {what}; use --{what}-stdin")));
    }
    let first = rpassword::prompt_password(format!("New {what}: ")).map_err(broken)?;
    let again = rpassword::prompt_password("Once more: ").map_err(broken)?;
    if first == again {
        Ok(Secret::new(first))
    } else {
        Err(CommandError::Other("the two differ; nothing was changed".into()))
    }
}
