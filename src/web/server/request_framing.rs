//! What has come between two requests, and whether this is between two at all. Reading heads is httparse's, which actix reads
//! them by as well; where one request ends and whether all of it is there is decided here, and anything unusual is actix's.

use std::mem::MaybeUninit;
use std::time::Duration;

use memchr::memmem;

use httparse::{EMPTY_HEADER, Header, Request, Status};
use tokio::time::Instant;

/// Headers of a request that is looked at.
const HEADERS_MOST: usize = 64;

/// Octets of one. What is longer goes up.
pub const MOST: usize = 16 * 1024;

/// What is to be done with what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAction {
    /// Nothing: it was one request, and its answer has been written.
    HandlerResult,
    /// It is kept here, for the rest that is on its way or on its own way up.
    NeedMore,
    /// It goes up.
    Forward,
}

/// Where a connection is. Between two requests nothing that came is unanswered, and actix holds nothing of the next: it was
/// given octets that are one request, to the last one, and has answered it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing has come yet. The first request goes up in any case: actix times it.
    #[default]
    New,
    /// This much of a head has gone up.
    Head(Vec<u8>),
    /// A head has gone up, and so many octets of the body are missing.
    Body(usize),
    /// One request is above, and nothing else.
    Request {
        /// Whether something was sent since.
        answered: bool,
    },
    /// Nobody is owed anything, since then.
    Between(Instant),
    /// It cannot be told where a request ends, or none is to follow. This is so until the connection ends.
    InvalidForwardedHeaders,
}

impl ConnectionState {
    /// Whether what comes next is the beginning of a request.
    pub fn is_between(&self) -> bool {
        matches!(self, Self::Between(_))
    }

    /// Whether the last request that went up was answered so little time ago.
    pub fn went_up_within(&self, time: Duration) -> bool {
        matches!(self, Self::Between(since) if since.elapsed() < time)
    }

    /// Notes octets that go up.
    pub fn passes(&mut self, bytes: &[u8]) {
        *self = match self {
            Self::New | Self::Between(_) => Self::begun_with(bytes),
            Self::Head(begun) => Self::begun_with(&[begun, bytes].concat()),
            Self::Body(left) => left.checked_sub(bytes.len()).map_or(Self::InvalidForwardedHeaders, Self::without),
            Self::Request { .. } | Self::InvalidForwardedHeaders => Self::InvalidForwardedHeaders,
        };
    }

    fn begun_with(bytes: &[u8]) -> Self {
        read(bytes, |end| match end {
            End::Here(_) => Self::without(0),
            End::Body(left) => Self::without(left),
            End::Later if bytes.len() < MOST => Self::Head(bytes.to_vec()),
            End::Later | End::Elsewhere => Self::InvalidForwardedHeaders,
        })
    }

    /// A request of which so much is missing.
    fn without(left: usize) -> Self {
        if left == 0 { Self::Request { answered: false } } else { Self::Body(left) }
    }

    /// Notes that something is sent from above. An answer that says it is the last one is: actix reads on for a while, but
    /// answers nothing (RFC 9112 section 9.6).
    pub fn answers(&mut self, bytes: &[u8]) {
        if *self == (Self::Request { answered: false }) {
            let head = bytes.get(..memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len())).unwrap_or_default();
            let is_last = memmem::find(head, b"\r\nconnection: close").is_some();
            *self = if is_last { Self::InvalidForwardedHeaders } else { Self::Request { answered: true } };
        }
    }

    /// Notes that no request is above and all that was written is sent.
    pub fn is_done(&mut self, now: Instant) {
        if *self == (Self::Request { answered: true }) {
            *self = Self::Between(now);
        }
    }
}

/// The head of a request that is all there and has no body.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// As it was sent.
    pub method: &'a str,
    /// Path and query, as they were sent.
    pub target: &'a str,
    /// In their order, names in any case.
    pub headers: &'a [Header<'a>],
}

/// How a head ends.
enum End<'a> {
    /// Here, and nothing follows.
    Here(Head<'a>),
    /// Here, and so much of a body is missing.
    Body(usize),
    /// Later.
    Later,
    /// Elsewhere, or nobody knows.
    Elsewhere,
}

/// Looks at what came between two requests, or at what is held of it and what came.
pub fn look(bytes: &[u8], answer: impl FnOnce(Head<'_>) -> bool) -> ReadAction {
    read(bytes, |end| match end {
        End::Here(head) if bytes.len() <= MOST && answer(head) => ReadAction::HandlerResult,
        End::Later if bytes.len() < MOST => ReadAction::NeedMore,
        _ => ReadAction::Forward,
    })
}

fn read<T>(bytes: &[u8], then: impl FnOnce(End<'_>) -> T) -> T {
    let mut room = [MaybeUninit::new(EMPTY_HEADER); HEADERS_MOST];
    let mut request = Request::new(&mut []);
    let head = match request.parse_with_uninit_headers(bytes, &mut room) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) => return then(End::Later),
        Err(_actix_says_what) => return then(End::Elsewhere),
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return then(End::Elsewhere);
    };
    if method == "CONNECT" {
        return then(End::Elsewhere);
    }
    let headers = &*request.headers;
    let body = bytes.len() - head;
    then(match length(headers) {
        Some(None) if body == 0 => End::Here(Head { method, target, headers }),
        Some(Some(length)) => length.checked_sub(body).map_or(End::Elsewhere, End::Body),
        _ => End::Elsewhere,
    })
}

/// How long the body is, if that is said (RFC 9112 section 6.3); `None` where it is said in another way than by one plain
/// length, or something else but requests is to follow.
fn length(headers: &[Header<'_>]) -> Option<Option<usize>> {
    let mut length = None;
    for Header { name, value } in headers {
        if ["transfer-encoding", "upgrade", "expect"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
            return None;
        }
        let goes_on = || [&b"keep-alive"[..], b"close"].iter().any(|word| value.eq_ignore_ascii_case(word));
        if name.eq_ignore_ascii_case("connection") && !goes_on() {
            return None;
        }
        if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let said = digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()?;
            if length.replace(said).is_some() {
                return None;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = "GET /auth/verify HTTP/1.1\r\nHost: a\r\n\r\n";

    fn looked_at(text: &str) -> ReadAction {
        look(text.as_bytes(), |head| head.method == "GET" && head.target == "/auth/verify")
    }

    #[test]
    fn only_what_is_exactly_one_request_without_a_body_is_answered() {
        assert_eq!(looked_at(CHECK), ReadAction::HandlerResult);
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
            assert_eq!(looked_at(&other), ReadAction::Forward, "{other}");
        }
    }

    #[test]
    fn every_part_of_a_head_is_kept_until_it_is_too_long() {
        for end in 1..CHECK.len() {
            assert_eq!(looked_at(&CHECK[..end]), ReadAction::NeedMore, "{end}");
        }
        let long = format!("GET /auth/verify HTTP/1.1\r\nHost: {}", "a".repeat(MOST));
        assert_eq!(looked_at(&long), ReadAction::Forward);
        assert_eq!(looked_at(&format!("{long}\r\n\r\n")), ReadAction::Forward, "however much of it comes at once");
    }

    #[test]
    fn a_connection_is_between_requests_only_after_the_answer_to_exactly_one() {
        let post = "POST /auth/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        let now = Instant::now();
        let after = |sent: &[&str], answered: bool| {
            let mut state = ConnectionState::default();
            sent.iter().for_each(|bytes| state.passes(bytes.as_bytes()));
            if answered {
                state.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
            state.is_done(now);
            state
        };
        for request in [CHECK, post] {
            assert_eq!(after(&[request], true), ConnectionState::Between(now));
            assert_eq!(after(&[request], false), ConnectionState::Request { answered: false });
        }
        for parts in
            [vec![&CHECK[..9], &CHECK[9..]], vec![&post[..20], &post[20..]], vec![&post[..post.len() - 2], "{", "}"]]
        {
            assert_eq!(after(&parts, true), ConnectionState::Between(now), "{parts:?}");
        }
        let chunked = CHECK.replace("Host", "Transfer-Encoding: chunked\r\nHost");
        let connect = CHECK.replace("GET", "CONNECT");
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MOST));
        for unclear in [
            vec![CHECK, CHECK],
            vec![post, "{"],
            vec![&post[..post.len() - 1], "}G"],
            vec![&CHECK[..9], &CHECK[9..], "G"],
            vec![chunked.as_str()],
            vec![connect.as_str()],
            vec![long.as_str(), "\r\n"],
        ] {
            assert_eq!(after(&unclear, true), ConnectionState::InvalidForwardedHeaders, "{unclear:?}");
        }
        assert_eq!(
            after(&[&CHECK[..9]], true),
            ConnectionState::Head(CHECK.as_bytes()[..9].to_vec()),
            "an early answer counts for nothing"
        );
    }

    #[test]
    fn nothing_follows_an_answer_that_says_so() {
        for (answer, is_last) in [
            ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"\r\nconnection: close\r\n\"}", false),
        ] {
            let mut state = ConnectionState::default();
            state.passes(CHECK.as_bytes());
            state.answers(answer.as_bytes());
            state.answers(b"more");
            state.is_done(Instant::now());
            assert_eq!(state == ConnectionState::InvalidForwardedHeaders, is_last, "{answer}");
            assert_eq!(state.is_between(), !is_last, "{answer}");
        }
    }

    #[test]
    fn lengths_that_can_be_read_in_two_ways_are_none() {
        for (value, expected) in [("5", Some(Some(5))), ("+5", None), ("", None), ("5, 5", None), ("0x5", None)] {
            let headers = [Header { name: "Content-Length", value: value.as_bytes() }];
            assert_eq!(length(&headers), expected, "{value}");
        }
        let twice = [Header { name: "content-length", value: b"5" }; 2];
        assert_eq!(length(&twice), None);
    }
}
