//! Environment file reader: `NAME=VALUE` lines of `.env` and of `--config FILE`. Values are taken as they are written: nothing is
//! expanded, since a `$` in a secret is a `$`. Which file is read, and what a name means, is decided in settings.rs.

use std::fmt;

/// A line that is no `NAME=VALUE`. Its text quotes no value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFileError {
    line: usize,
    variable: Option<String>,
    problem: LineProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum LineProblem {
    #[error("no `=` after the name; write one NAME=value per line")]
    NoValue,
    #[error("the name before `=` is not valid; use letters, digits and _, as in NAME=value")]
    Name,
    #[error(
        "the value begins with a quote that does not end; add the closing quote, or quote the whole value with the other kind"
    )]
    OpenQuote,
    #[error("there is text after the closing quote; quote the whole value, or write \\\" for a quote within it")]
    AfterQuote,
}

impl fmt::Display for EnvFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(variable) = &self.variable {
            write!(f, ", {variable}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for EnvFileError {}

/// The variables of a file in their order, and an error for each line that is none.
///
/// - Blank lines, and lines that begin with `#`, are skipped; `export ` before a name is too.
/// - An unquoted value ends at the end of its line, or before a blank and `#`. It may contain blanks, quotes, `$` and `<>`.
/// - A value in `'…'` is literal; in `"…"` `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are escapes. Both may go over several lines.
pub fn parse(text: &str) -> (Vec<(String, String)>, Vec<EnvFileError>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let (mut variables, mut errors) = (Vec::new(), Vec::new());
    let (mut rest, mut line) = (text.as_str(), 1);
    while !rest.is_empty() {
        let (statement, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = statement.trim();
        let mut next = after;
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            match variable(statement, rest) {
                Ok((name, value, end)) => {
                    variables.push((name, value));
                    next = end;
                }
                Err((variable, problem)) => errors.push(EnvFileError { line, variable, problem }),
            }
        }
        line += rest.len().checked_sub(next.len()).map_or(0, |read| rest[..read].matches('\n').count());
        rest = next;
    }
    (variables, errors)
}

type Statement<'a> = (String, String, &'a str);

/// The variable at the beginning of `rest`, whose first line is `statement`, and the text after its last line.
fn variable<'a>(statement: &str, rest: &'a str) -> Result<Statement<'a>, (Option<String>, LineProblem)> {
    let indented = statement.len() - statement.trim_start().len();
    let exported = statement.trim_start().strip_prefix("export ").map_or(0, |_| "export ".len());
    let begin = indented + exported;
    let Some(equals) = statement[begin..].find('=').map(|at| begin + at) else {
        // Without `=` nothing tells a name from a value.
        return Err((None, LineProblem::NoValue));
    };
    let name = statement[begin..equals].trim();
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err((None, LineProblem::Name));
    }
    let value = rest[equals + 1..].trim_start_matches([' ', '\t']);
    let read = match value.chars().next() {
        Some('\'') => quoted(&value[1..], '\''),
        Some('"') => quoted(&value[1..], '"'),
        _ => {
            let (text, after) = value.split_once('\n').unwrap_or((value, ""));
            Ok((unquoted(text).to_owned(), after))
        }
    };
    read.map(|(value, after)| (name.to_owned(), value, after)).map_err(|problem| (Some(name.to_owned()), problem))
}

/// Without the comment at its end: a `#` within a value has no blank before it.
fn unquoted(text: &str) -> &str {
    if text.starts_with('#') {
        return "";
    }
    let comment = [" #", "\t#"].iter().filter_map(|start| text.find(start)).min();
    comment.map_or(text, |at| &text[..at]).trim()
}

/// The value up to its closing quote, and the text after its last line.
fn quoted(text: &str, quote: char) -> Result<(String, &str), LineProblem> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            _ if char == quote => {
                let (end, after) = text[at + 1..].split_once('\n').unwrap_or((&text[at + 1..], ""));
                let end = end.trim();
                return if end.is_empty() || end.starts_with('#') {
                    Ok((value, after))
                } else {
                    Err(LineProblem::AfterQuote)
                };
            }
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped @ ('"' | '\\' | '$'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => return Err(LineProblem::OpenQuote),
            },
            other => value.push(other),
        }
    }
    Err(LineProblem::OpenQuote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> String {
        let (variables, errors) = parse(line);
        assert!(errors.is_empty(), "{line}: {errors:?}");
        assert_eq!(variables.len(), 1, "{line}");
        variables[0].1.clone()
    }

    #[test]
    fn an_unquoted_value_is_literal() {
        for (line, expected) in [
            ("A=abc$HOME$def0123", "abc$HOME$def0123"),
            ("A=${HOME}/x", "${HOME}/x"),
            ("MAIL_FROM=Example <a@b.example>", "Example <a@b.example>"),
            ("TRUSTED_PROXIES=127.0.0.1, 10.0.0.0/8", "127.0.0.1, 10.0.0.0/8"),
            ("A=it's \"so\" \\n", "it's \"so\" \\n"),
            ("A=a#b", "a#b"),
            ("A=a #b", "a"),
            ("A=#b", ""),
            ("A= # nothing", ""),
            ("  export A = a=b== ", "a=b=="),
            ("A=", ""),
            ("\u{feff}A=a\r\n", "a"),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
    }

    #[test]
    fn quotes_keep_blanks_hashes_and_line_breaks() {
        for (line, expected) in [
            ("A='a $b # \\n \"c\"'", "a $b # \\n \"c\""),
            ("A=\" a # \\\"b\\\" \\$c \\\\ \\n \" # comment", " a # \"b\" $c \\ \n "),
            ("A=\"one\ntwo\"\n", "one\ntwo"),
            ("A='one\n\ntwo'\n# end", "one\n\ntwo"),
            ("A=''", ""),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
    }

    #[test]
    fn an_error_names_line_and_variable_and_no_value() {
        let text = "A=1\n\nhunter2\nhunter2 x=1\nB='hunter2\nC=2\nD=\"two\nlines\"\nE=\"hunter2\" x\nF=3";
        let (variables, errors) = parse(text);
        let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["A", "C", "D", "F"]);
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let places: Vec<&str> = messages.iter().map(|error| error.split(':').next().unwrap()).collect();
        assert_eq!(places, ["line 3", "line 4", "line 5, B", "line 9, E"]);
        assert!(!messages.concat().contains("hunter2"), "{messages:?}");
    }

    #[test]
    fn no_text_is_too_strange() {
        let pieces = ["A", "=", "'", "\"", "\\", "\n", "\r\n", "#", " ", "export ", "é", "\u{feff}", "\0"];
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
            }
            parse(&text);
        }
    }
}
