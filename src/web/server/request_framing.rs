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
//!   every state --> Passthrough: on_read of bytes whose framing is unsupported, among them several requests in one piece;
//!                   on_write of a response with `connection: close`. Passthrough is final.
//! ```
//!
//! The bytes of the next request are not forwarded before the response to the last one is complete (connection.rs); where it
//! begins in `Passthrough` is found by request_end.rs.
//!
//! A request that the fast path answers changes no state: it begins and ends in `Idle`, and actix does not see it.

use std::mem::MaybeUninit;
use std::time::Duration;

use memchr::memmem;

use httparse::{EMPTY_HEADER, Header, Request, Status};
use tokio::time::Instant;

use super::request_end::RequestEnd;

/// The most headers of a request that is parsed here; one with more is forwarded, since actix takes up to 96.
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
    /// Nothing has been read. The first bytes are always forwarded, because actix limits the time for the first head of
    /// a connection: a connection whose first bytes stayed here would not be timed.
    #[default]
    New,
    /// This part of a head has been forwarded, without its end. It is kept because where the request ends can only be
    /// determined from the whole head. A head longer than `MAX_REQUEST_BYTES` leads to `Passthrough`.
    PartialHead(Vec<u8>),
    /// A head and a part of its body have been forwarded; this many bytes of the body are missing. More bytes than that
    /// belong to the next request.
    PartialBody(usize),
    /// Exactly one whole request has been forwarded, and its response is not complete. Bytes that arrive now are a
    /// pipelined request, which waits for that. Should actix need it earlier, the connection is `Passthrough` from then on,
    /// since a response from here could overtake the one of actix.
    Handling {
        /// Whether a part of the response has been written. Without it a flush completes nothing: actix flushes at other
        /// times too, for instance before the handler has begun.
        responding: bool,
    },
    /// Every request has its complete response since this instant, and actix's read buffer is empty, because it was only
    /// given whole requests. This is the only state in which the fast path may answer.
    Idle(Instant),
    /// All further requests are forwarded: no response from here may come between those of actix. This state is final, since
    /// an end that was missed once cannot be found again.
    Passthrough(Box<RequestEnd>),
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

    /// Whether the next byte is the first of a request that follows another one.
    pub fn is_after_request(&self) -> bool {
        match self {
            Self::Handling { .. } => true,
            Self::Passthrough(end) => end.is_between_requests(),
            _ => false,
        }
    }

    /// Records bytes that are forwarded to actix. Returns how many of them that may be: the others are pipelined requests.
    pub fn on_read(&mut self, bytes: &[u8]) -> usize {
        let (next, count) = match self {
            Self::New | Self::Idle(_) => Self::after_head_bytes(&[], bytes),
            Self::PartialHead(begun) => Self::after_head_bytes(begun, bytes),
            Self::PartialBody(missing) => {
                let count = bytes.len().min(*missing);
                (Self::with_missing_bytes(*missing - count), count)
            }
            Self::Handling { .. } => Self::passthrough(&[], bytes),
            Self::Passthrough(end) => return end.advance(bytes),
        };
        *self = next;
        count
    }

    /// After a part of a head, and further bytes; and how many of these belong to the same request.
    fn after_head_bytes(begun: &[u8], bytes: &[u8]) -> (Self, usize) {
        let joined;
        let request = if begun.is_empty() {
            bytes
        } else {
            joined = [begun, bytes].concat();
            &joined
        };
        let next = frame(request, |framing| match framing {
            Framing::Complete(_) => Some(Self::with_missing_bytes(0)),
            Framing::WithBody { missing } => Some(Self::with_missing_bytes(missing)),
            Framing::Incomplete if request.len() < MAX_REQUEST_BYTES => Some(Self::PartialHead(request.to_vec())),
            Framing::Incomplete | Framing::Unsupported => None,
        });
        next.map_or_else(|| Self::passthrough(begun, bytes), |next| (next, bytes.len()))
    }

    /// `Passthrough`, after a part of a request, and further bytes; and how many of these belong to the same request.
    fn passthrough(begun: &[u8], bytes: &[u8]) -> (Self, usize) {
        let mut end = RequestEnd::default();
        end.advance(begun);
        let count = end.advance(bytes);
        (Self::Passthrough(Box::new(end)), count)
    }

    /// After a head, with this many bytes of the body missing.
    fn with_missing_bytes(missing: usize) -> Self {
        if missing == 0 { Self::Handling { responding: false } } else { Self::PartialBody(missing) }
    }

    /// Records bytes that actix writes. After a response with `connection: close` actix reads on for a while, but answers
    /// nothing (RFC 9112 section 9.6), so nothing is answered here either. A response that begins before its request is
    /// complete (an early error) changes no state: the rest of the request is still to come.
    ///
    /// The first bytes hold the whole head, which actix writes only when it is complete, with its own `connection` header in
    /// lower case. Only the head is searched, since a body may quote such a line.
    pub fn on_write(&mut self, bytes: &[u8]) {
        if *self == (Self::Handling { responding: false }) {
            let head = bytes.get(..memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len())).unwrap_or_default();
            let closes = memmem::find(head, b"\r\nconnection: close").is_some();
            let passthrough = || Self::Passthrough(Box::default());
            *self = if closes { passthrough() } else { Self::Handling { responding: true } };
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
    /// In the order in which they were sent; names in upper or lower case.
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
    // HTTP/1.1 only: a connection of HTTP/1.0 ends with the response unless both sides agree otherwise.
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
        // After `Upgrade` the bytes may be another protocol's. After `Expect` actix writes a 100 first, which could be taken for
        // the response.
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
mod tests;
