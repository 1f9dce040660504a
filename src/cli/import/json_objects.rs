//! Streaming reader of JSON lists: yields the objects of a list one by one, from a bare list or from the member `users` of an
//! object, so that a file of any size takes the memory of one account. The objects themselves are parsed elsewhere; what is not a
//! list of objects ends the reading with the line.

use std::io::{self, BufRead};

use super::line::{LINE_MAX_BYTES, Record};

/// The member that holds the list, in exports that are an object.
const LIST_MEMBER: &str = "users";

/// A reader inside the list.
pub struct JsonObjects {
    bytes: Bytes,
    is_finished: bool,
}

impl JsonObjects {
    /// Reads up to the beginning of the list.
    pub fn open(reader: Box<dyn BufRead>) -> io::Result<Self> {
        let mut bytes = Bytes { reader, line: 1, peeked: None };
        if bytes.peek()? == Some(0xef) {
            // The mark of UTF-8, which some editors write.
            for _ in 0..3 {
                bytes.next()?;
            }
        }
        match bytes.next_token()? {
            Some(b'[') => {}
            Some(b'{') => find_list(&mut bytes)?,
            _ => return Err(bytes.malformed("it is neither a JSON list nor an object")),
        }
        Ok(Self { bytes, is_finished: false })
    }

    /// The next object with its line.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        if self.is_finished {
            return Ok(None);
        }
        let mut token = self.bytes.next_token()?;
        if token == Some(b',') {
            token = self.bytes.next_token()?;
        }
        match token {
            Some(b']') => {
                self.is_finished = true;
                Ok(None)
            }
            Some(b'{') => {
                let line = self.bytes.line;
                let mut text = vec![b'{'];
                self.bytes.skip_nested(b'{', Some(&mut text))?;
                let is_too_long = u64::try_from(text.len()).is_ok_and(|length| length > LINE_MAX_BYTES);
                Ok(Some(Record { line, bytes: (!is_too_long).then_some(text) }))
            }
            Some(_) => Err(self.bytes.malformed("the list holds something other than objects")),
            None => Err(self.bytes.malformed("the file ends within the list")),
        }
    }
}

/// Within an object: skips its members up to the list.
fn find_list(bytes: &mut Bytes) -> io::Result<()> {
    loop {
        match bytes.next_token()? {
            Some(b'"') => {}
            Some(b',') => continue,
            Some(b'}') => return Err(bytes.malformed("it has no list \"users\"")),
            _ => return Err(bytes.malformed("it is no valid JSON")),
        }
        let mut name = Vec::new();
        bytes.skip_string(Some(&mut name))?;
        if bytes.next_token()? != Some(b':') {
            return Err(bytes.malformed("it is no valid JSON"));
        }
        let is_list = name == LIST_MEMBER.as_bytes();
        match bytes.next_token()? {
            Some(b'[') if is_list => return Ok(()),
            Some(open @ (b'{' | b'[')) => bytes.skip_nested(open, None)?,
            Some(b'"') => bytes.skip_string(None)?,
            // A number, true, false or null.
            Some(_) => {
                while bytes.peek()?.is_some_and(|byte| !matches!(byte, b',' | b'}')) {
                    bytes.next()?;
                }
            }
            None => return Err(bytes.malformed("the file ends within an object")),
        }
    }
}

/// The bytes of a file, with the line of the next one.
struct Bytes {
    reader: Box<dyn BufRead>,
    line: usize,
    peeked: Option<u8>,
}

impl Bytes {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.peeked.is_none() {
            self.peeked = self.reader.fill_buf()?.first().copied();
            self.reader.consume(usize::from(self.peeked.is_some()));
        }
        Ok(self.peeked)
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        self.peeked = None;
        self.line += usize::from(byte == Some(b'\n'));
        Ok(byte)
    }

    /// The next byte that is no white space.
    fn next_token(&mut self) -> io::Result<Option<u8>> {
        while self.peek()?.is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.next()?;
        }
        self.next()
    }

    /// Reads to the end of a string whose quote was read; its text without the quote goes into `into`.
    fn skip_string(&mut self, mut into: Option<&mut Vec<u8>>) -> io::Result<()> {
        loop {
            let Some(byte) = self.next()? else { return Err(self.malformed("the file ends within a text")) };
            if byte == b'"' {
                return Ok(());
            }
            push(&mut into, byte);
            if byte == b'\\' {
                let Some(escaped) = self.next()? else { return Err(self.malformed("the file ends within a text")) };
                push(&mut into, escaped);
            }
        }
    }

    /// Reads to the end of an object or a list whose opening was read. Whether brackets match inside is the parser's to judge.
    fn skip_nested(&mut self, open: u8, mut into: Option<&mut Vec<u8>>) -> io::Result<()> {
        let (mut depth, what) = (1_usize, if open == b'{' { "an object" } else { "a list" });
        while depth > 0 {
            let Some(byte) = self.next()? else { return Err(self.malformed(&format!("the file ends within {what}"))) };
            push(&mut into, byte);
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => {
                    self.skip_string(into.as_deref_mut())?;
                    push(&mut into, b'"');
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn malformed(&self, what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{what} (line {})", self.line))
    }
}

/// Of a longer text the beginning: one byte more than is accepted.
fn push(into: &mut Option<&mut Vec<u8>>, byte: u8) {
    if let Some(text) = into
        && u64::try_from(text.len()).is_ok_and(|length| length <= LINE_MAX_BYTES)
    {
        text.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(usize, String)>, String> {
        let mut objects =
            JsonObjects::open(Box::new(io::Cursor::new(text.to_owned()))).map_err(|why| why.to_string())?;
        let mut read = Vec::new();
        while let Some(record) = objects.next().map_err(|why| why.to_string())? {
            read.push((record.line, String::from_utf8(record.bytes.unwrap_or_default()).unwrap()));
        }
        Ok(read)
    }

    #[test]
    fn objects_of_a_bare_or_nested_list_are_read_with_their_lines() {
        let one = |line, text: &str| (line, text.to_owned());
        assert_eq!(read("[]"), Ok(vec![]));
        assert_eq!(
            read("\u{feff} [ {\"a\":1},\n\n{\"b\":[{}]} ] x"),
            Ok(vec![one(1, "{\"a\":1}"), one(3, "{\"b\":[{}]}")])
        );
        let nested = "{\"realm\":\"x\",\"n\":1,\"o\":{\"users\":[{}]},\"t\":\"a\\\"]}\",\n\"users\":[{\"c\":\"}]\\\\\"}],\"z\":[]}";
        assert_eq!(read(nested), Ok(vec![one(2, "{\"c\":\"}]\\\\\"}")]));
        let long = format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(70_000));
        assert_eq!(read(&long), Ok(vec![one(1, ""), one(1, "{}")]));
    }

    #[test]
    fn what_is_no_list_of_objects_is_named_with_its_line() {
        for (text, why) in [
            ("", "neither a JSON list nor an object (line 1)"),
            ("users", "neither a JSON list nor an object (line 1)"),
            ("{\"a\":1}", "no list \"users\" (line 1)"),
            ("{\"users\":{}}", "no list \"users\" (line 1)"),
            ("{\n\"users\"", "no valid JSON (line 2)"),
            ("[1]", "other than objects (line 1)"),
            ("[{},\n", "ends within the list (line 2)"),
            ("[{\"a\":\"", "ends within a text (line 1)"),
            ("[{\"a\":[", "ends within an object (line 1)"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
