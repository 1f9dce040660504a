//! Request framing for the fast path: decides whether the bytes read from a connection are exactly one complete request, and
//! whether the connection is idle. Heads are parsed by httparse, which actix uses too; where a request ends is decided here.
//! Everything unusual is left to actix. Which request is answered without actix is the caller's to decide (connection.rs).
//!
//! States of a connection, and what changes them:
//!
//! ```text
//!   New ------+
//!             | on_read: part of a head         on_read: rest of the head,
//!   Idle -----+-----------------> PartialHead --------------+  part of the body
//!    ^        |                                             v
//!    |        +------------------------------------> PartialBody
//!    |        | on_read: head and part of the body          |
//!    |        |                                             | on_read: rest of the body
//!    |        | on_read: one whole request                  v
//!    |        +------------------------------> Handling { responding: false }
//!    |                                                      |
//!    |                                                      | on_write: the head of the response
//!    |  on_flush, with no request in flight                 v
//!    +---------------------------------------- Handling { responding: true }
//!
//!   every state --> Passthrough: on_read of bytes whose framing is unsupported, or that follow a whole request before its
//!                   response is complete; on_write of a response with `connection: close`. Passthrough is final.
//! ```
//!
//! A request that the fast path answers changes no state: it begins and ends in `Idle`, and actix does not see it.

use std::mem::MaybeUninit;
use std::time::Duration;

use memchr::memmem;

use httparse::{EMPTY_HEADER, Header, Request, Status};
use tokio::time::Instant;

/// The most headers of a request that is parsed here; one with more is forwarded.
const MAX_HEADERS: usize = 64;

/// The most bytes of a request that is parsed here; a longer one is forwarded. It bounds the memory of a connection that
/// sends a head byte by byte.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// What happens to bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAction {
    /// They are one request, and its response has been written; actix does not see them.
    Answered,
    /// They stay in the connection's read buffer.
    NeedMore,
    /// actix gets them.
    Forward,
}

/// The state of a connection, as the bytes forwarded to actix and the bytes that actix writes determine it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing has been read. The first request is forwarded in any case, because actix limits the time for the first head of
    /// a connection: a connection whose first bytes stayed here would not be timed.
    #[default]
    New,
    /// This part of a head has been forwarded, without its end. It is kept because where the request ends can only be
    /// determined from the whole head. A head longer than `MAX_REQUEST_BYTES` leads to `Passthrough`.
    PartialHead(Vec<u8>),
    /// A head and a part of its body have been forwarded; this many bytes of the body are missing. More bytes than that
    /// belong to the next request, which actix then holds: `Passthrough`.
    PartialBody(usize),
    /// Exactly one whole request has been forwarded, and its response is not complete. Bytes that arrive now are a
    /// pipelined request: they are forwarded, and the connection is `Passthrough` from then on, since a response from here
    /// could overtake the one of actix.
    Handling {
        /// Whether a part of the response has been written. Without it a flush completes nothing: actix flushes at other
        /// times too, for instance before the handler has begun.
        responding: bool,
    },
    /// Every request has its complete response since this instant, and actix's read buffer is empty, because it was only
    /// given whole requests. This is the only state in which the fast path may answer.
    Idle(Instant),
    /// All further bytes are forwarded: where a request ends is unknown or no request may follow. This state is final, since
    /// an end that was missed once cannot be found again.
    Passthrough,
}

impl ConnectionState {
    /// Whether the next byte is the first of a request.
    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Idle(_))
    }

    /// Whether the response to the last forwarded request was completed less than this time ago.
    pub fn is_idle_for_less_than(&self, time: Duration) -> bool {
        matches!(self, Self::Idle(since) if since.elapsed() < time)
    }

    /// Records bytes that are forwarded to actix.
    pub fn on_read(&mut self, bytes: &[u8]) {
        *self = match self {
            Self::New | Self::Idle(_) => Self::after_head_bytes(bytes),
            Self::PartialHead(begun) => Self::after_head_bytes(&[begun, bytes].concat()),
            Self::PartialBody(missing) => {
                missing.checked_sub(bytes.len()).map_or(Self::Passthrough, Self::with_missing_bytes)
            }
            Self::Handling { .. } | Self::Passthrough => Self::Passthrough,
        };
    }

    fn after_head_bytes(bytes: &[u8]) -> Self {
        frame(bytes, |framing| match framing {
            Framing::Complete(_) => Self::with_missing_bytes(0),
            Framing::WithBody { missing } => Self::with_missing_bytes(missing),
            Framing::Incomplete if bytes.len() < MAX_REQUEST_BYTES => Self::PartialHead(bytes.to_vec()),
            Framing::Incomplete | Framing::Unsupported => Self::Passthrough,
        })
    }

    /// After a head, with this many bytes of the body missing.
    fn with_missing_bytes(missing: usize) -> Self {
        if missing == 0 { Self::Handling { responding: false } } else { Self::PartialBody(missing) }
    }

    /// Records bytes that actix writes. After a response with `connection: close` actix reads on for a while, but answers
    /// nothing (RFC 9112 section 9.6), so nothing is answered here either. A response that begins before its request is
    /// complete (an early error) changes no state: the rest of the request is still to come.
    pub fn on_write(&mut self, bytes: &[u8]) {
        if *self == (Self::Handling { responding: false }) {
            let head = bytes.get(..memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len())).unwrap_or_default();
            let closes = memmem::find(head, b"\r\nconnection: close").is_some();
            *self = if closes { Self::Passthrough } else { Self::Handling { responding: true } };
        }
    }

    /// Records that no request is in flight and everything written has been sent.
    pub fn on_flush(&mut self, now: Instant) {
        if *self == (Self::Handling { responding: true }) {
            *self = Self::Idle(now);
        }
    }
}

/// The head of a complete request without a body.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// As it was sent.
    pub method: &'a str,
    /// Path and query, as they were sent.
    pub target: &'a str,
    /// In the order in which they were sent; names in any case.
    pub headers: &'a [Header<'a>],
}

/// How bytes that begin with a request's first byte relate to its end.
enum Framing<'a> {
    /// They are one request without a body, and nothing else.
    Complete(RequestHead<'a>),
    /// They are a head and a part of its body, or all of it.
    WithBody {
        /// The bytes of the body that have not arrived.
        missing: usize,
    },
    /// They are a part of a head.
    Incomplete,
    /// The end of the request is ambiguous or not determined by a `Content-Length`, or bytes follow it.
    Unsupported,
}

/// The length of a request's body (RFC 9112 section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum BodyLength {
    /// There is no body.
    None,
    /// A single valid `Content-Length` determines it.
    Bytes(usize),
    /// Another header determines it, the values contradict each other, or the connection changes its protocol afterwards.
    Unsupported,
}

/// Parses bytes that were read while the connection was idle, after those in its read buffer. `answer` is called for a
/// complete request without a body, and returns whether it wrote the response.
pub fn parse_single_request(bytes: &[u8], answer: impl FnOnce(RequestHead<'_>) -> bool) -> ReadAction {
    frame(bytes, |framing| match framing {
        Framing::Complete(head) if bytes.len() <= MAX_REQUEST_BYTES && answer(head) => ReadAction::Answered,
        Framing::Incomplete if bytes.len() < MAX_REQUEST_BYTES => ReadAction::NeedMore,
        _ => ReadAction::Forward,
    })
}

/// Calls `then` with the framing, which borrows the parsed headers from this function's stack.
fn frame<T>(bytes: &[u8], then: impl FnOnce(Framing<'_>) -> T) -> T {
    let mut headers = [MaybeUninit::new(EMPTY_HEADER); MAX_HEADERS];
    let mut request = Request::new(&mut []);
    let head_length = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return then(Framing::Incomplete),
        // actix parses it again, and answers with the error.
        Err(_invalid) => return then(Framing::Unsupported),
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return then(Framing::Unsupported);
    };
    // After CONNECT the connection is a tunnel: what follows is not a request.
    if method == "CONNECT" {
        return then(Framing::Unsupported);
    }
    let headers = &*request.headers;
    let received = bytes.len() - head_length;
    then(match body_length(headers) {
        BodyLength::None if received == 0 => Framing::Complete(RequestHead { method, target, headers }),
        BodyLength::Bytes(length) => {
            length.checked_sub(received).map_or(Framing::Unsupported, |missing| Framing::WithBody { missing })
        }
        BodyLength::None | BodyLength::Unsupported => Framing::Unsupported,
    })
}

/// Determines the body's length. Everything that two servers could read differently is `Unsupported` (request smuggling):
/// `Transfer-Encoding`, a second `Content-Length`, and values that are not plain digits, such as `+5` or `5, 5`.
fn body_length(headers: &[Header<'_>]) -> BodyLength {
    let mut length = BodyLength::None;
    for Header { name, value } in headers {
        if ["transfer-encoding", "upgrade", "expect"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
            return BodyLength::Unsupported;
        }
        let is_plain = || [&b"keep-alive"[..], b"close"].iter().any(|option| value.eq_ignore_ascii_case(option));
        if name.eq_ignore_ascii_case("connection") && !is_plain() {
            return BodyLength::Unsupported;
        }
        if name.eq_ignore_ascii_case("content-length") {
            match content_length(value) {
                Some(bytes) if length == BodyLength::None => length = BodyLength::Bytes(bytes),
                _ => return BodyLength::Unsupported,
            }
        }
    }
    length
}

fn content_length(value: &[u8]) -> Option<usize> {
    let is_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if is_digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = "GET /auth/verify HTTP/1.1\r\nHost: a\r\n\r\n";

    fn parsed(text: &str) -> ReadAction {
        parse_single_request(text.as_bytes(), |head| head.method == "GET" && head.target == "/auth/verify")
    }

    #[test]
    fn only_exactly_one_request_without_a_body_is_answered() {
        assert_eq!(parsed(CHECK), ReadAction::Answered);
        for other in [
            "GET /auth/me HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /auth/verify HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
            format!("{CHECK}G"),
            format!("{CHECK}{CHECK}"),
            CHECK.replace("Host", "Content-Length: 0\r\nHost"),
            CHECK.replace("Host", "content-length: 3\r\nHost") + "abc",
            CHECK.replace("Host", "Transfer-Encoding: chunked\r\nHost"),
            CHECK.replace("Host", "Upgrade: h2c\r\nHost"),
            CHECK.replace("Host", "Expect: 100-continue\r\nHost"),
            CHECK.replace("Host", "Connection: upgrade\r\nHost"),
            CHECK.replace("GET", "CONNECT"),
            CHECK.replace("Host: a", "Host : a"),
            CHECK.replace("Host: a", "Host: a\r\n folded"),
            CHECK.replace("Host: a", &"X: y\r\n".repeat(65)),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "\0".to_owned(),
        ] {
            assert_eq!(parsed(&other), ReadAction::Forward, "{other}");
        }
    }

    #[test]
    fn a_partial_head_is_buffered_up_to_the_size_limit() {
        for end in 1..CHECK.len() {
            assert_eq!(parsed(&CHECK[..end]), ReadAction::NeedMore, "{end}");
        }
        let long = format!("GET /auth/verify HTTP/1.1\r\nHost: {}", "a".repeat(MAX_REQUEST_BYTES));
        assert_eq!(parsed(&long), ReadAction::Forward);
        assert_eq!(parsed(&format!("{long}\r\n\r\n")), ReadAction::Forward, "however much of it is read in one piece");
    }

    #[test]
    fn a_connection_is_idle_only_after_the_response_to_exactly_one_request() {
        let post = "POST /auth/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        let now = Instant::now();
        let after = |sent: &[&str], responds: bool| {
            let mut state = ConnectionState::default();
            sent.iter().for_each(|bytes| state.on_read(bytes.as_bytes()));
            if responds {
                state.on_write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
            state.on_flush(now);
            state
        };
        for request in [CHECK, post] {
            assert_eq!(after(&[request], true), ConnectionState::Idle(now));
            assert_eq!(after(&[request], false), ConnectionState::Handling { responding: false });
        }
        for parts in
            [vec![&CHECK[..9], &CHECK[9..]], vec![&post[..20], &post[20..]], vec![&post[..post.len() - 2], "{", "}"]]
        {
            assert_eq!(after(&parts, true), ConnectionState::Idle(now), "{parts:?}");
        }
        let chunked = CHECK.replace("Host", "Transfer-Encoding: chunked\r\nHost");
        let connect = CHECK.replace("GET", "CONNECT");
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_REQUEST_BYTES));
        for unsupported in [
            vec![CHECK, CHECK],
            vec![post, "{"],
            vec![&post[..post.len() - 1], "}G"],
            vec![&CHECK[..9], &CHECK[9..], "G"],
            vec![chunked.as_str()],
            vec![connect.as_str()],
            vec![long.as_str(), "\r\n"],
        ] {
            assert_eq!(after(&unsupported, true), ConnectionState::Passthrough, "{unsupported:?}");
        }
        assert_eq!(
            after(&[&CHECK[..9]], true),
            ConnectionState::PartialHead(CHECK.as_bytes()[..9].to_vec()),
            "an early response changes no state"
        );
    }

    #[test]
    fn a_response_with_connection_close_ends_the_fast_path() {
        for (response, closes) in [
            ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"\r\nconnection: close\r\n\"}", false),
        ] {
            let mut state = ConnectionState::default();
            state.on_read(CHECK.as_bytes());
            state.on_write(response.as_bytes());
            state.on_write(b"more");
            state.on_flush(Instant::now());
            assert_eq!(state == ConnectionState::Passthrough, closes, "{response}");
            assert_eq!(state.is_idle(), !closes, "{response}");
        }
    }

    #[test]
    fn an_ambiguous_content_length_is_unsupported() {
        let header = |value: &'static str| Header { name: "Content-Length", value: value.as_bytes() };
        assert_eq!(body_length(&[header("5")]), BodyLength::Bytes(5));
        for value in ["+5", "", "5, 5", "0x5"] {
            assert_eq!(body_length(&[header(value)]), BodyLength::Unsupported, "{value}");
        }
        let twice = [Header { name: "content-length", value: b"5" }; 2];
        assert_eq!(body_length(&twice), BodyLength::Unsupported);
    }
}
