//! Console output and prompts of the commands. The only file that writes to standard output and standard error directly.

use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};

use crate::cli::error::CommandError;
use crate::secret::Secret;

/// Prints a line to standard output. Errors are ignored: the reader of a pipe may have gone.
pub fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
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
