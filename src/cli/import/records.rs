//! Takes a file of accounts apart: which octets are one account, and on which line they begin. What they say is
//! fields.rs's.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::error::CommandError;

/// The longest line that is read: four times the largest request body.
const LINE_MAX: u64 = 64 * 1024;

/// One account as it stands in the file.
pub struct Record {
    /// Its first line, from 1.
    pub line: usize,
    /// What stands there; `None` when it is too long.
    pub bytes: Option<Vec<u8>>,
}

/// The accounts of a file, one by one.
pub enum Records {
    Lines { name: String, reader: Box<dyn BufRead>, line: usize },
    List(std::vec::IntoIter<Record>),
}

impl Records {
    pub fn open(name: &str, list: bool) -> Result<Self, CommandError> {
        let reader: Box<dyn BufRead> = if name == "-" {
            Box::new(stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(name).map_err(|why| unreadable(name, &why))?))
        };
        if list { read_list(name, reader) } else { Ok(Self::Lines { name: name.to_owned(), reader, line: 0 }) }
    }

    /// The next so many; fewer at the end.
    pub fn take(&mut self, most: usize) -> Result<Vec<Record>, CommandError> {
        match self {
            Self::List(records) => Ok(records.take(most).collect()),
            Self::Lines { name, reader, line } => {
                let records = std::iter::from_fn(|| next_line(reader, line).transpose());
                records.take(most).collect::<Result<_, _>>().map_err(|why| unreadable(name, &why))
            }
        }
    }
}

fn unreadable(name: &str, why: &io::Error) -> CommandError {
    CommandError::Other(format!("{name} cannot be read: {why}"))
}

/// The next line that is not empty.
fn next_line(reader: &mut impl BufRead, line: &mut usize) -> io::Result<Option<Record>> {
    loop {
        let mut bytes = Vec::new();
        if reader.take(LINE_MAX).read_until(b'\n', &mut bytes)? == 0 {
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

/// Whether anything was left of the line.
fn skip_rest(reader: &mut impl BufRead) -> io::Result<bool> {
    let mut any = false;
    loop {
        let mut bytes = Vec::new();
        if reader.take(LINE_MAX).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(any);
        }
        any = true;
        if bytes.ends_with(b"\n") {
            return Ok(any);
        }
    }
}

/// What the other system answers when it is asked for its users.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    users: Vec<&'a RawValue>,
}

/// A list of users, bare or in such an answer.
fn read_list(name: &str, mut reader: impl Read) -> Result<Records, CommandError> {
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(|why| unreadable(name, &why))?;
    let text = text.trim_start_matches('\u{feff}');
    let bare = text.trim_start().starts_with('[');
    let users =
        if bare { serde_json::from_str(text) } else { serde_json::from_str(text).map(|Answer { users }| users) };
    let users: Vec<&RawValue> = users.map_err(|why| {
        let place = format!("line {} column {}", why.line(), why.column());
        CommandError::Other(format!("{name} is no JSON list of users ({place})"))
    })?;
    let (mut records, mut line, mut counted) = (Vec::new(), 1, 0);
    for user in users {
        // Where it begins in the text it was borrowed from.
        let at = user.get().as_ptr().addr() - text.as_ptr().addr();
        line += text.get(counted..at).unwrap_or_default().matches('\n').count();
        counted = at;
        records.push(Record { line, bytes: Some(user.get().as_bytes().to_vec()) });
    }
    Ok(Records::List(records.into_iter()))
}
