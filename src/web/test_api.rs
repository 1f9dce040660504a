//! Test-only API (`#[doc(hidden)]`): exposes the private parsers of hostile input, without a server around them, to `fuzz/`,
//! `tests/it/fuzz_seeds.rs` and `benches/`. It is not part of the public interface. What must hold of the results is decided by
//! the callers.

use std::net::IpAddr;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::dialects::{envelope, flat, native, pin, signin, store};
use super::forward_auth::try_fast_path;
use super::request::bearer::strict_bearer;
use super::request::body::Fields;
use super::request::client_address::{FORWARDED_FOR, TrustedProxies};
use super::request::session_cookie;
use super::response::error::{RequestError, WebError};
use super::response::redirect::Redirects;
use crate::settings::RedirectHost;
use crate::web::server::request_framing::{ReadAction, parse_single_request};
use crate::web::service::Doorward;

/// A parsed head: method, target, and headers with their names in lower case.
pub type ParsedHead = (String, String, Vec<(String, Vec<u8>)>);

/// The lines that an HTTP parser would accept, as headers.
fn headers(name: &HeaderName, lines: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let sound = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
    sound.for_each(|line| headers.append(name.clone(), line));
    headers
}

/// The value of the cookie of this name in these header lines.
pub fn cookie(lines: &[&[u8]], name: &str) -> Result<Option<String>, RequestError> {
    session_cookie::read_lines(lines.iter().copied().filter(|line| HeaderValue::from_bytes(line).is_ok()), name)
}

/// The token in these `Authorization` lines, or the code of the error.
pub fn bearer(lines: &[&[u8]]) -> Result<Option<String>, &'static str> {
    let token = strict_bearer(&headers(&AUTHORIZATION, lines)).map_err(|error| error.reason())?;
    Ok(token.map(|token| token.expose().to_owned()))
}

/// The client's address according to the `X-Forwarded-For` lines that a peer sent.
pub fn client_address(peer: IpAddr, trusted: &[IpNet], lines: &[&[u8]]) -> IpAddr {
    TrustedProxies(trusted.to_vec()).resolve(peer, &headers(&FORWARDED_FOR, lines)).address
}

/// The head of bytes that are exactly one request without a body.
pub fn whole_head(bytes: &[u8]) -> Option<ParsedHead> {
    let mut found = None;
    let action = parse_single_request(bytes, |head| {
        let headers = head.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()));
        found = Some((head.method.to_owned(), head.target.to_owned(), headers.collect()));
        true
    });
    found.filter(|_| action == ReadAction::Answered)
}

/// Answers bytes that are one check by the fast path, as an idle connection does. Returns whether it did.
pub fn answer_on_fast_path(service: &Doorward, bytes: &[u8], into: &mut Vec<u8>) -> bool {
    parse_single_request(bytes, |head| try_fast_path(service, head, into)) == ReadAction::Answered
}

/// The target of a redirect to this return URL, for PUBLIC_URL https://auth.example, REDIRECT_HOSTS good.test and the
/// default /home.
pub fn redirect(return_url: &str) -> String {
    let public_url = url::Url::parse("https://auth.example").ok();
    let hosts: Vec<RedirectHost> = "good.test".parse().into_iter().collect();
    Redirects::of(public_url, hosts, "/home".to_owned()).target(Some(return_url))
}

/// Parses a JSON body with every parser of every dialect. Returns the names of those that accepted it, or an error if it is no
/// JSON object or has duplicate members.
pub fn bodies(body: &[u8]) -> Result<Vec<&'static str>, WebError> {
    Fields::parse(body)?;
    let parse = |name, parser: &dyn Fn(Fields) -> bool| Fields::parse(body).is_ok_and(parser).then_some(name);
    let accepted = [
        parse("native confirm", &|fields| native::wire::confirmation(fields).is_ok()),
        parse("native login", &|fields| native::wire::login(fields).is_ok()),
        parse("native register", &|fields| native::wire::register(fields).is_ok()),
        parse("native refresh", &|fields| native::wire::refresh(fields).is_ok()),
        parse("native change-password", &|fields| native::wire::change_password(fields).is_ok()),
        parse("native profile", &|fields| native::wire::profile(fields).is_ok()),
        parse("flat login", &|fields| flat::wire::login(fields).is_ok()),
        parse("flat refresh", &|fields| flat::wire::refresh(fields).access_ttl.is_ok()),
        parse("store sign-up", &|fields| store::wire::sign_up(fields).is_ok()),
        parse("store sign-in", &|fields| store::wire::sign_in(fields).is_ok()),
        parse("signin sign-in", &|fields| signin::wire::sign_in(fields).is_ok()),
        parse("signin sign-up", &|fields| signin::wire::sign_up(fields).is_ok()),
        parse("signin refresh", &|fields| signin::wire::refresh(fields).is_ok()),
        parse("signin sign-out", &|fields| signin::wire::sign_out(fields).is_some()),
        parse("pin login", &|fields| pin::wire::login(fields).is_ok()),
        parse("envelope register", &|fields| envelope::wire::register(fields).is_ok()),
        parse("envelope login", &|fields| envelope::wire::login(fields).is_ok()),
        parse("envelope refresh", &|fields| envelope::wire::refresh_token(fields).is_ok()),
        parse("envelope change-password", &|fields| envelope::wire::change_password(fields).is_ok()),
    ];
    Ok(accepted.into_iter().flatten().collect())
}
