//! Request delimiting (RFC 9112 sections 6 and 7.1): finds where each request of a byte stream ends, without keeping its bytes.
//! The result only decides when actix gets the next pipelined request (connection.rs); actix parses every byte itself.
//! Whether bytes are exactly one plain request, which the fast path may answer, is decided by request_framing.rs.
//!
//! It follows actix's reading of every head that actix accepts, or finds no end at all: after a line that matters and is longer
//! than what is kept of it, the rest of the connection goes to actix as it comes. What actix refuses ends the connection, so its
//! end does not matter.

use memchr::memchr;

/// The most bytes of a line that are kept. The beginning of a longer one shows whether it matters.
const LINE_MAX: usize = 256;

/// What the next byte of the stream belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A head, as far as it was read; the empty head if this is the place between two requests.
    Head(Head),
    /// A body with this many bytes missing.
    Body(u64),
    /// The line before a chunk.
    ChunkSize,
    /// A chunk and its line end, with this many bytes missing.
    Chunk(u64),
    /// The lines after the last chunk.
    Trailers,
    /// No further request: the rest of the connection is a body.
    Endless,
}

/// What the lines of a head said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Head {
    has_request_line: bool,
    body: Body,
}

/// What follows a head. Of two that it announces the greater one counts, as in actix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Body {
    #[default]
    None,
    Tunnel,
    Bytes(u64),
    WebSocket,
    Chunked,
    /// In a line that was cut.
    Unknown,
}

/// A place in a stream of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestEnd {
    part: Part,
    /// The beginning of a line whose end was not read.
    line: Vec<u8>,
}

impl Default for RequestEnd {
    fn default() -> Self {
        Self { part: Part::Head(Head::default()), line: Vec::new() }
    }
}

impl RequestEnd {
    /// Whether the next byte is the first of a request.
    pub fn is_between_requests(&self) -> bool {
        self.line.is_empty() && matches!(&self.part, Part::Head(head) if !head.has_request_line)
    }

    /// Advances to the end of the current request, or of the bytes. Returns how many of them it went over.
    pub fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let ended;
            (rest, ended) = match self.part {
                Part::Endless => return bytes.len(),
                Part::Body(missing) | Part::Chunk(missing) => self.advance_data(missing, rest),
                Part::Head(_) | Part::ChunkSize | Part::Trailers => self.advance_line(rest),
            };
            if ended {
                break;
            }
        }
        bytes.len() - rest.len()
    }

    /// Over bytes of a body or a chunk. Returns the rest of the bytes, and whether the request has ended.
    fn advance_data<'a>(&mut self, missing: u64, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let count = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
        let missing = missing - count as u64;
        let is_chunk = matches!(self.part, Part::Chunk(_));
        let ended = missing == 0 && !is_chunk;
        self.part = match (missing, is_chunk) {
            (0, true) => Part::ChunkSize,
            (0, false) => Part::Head(Head::default()),
            (missing, true) => Part::Chunk(missing),
            (missing, false) => Part::Body(missing),
        };
        (bytes.get(count..).unwrap_or_default(), ended)
    }

    /// Over bytes of a line. Returns the rest of the bytes, and whether the request has ended.
    fn advance_line<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let length = memchr(b'\n', bytes).unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        let kept = line.len().min(LINE_MAX.saturating_sub(self.line.len()));
        self.line.extend_from_slice(line.get(..kept).unwrap_or_default());
        let Some((_, rest)) = rest.split_first() else { return (rest, false) };
        let line = std::mem::take(&mut self.line);
        let is_cut = line.len() == LINE_MAX;
        let part = self.part.after_line(line.strip_suffix(b"\r").unwrap_or(&line), is_cut);
        let ended = part.is_none();
        self.part = part.unwrap_or_else(|| Part::Head(Head::default()));
        (rest, ended)
    }
}

impl Part {
    /// What follows this line, of which the end may be cut off; `None` at the end of the request.
    fn after_line(&self, line: &[u8], is_cut: bool) -> Option<Self> {
        match self {
            Self::Head(head) if !line.is_empty() => Some(Self::Head(head.clone().with_line(line, is_cut))),
            // Empty lines before a request are ignored.
            Self::Head(head) if !head.has_request_line => Some(Self::Head(Head::default())),
            Self::Head(head) => head.body(),
            Self::ChunkSize if is_cut => Some(Self::Endless),
            Self::ChunkSize => Some(match chunk_size(line) {
                Some(0) => Self::Trailers,
                Some(size) => Self::Chunk(size.saturating_add(2)),
                None => Self::Endless,
            }),
            Self::Trailers if line.is_empty() => None,
            Self::Trailers => Some(Self::Trailers),
            Self::Body(_) | Self::Chunk(_) | Self::Endless => Some(self.clone()),
        }
    }
}

impl Head {
    fn with_line(mut self, line: &[u8], is_cut: bool) -> Self {
        if !self.has_request_line {
            let body = if line.starts_with(b"CONNECT ") { Body::Tunnel } else { Body::None };
            return Self { has_request_line: true, body };
        }
        let colon = memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let matters = ["content-length", "transfer-encoding", "upgrade"];
        let announced = if is_cut && matters.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            Some(Body::Unknown)
        } else if name.eq_ignore_ascii_case(b"content-length") {
            // actix refuses what is not a number.
            let length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            length.filter(|length| *length > 0).map(Body::Bytes)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            value.eq_ignore_ascii_case(b"chunked").then_some(Body::Chunked)
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            value.eq_ignore_ascii_case(b"websocket").then_some(Body::WebSocket)
        } else {
            None
        };
        self.body = self.body.max(announced.unwrap_or_default());
        self
    }

    /// What follows the head; `None` if the request ends with it.
    fn body(&self) -> Option<Part> {
        match self.body {
            Body::None => None,
            Body::Bytes(length) => Some(Part::Body(length)),
            Body::Chunked => Some(Part::ChunkSize),
            Body::Tunnel | Body::WebSocket | Body::Unknown => Some(Part::Endless),
        }
    }
}

/// The number before a chunk's extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    u64::from_str_radix(std::str::from_utf8(line.get(..digits)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const SIZED: &str = "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nGET /";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
                           a;b=c\r\nGET /\r\n\r\n\r\r\n5\r\n\r\n0\r\n\r\n0\r\nTrailer: x\r\n\r\n";

    /// The pieces into which a stream is delimited, when it arrives in pieces of this size.
    fn delimited(stream: &str, size: usize) -> Vec<String> {
        let (mut end, mut requests) = (RequestEnd::default(), vec![String::new()]);
        for mut piece in stream.as_bytes().chunks(size) {
            while !piece.is_empty() {
                let count = end.advance(piece);
                requests.last_mut().unwrap().push_str(std::str::from_utf8(&piece[..count]).unwrap());
                piece = &piece[count..];
                if end.is_between_requests() {
                    requests.push(String::new());
                }
            }
        }
        requests.retain(|request| !request.is_empty());
        requests
    }

    #[test]
    fn each_request_ends_where_its_body_ends_however_the_bytes_arrive() {
        let requests = [
            GET.to_owned(),
            SIZED.to_owned(),
            CHUNKED.to_owned(),
            GET.replace('\r', ""),
            GET.replace("Host", "Content-Length: 0\r\nHost"),
            GET.replace("1.1", "1.0"),
            GET.replace("Host", "Upgrade: h2c\r\nHost"),
            GET.replace("Host", &("X: y\r\n".repeat(90) + "Host")),
            GET.replace("Host: a", &format!("X: {}", "y".repeat(20_000))),
            SIZED.replace("Host", "Expect: 100-continue\r\nHost"),
        ];
        for first in &requests {
            for second in &requests {
                let stream = [first.as_str(), second.as_str(), GET].concat();
                for size in [1, 2, 3, 7, 64, stream.len()] {
                    assert_eq!(delimited(&stream, size), [first.as_str(), second.as_str(), GET], "{size}");
                }
            }
        }
    }

    #[test]
    fn empty_lines_before_a_request_belong_to_it() {
        let mut end = RequestEnd::default();
        assert_eq!(end.advance(format!("\r\n\n{GET}{GET}").as_bytes()), 3 + GET.len());
    }

    #[test]
    fn after_a_connect_or_a_websocket_handshake_no_request_follows() {
        for head in [GET.replace("GET", "CONNECT"), GET.replace("Host", "Upgrade: WebSocket\r\nHost")] {
            let stream = format!("{head}{GET}");
            let mut end = RequestEnd::default();
            assert_eq!(end.advance(stream.as_bytes()), stream.len());
            assert!(!end.is_between_requests());
        }
    }

    #[test]
    fn after_a_cut_line_that_matters_no_request_follows() {
        let blanks = " ".repeat(LINE_MAX);
        let zeros = "0".repeat(LINE_MAX);
        for request in [
            SIZED.replace("content-length: 5", &format!("Content-Length: {blanks}5")),
            SIZED.replace("content-length: 5", &format!("content-length: {zeros}5")),
            CHUNKED.replace("Chunked", &format!("{blanks}chunked")),
            CHUNKED.replace("a;b=c", &format!("{zeros}a")),
            CHUNKED.replace("a;b=c", &format!("a;{zeros}")),
            GET.replace("Host", &format!("upgrade: {blanks}websocket\r\nHost")),
        ] {
            let stream = format!("{request}{GET}");
            for size in [1, 7, stream.len()] {
                assert_eq!(delimited(&stream, size), [stream.as_str()], "{size}");
            }
        }
        // Cut lines that do not matter, and whole ones just below the limit.
        let room = " ".repeat(LINE_MAX - "content-length:5\r".len() - 1);
        for request in [
            SIZED.replace("Host: a", &format!("X-Content-Length: {blanks}7")),
            SIZED.replace("content-length: 5", &format!("content-length:{room}5")),
            GET.replace("GET /", &format!("GET /{zeros}")),
            CHUNKED.replace("Trailer: x", &format!("Content-Length: {blanks}7")),
        ] {
            let stream = format!("{request}{GET}");
            for size in [1, 7, stream.len()] {
                assert_eq!(delimited(&stream, size), [request.as_str(), GET], "{size}");
            }
        }
    }

    #[test]
    fn no_bytes_but_the_beginning_of_a_line_are_kept() {
        let mut end = RequestEnd::default();
        for _ in 0..1000 {
            end.advance(&[b'a'; 1000]);
        }
        assert!(end.line.capacity() <= 2 * LINE_MAX, "{}", end.line.capacity());
    }
}
