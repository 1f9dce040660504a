//! Reader of import files: splits a file into records, one per account, with their line numbers. Fields are parsed in
//! fields.rs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::error::CommandError;

/// The maximum length of a line: four times the maximum request body. It bounds the memory that a file can use.
const LINE_MAX_BYTES: u64 = 64 * 1024;

/// The bytes of one account.
pub struct Record {
    /// The number of its first line, from 1.
    pub line: usize,
    /// The JSON text; `None` when the line is too long.
    pub bytes: Option<Vec<u8>>,
}

/// Reads the records of a file: line by line, or from a JSON list, which is parsed as a whole.
pub enum RecordReader {
    Lines { name: String, reader: Box<dyn BufRead>, line: usize },
    List(std::vec::IntoIter<Record>),
}

impl RecordReader {
    /// Opens a file; `-` is standard input.
    pub fn open(name: &str, list: bool) -> Result<Self, CommandError> {
        let reader: Box<dyn BufRead> = if name == "-" {
            Box::new(stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(name).map_err(|error| unreadable(name, &error))?))
        };
        if list { read_list(name, reader) } else { Ok(Self::Lines { name: name.to_owned(), reader, line: 0 }) }
    }

    /// The next `count` records; fewer at the end of the file.
    pub fn take(&mut self, count: usize) -> Result<Vec<Record>, CommandError> {
        match self {
            Self::List(records) => Ok(records.take(count).collect()),
            Self::Lines { name, reader, line } => {
                let records = std::iter::from_fn(|| next_line(reader, line).transpose());
                records.take(count).collect::<Result<_, _>>().map_err(|error| unreadable(name, &error))
            }
        }
    }
}

fn unreadable(name: &str, error: &io::Error) -> CommandError {
    CommandError::Other(format!("{name} cannot be read: {error}"))
}

/// The next line that is not empty.
fn next_line(reader: &mut impl BufRead, line: &mut usize) -> io::Result<Option<Record>> {
    loop {
        let mut bytes = Vec::new();
        if reader.take(LINE_MAX_BYTES).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        *line += 1;
        if !bytes.ends_with(b"\n") && skip_rest(reader)? {
            return Ok(Some(Record { line: *line, bytes: None }));
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii();
        if !text.is_empty() {
            return Ok(Some(Record { line: *line, bytes: Some(text.to_vec()) }));
        }
    }
}

/// Skips the rest of an overlong line; whether there was any.
fn skip_rest(reader: &mut impl BufRead) -> io::Result<bool> {
    let mut skipped = false;
    loop {
        let mut bytes = Vec::new();
        if reader.take(LINE_MAX_BYTES).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(skipped);
        }
        skipped = true;
        if bytes.ends_with(b"\n") {
            return Ok(skipped);
        }
    }
}

/// The response of the other system's user list.
#[derive(Deserialize)]
struct UserList<'a> {
    #[serde(borrow)]
    users: Vec<&'a RawValue>,
}

/// Reads a list of users: bare, or as the member `users` of an object.
fn read_list(name: &str, mut reader: impl Read) -> Result<RecordReader, CommandError> {
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(|error| unreadable(name, &error))?;
    let text = text.trim_start_matches('\u{feff}');
    let is_bare = text.trim_start().starts_with('[');
    let users =
        if is_bare { serde_json::from_str(text) } else { serde_json::from_str(text).map(|UserList { users }| users) };
    let users: Vec<&RawValue> = users.map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        CommandError::Other(format!("{name} is not a JSON list of users ({place})"))
    })?;
    let (mut records, mut line, mut counted) = (Vec::new(), 1, 0);
    for user in users {
        // Each user borrows from the text, so its address gives its position, and by it its line.
        let position = user.get().as_ptr().addr() - text.as_ptr().addr();
        line += text.get(counted..position).unwrap_or_default().matches('\n').count();
        counted = position;
        records.push(Record { line, bytes: Some(user.get().as_bytes().to_vec()) });
    }
    Ok(RecordReader::List(records.into_iter()))
}
