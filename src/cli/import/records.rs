//! Reader of import files: splits a file into records, one per account, with their line numbers: lines, JSON lists, CSV and
//! password files. Fields are parsed in fields.rs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};

use serde_json::{Map, Value, json};

use super::json_objects::JsonObjects;
use super::line::{LINE_MAX_BYTES, Record};
use super::vendor_formats::ImportFormat;
use crate::cli::error::CommandError;

/// Reads the records of a file, one at a time.
pub enum RecordReader {
    /// One JSON object a line.
    Lines(FileLines),
    /// A JSON list of objects.
    Objects(String, JsonObjects),
    /// CSV with a line of names, whose values are texts.
    Csv(String, csv::StringRecord, csv::Reader<Box<dyn BufRead>>),
    /// `name:hash` lines.
    Htpasswd(FileLines),
}

/// Lines of a file, with its name.
pub struct FileLines {
    name: String,
    reader: Box<dyn BufRead>,
    line: usize,
}

impl RecordReader {
    /// Opens a file; `-` is standard input. Exports that have no documented file form are read by what they begin with: a list, an
    /// object a line, or CSV.
    pub fn open(name: &str, format: ImportFormat) -> Result<Self, CommandError> {
        let mut reader: Box<dyn BufRead> = if name == "-" {
            Box::new(stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(name).map_err(|error| unreadable(name, &error))?))
        };
        let first = reader.fill_buf().map_err(|error| unreadable(name, &error))?;
        let first =
            first.iter().find(|byte| !matches!(byte, 0xef | 0xbb | 0xbf | b' ' | b'\n' | b'\r' | b'\t')).copied();
        let lines = |reader| FileLines { name: name.to_owned(), reader, line: 0 };
        match (format, first) {
            (ImportFormat::Htpasswd, _) => Ok(Self::Htpasswd(lines(reader))),
            (ImportFormat::Lines, _) => Ok(Self::Lines(lines(reader))),
            (ImportFormat::Flat | ImportFormat::Keycloak | ImportFormat::Firebase, _) | (_, Some(b'[')) => {
                let objects = JsonObjects::open(reader).map_err(|error| unreadable(name, &error))?;
                Ok(Self::Objects(name.to_owned(), objects))
            }
            (_, Some(b'{') | None) => Ok(Self::Lines(lines(reader))),
            _ => Self::csv(name, reader),
        }
    }

    fn csv(name: &str, reader: Box<dyn BufRead>) -> Result<Self, CommandError> {
        let mut rows = csv::ReaderBuilder::new().flexible(false).from_reader(reader);
        let head = rows.headers().map_err(|error| unreadable_csv(name, &error))?;
        let head = head.iter().map(|cell| cell.trim_start_matches('\u{feff}')).collect();
        Ok(Self::Csv(name.to_owned(), head, rows))
    }

    /// The next `count` records; fewer at the end of the file.
    pub fn take(&mut self, count: usize) -> Result<Vec<Record>, CommandError> {
        let next = || self.next().transpose();
        std::iter::from_fn(next).take(count).collect()
    }

    fn next(&mut self) -> Result<Option<Record>, CommandError> {
        match self {
            Self::Lines(FileLines { name, reader, line }) => {
                next_line(reader, line).map_err(|error| unreadable(name, &error))
            }
            Self::Objects(name, objects) => objects.next().map_err(|error| unreadable(name, &error)),
            Self::Csv(name, head, rows) => {
                let mut row = csv::StringRecord::new();
                if !rows.read_record(&mut row).map_err(|error| unreadable_csv(name, &error))? {
                    return Ok(None);
                }
                let line = row.position().map_or(0, csv::Position::line);
                let fields: Map<String, Value> =
                    head.iter().zip(&row).map(|(name, cell)| (name.to_owned(), Value::from(cell))).collect();
                let bytes = Value::Object(fields).to_string().into_bytes();
                Ok(Some(Record { line: usize::try_from(line).unwrap_or(0), bytes: Some(bytes) }))
            }
            Self::Htpasswd(FileLines { name, reader, line }) => loop {
                let Some(record) = next_line(reader, line).map_err(|error| unreadable(name, &error))? else {
                    return Ok(None);
                };
                let text = record.bytes.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                if text.starts_with('#') {
                    continue;
                }
                let (user, hash) = text.split_once(':').unwrap_or((&text, ""));
                let account = json!({ "username": user, "passwordHash": hash.split(':').next() });
                return Ok(Some(Record { bytes: Some(account.to_string().into_bytes()), ..record }));
            },
        }
    }
}

fn unreadable_csv(name: &str, error: &csv::Error) -> CommandError {
    let place = error.position().map(|position| format!(" (line {})", position.line())).unwrap_or_default();
    let why = match error.kind() {
        csv::ErrorKind::UnequalLengths { .. } => "a line has another number of columns than the first".to_owned(),
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => "it is no valid CSV".to_owned(),
    };
    CommandError::Other(format!("{name} cannot be read: {why}{place}"))
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
