//! Differential test of the fast path: some thousand mutated requests are each sent on a new connection, where a handler
//! answers, and on a kept one, where the fast path may; the two answers must be equal. The mutations are the same in every
//! run.

use std::io::ErrorKind;
use std::net::SocketAddr;

use doorward::testing::TestService;

use super::{assert_same, opened, took_fast_path};
use crate::fuzz_seeds;
use crate::support::http::{KeptConnection, Response};
use crate::support::rng::Rng;
use crate::support::{Tokens, register};

/// Mutations of each seed.
const COPIES: usize = 100;

/// The access token's place in the seeds: mutations should hit the rest of a request, which is much shorter than a token.
const PLACEHOLDER: &[u8] = b"x.y.z";

/// Requests with one header more than a plain check, or another target, as heads of which parts are exchanged.
const SEEDS: &[&str] = &[
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "GET /auth/forward HTTP/1.1\r\nHost: a\r\nCookie: a=b; accessToken=x.y.z; c=d\r\nConnection: keep-alive\r\n\r\n",
    "GET /auth/verify?role=USER HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "GET /auth/verify?role=ADMIN&role=USER HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "GET /auth/verify?permission=a%2Cb HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "GET /auth/forward?role=USER&original=/a?b=c HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "GET /auth/verify?assertion=false HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z; accessToken=x.y.z\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: c=d\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x.y.z\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nOrigin: https://app.example\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nRemote-User: admin\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nRemote_User: admin\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nRemote.User: admin\r\nremote~role: ADMIN\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nX!Forwarded!For: 1.2.3.4\r\nX-Who_: a\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nAuthorization: Basic eDp5\r\n\r\n",
    "HEAD /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\n\r\n",
    "POST /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nContent-Length: 0\r\n\r\n",
    "GET /auth/verify HTTP/1.1\r\nHost: a\r\nCookie: accessToken=x.y.z\r\nX-Forwarded-Uri: /a\r\nAccept: */*\r\n\r\n",
];

/// One head with its end and nothing after it: a server would wait for the end of another text, and answer the rest of
/// a longer one as a second request.
fn as_one_head(text: &[u8]) -> Option<Vec<u8>> {
    let begin = text.iter().position(|byte| !b"\r\n".contains(byte))?;
    let rest = &text[begin..];
    let ends = |at: &usize| rest[*at..].starts_with(b"\n\r\n") || rest[*at..].starts_with(b"\n\n");
    let end = (0..rest.len()).find(ends).unwrap_or(rest.len());
    let last = text[..begin + end].iter().rposition(|byte| !b"\r\n".contains(byte))?;
    Some([&text[..=last], b"\r\n\r\n"].concat())
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend([&rest[..at], to].concat());
        rest = &rest[at + from.len()..];
    }
    [&out, rest].concat()
}

/// Inserts a line of another request: most such requests are valid, and combine headers in ways that the seeds do not.
fn insert_line(seed: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let lines_of = |text: &'_ [u8]| text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (mut lines, others) = (lines_of(seed), lines_of(other));
    let at = 1 + rng.below(lines.len() - 1);
    lines.insert(at, others[rng.below(others.len())].clone());
    lines.concat()
}

/// The first answer to these bytes, or how the connection ended without one.
fn exchange(kept: &mut KeptConnection, bytes: &[u8]) -> Result<Response, ErrorKind> {
    kept.write(bytes).and_then(|()| kept.read(bytes.starts_with(b"HEAD "))).map_err(|error| error.kind())
}

/// Sends bytes on a new connection and on a kept one, which must be answered alike. Returns the status and whether it
/// was the fast path that answered.
fn compare(service: &TestService, address: SocketAddr, bytes: &[u8]) -> (u16, bool) {
    let by_handler = exchange(&mut KeptConnection::open(address).unwrap(), bytes);
    let on_kept = exchange(&mut opened(service), bytes);
    let shown = String::from_utf8_lossy(bytes);
    let (by_handler, on_kept) = match (by_handler, on_kept) {
        (Ok(by_handler), Ok(on_kept)) => (by_handler, on_kept),
        (by_handler, on_kept) => {
            assert_eq!(by_handler.as_ref().err(), on_kept.as_ref().err(), "{shown:?}: {by_handler:?}, {on_kept:?}");
            return (0, false);
        }
    };
    assert!(!took_fast_path(&by_handler), "the first request of a connection: {shown:?}");
    assert_eq!(by_handler.status, on_kept.status, "{shown:?}");
    assert_same(&on_kept, &by_handler);
    (on_kept.status, took_fast_path(&on_kept))
}

#[test]
fn a_mutated_request_is_answered_alike_on_a_new_and_a_kept_connection() {
    let service = TestService::builder().set("CORS_ORIGINS", "https://app.example").start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let seeds: Vec<Vec<u8>> =
        SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).chain(fuzz_seeds::seeds("head")).collect();
    let mut rng = Rng::fixed(0x5eed_0000_c4ec);
    let (mut sent, mut fast, mut denied) = (0, 0, 0);
    for seed in &seeds {
        let mutations = (0..COPIES).map(|_| {
            let other = &seeds[rng.below(seeds.len())];
            if rng.below(2) == 0 {
                insert_line(seed, other, &mut rng)
            } else {
                fuzz_seeds::mutate(seed, other, &mut rng)
            }
        });
        for text in std::iter::once(seed.clone()).chain(mutations.collect::<Vec<_>>()) {
            let Some(head) = as_one_head(&text) else { continue };
            let (status, took_fast_path) =
                compare(&service, service.address(), &replaced(&head, PLACEHOLDER, access.as_bytes()));
            sent += 1;
            fast += usize::from(took_fast_path);
            denied += usize::from(status == 401 || status == 403);
        }
    }
    // The test would show nothing if all of them were invalid requests.
    assert!(sent > 3000 && fast > 100 && denied > 100, "{fast} of {sent} on the fast path, {denied} denied");
}
