//! A yes without a way up to a handler: nearly every check is one of a token that this node believes, for an account that it
//! knows. It needs what every yes needs (forward_auth.rs), of what is in memory alone, and gives the same answer, written as
//! octets. Whatever it takes more than that for, and every no, is the handler's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use actix_web::http::{Method, StatusCode};
use log::{Level, log_enabled};

use super::forwarded_request;
use crate::web::forward_auth::decision::{Allowed, CheckQuery};
use crate::web::request::limits::{COOKIES_MAX, URI_MAX};
use crate::web::request::session_cookie::is_cookie_header;
use crate::web::response::access_log::{REQUEST_LOG, log_response};
use crate::web::server::request_framing::Head;
use crate::web::service::Doorward;

/// Answers a check, if the answer is yes and all that it takes is in memory; otherwise writes nothing, and says so.
pub fn try_fast_path(service: &Doorward, head: Head<'_>, into: &mut Vec<u8>) -> bool {
    // The clock is a part of what a check costs; it is looked at for the log's sake alone.
    let began = log_enabled!(target: REQUEST_LOG, Level::Debug).then(Instant::now);
    let answer = AssertUnwindSafe(|| {
        let allowed = decide_in_memory(service, head)?;
        write(service, head, &allowed, began, into)?;
        service.count_check(None);
        service.core().metrics().fast_path_checks.inc();
        Some(())
    });
    // Of a panic the handler will make a 500.
    let answered = catch_unwind(answer).ok().flatten().is_some();
    if !answered {
        into.clear();
    }
    answered
}

/// The octets of what `allow` says to somebody who is signed in: without the identity's lines, a client's own would stand.
fn write(
    service: &Doorward,
    head: Head<'_>,
    allowed: &Allowed,
    began: Option<Instant>,
    into: &mut Vec<u8>,
) -> Option<()> {
    let (caller, identity) = allowed.caller.as_ref()?;
    let settings = service.forward_auth();
    let id = service.request_ids().next();
    into.extend_from_slice(&settings.fast_path_template.beginning);
    settings.headers.append_lines(into, identity, caller.session);
    into.extend_from_slice(crate::web::request::request_id::REQUEST_ID.as_str().as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(id.as_str().as_bytes());
    into.extend_from_slice(b"\r\n");
    settings.fast_path_template.write_date(into, service.core().now());
    into.extend_from_slice(b"\r\n");
    if let Some(began) = began {
        let path = head.target.split('?').next().unwrap_or_default();
        log_response(&Method::GET, path, StatusCode::OK, &id, began);
    }
    Some(())
}

/// As `decide`, of what is in memory.
fn decide_in_memory(service: &Doorward, head: Head<'_>) -> Option<Allowed> {
    let settings = service.forward_auth();
    let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
    let is_check = head.method == "GET" && settings.fast_path_template.paths.iter().any(|known| known == path);
    if !is_check
        || !query.bytes().all(is_plain_in_query)
        || settings.rules.is_some()
        || service.is_draining()
        || !is_plain(service, head)
    {
        return None;
    }
    let asked = CheckQuery::of(query).ok().filter(|asked| !asked.assertion)?;
    let lines = head.headers.iter().map(|header| (header.name, header.value));
    let token = std::str::from_utf8(service.cookies().find_access(lines).ok()??).ok()?;
    let caller = service.core().resolve_session_cached(token)?;
    let identity = service.core().identity_in_memory(caller.account)?;
    let meets = asked.requirement.are_met_by(&identity);
    meets.then_some(Allowed { caller: Some((caller, identity)), assertion: None, renewal: None })
}

/// Octets that every reader of URLs lets through, and reads alike (RFC 3986 section 3.4).
fn is_plain_in_query(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

/// Whether no header asks for more than a look at the cookies: another credential, CORS, an end of the connection, something
/// that imitates another header, or more than is read.
fn is_plain(service: &Doorward, head: Head<'_>) -> bool {
    let hyphenated = &service.forward_auth().hyphenated;
    let (mut hosts, mut bytes) = (0, 0);
    for header in head.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            4 if is("host") => hosts += 1,
            6 if is_cookie_header(header.name) => bytes += header.value.len(),
            6 if is("origin") => return false,
            10 if is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive") => return false,
            13 if is("authorization") => return false,
            _ if forwarded_request::is_header_lookalike(header.name, hyphenated) => return false,
            _ => {}
        }
    }
    hosts == 1 && bytes <= COOKIES_MAX && head.target.len() <= URI_MAX
}
