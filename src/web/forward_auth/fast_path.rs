//! Fast path of the checks: answers an allowed check from memory, before actix parses and routes the request. It decides
//! whether a request is a plain check, and then asks the same function as the handler (`decision::authorize`). It never
//! denies: every request that is unusual, that needs the database, or that would not be allowed is left to the handler in
//! forward_auth.rs. Which connection state permits an answer from here is decided by server/connection.rs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

use actix_web::http::{Method, StatusCode};
use log::{Level, log_enabled};

use super::decision::{Allowed, CheckQuery, authorize};
use super::rules::RuleMatch;
use crate::web::request::limits::{COOKIES_MAX, URI_MAX};
use crate::web::request::request_id::REQUEST_ID;
use crate::web::request::session_cookie::is_cookie_header;
use crate::web::response::access_log::{REQUEST_LOG, log_response};
use crate::web::server::request_framing::RequestHead;
use crate::web::service::Doorward;

/// Appends the response to an allowed check and returns true, or leaves the buffer empty and returns false.
pub fn try_fast_path(service: &Doorward, head: RequestHead<'_>, into: &mut Vec<u8>) -> bool {
    // Reading the clock is a noticeable part of a check's cost; only the access log needs it.
    let started = log_enabled!(target: REQUEST_LOG, Level::Debug).then(Instant::now);
    let answer = AssertUnwindSafe(|| {
        let allowed = decide_in_memory(service, head)?;
        write_response(service, head, &allowed, started, into)?;
        service.count_check(None);
        service.core().metrics().checks.fast_path.inc();
        Some(())
    });
    // After a panic the handler gets the request, and answers 500 if it panics as well.
    let answered = catch_unwind(answer).ok().flatten().is_some();
    if !answered {
        into.clear();
    }
    answered
}

/// Writes the response that `allow` in forward_auth.rs makes for a signed-in caller. It contains every identity header, also
/// the empty ones: a header that is missing could be supplied by the client.
fn write_response(
    service: &Doorward,
    head: RequestHead<'_>,
    allowed: &Allowed,
    started: Option<Instant>,
    into: &mut Vec<u8>,
) -> Option<()> {
    let (caller, identity) = allowed.subject()?;
    let settings = service.forward_auth();
    let id = service.request_ids().next();
    into.extend_from_slice(&settings.fast_path_template.head);
    settings.headers.append_lines(into, identity, caller.session);
    into.extend_from_slice(REQUEST_ID.as_str().as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(id.as_str().as_bytes());
    into.extend_from_slice(b"\r\n");
    settings.fast_path_template.write_date(into, service.core().now());
    into.extend_from_slice(b"\r\n");
    if let Some(started) = started {
        let path = head.target.split('?').next().unwrap_or_default();
        log_response(&Method::GET, path, StatusCode::OK, &id, started);
    }
    Some(())
}

/// The sequence of `collect_and_authorize` in forward_auth.rs for plain checks, from memory alone. Ignored forwarded headers are
/// reported by `check` there, not here.
fn decide_in_memory(service: &Doorward, head: RequestHead<'_>) -> Option<Allowed> {
    let settings = service.forward_auth();
    let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
    let is_check = head.method == "GET" && settings.fast_path_template.paths.iter().any(|known| known == path);
    // Rules need the forwarded headers, and a response while draining needs `connection: close`: the handler has both.
    if !is_check
        || !query.bytes().all(is_plain_in_query)
        || settings.has_rules.load(Ordering::Acquire)
        || service.is_draining()
        || !has_plain_headers(service, head)
    {
        return None;
    }
    let query = CheckQuery::parse(query).ok().filter(|query| !query.assertion)?;
    let lines = head.headers.iter().map(|header| (header.name, header.value));
    let token = std::str::from_utf8(service.cookies().find_access(lines).ok()??).ok()?;
    let caller = service.core().resolve_session_cached(token)?;
    let identity = service.core().cached_identity(caller.account)?;
    authorize(RuleMatch::SignedIn(query.requirement), Some((caller, identity))).ok()
}

/// Bytes that every URL parser accepts, and parses alike (RFC 3986 section 3.4).
fn is_plain_in_query(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

/// Whether the cookies are all that the decision depends on. False for another credential, CORS, the end of the connection,
/// an imitated name, a missing or repeated `Host`, and a head over its limits.
fn has_plain_headers(service: &Doorward, head: RequestHead<'_>) -> bool {
    let protected_names = &service.forward_auth().protected_names;
    let (mut hosts, mut cookie_bytes) = (0, 0);
    for header in head.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        // By length first: most headers differ from all of these names in that, and are not compared.
        match header.name.len() {
            4 if is("host") => hosts += 1,
            6 if is_cookie_header(header.name) => cookie_bytes += header.value.len(),
            6 if is("origin") => return false,
            10 if is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive") => return false,
            13 if is("authorization") => return false,
            _ if protected_names.is_imitated_by(header.name) => return false,
            _ => {}
        }
    }
    hosts == 1 && cookie_bytes <= COOKIES_MAX && head.target.len() <= URI_MAX
}
