//! The doors through which `fuzz/` and `tests/it/fuzzed.rs` reach what is private: each reader of hostile octets, without
//! a server around it; benches/instructions.rs comes through them too. No part of the interface. What must hold of the answers is for those who call to say.

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
use crate::web::server::request_framing::{ReadAction, look};
use crate::web::service::Doorward;

/// A head: method, target, names in lower case with their values.
pub type Head = (String, String, Vec<(String, Vec<u8>)>);

/// The lines that an HTTP parser would let through.
fn headers(name: &HeaderName, lines: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let sound = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
    sound.for_each(|line| headers.append(name.clone(), line));
    headers
}

/// The value of a cookie of this name in these header lines.
pub fn cookie(lines: &[&[u8]], name: &str) -> Result<Option<String>, RequestError> {
    session_cookie::read_lines(lines.iter().copied().filter(|line| HeaderValue::from_bytes(line).is_ok()), name)
}

/// The token in these `Authorization` lines, or the code of the error.
pub fn bearer(lines: &[&[u8]]) -> Result<Option<String>, &'static str> {
    let token = strict_bearer(&headers(&AUTHORIZATION, lines)).map_err(|error| error.reason())?;
    Ok(token.map(|token| token.expose().to_owned()))
}

/// The client behind these `X-Forwarded-For` lines, that such a peer sent.
pub fn client_address(peer: IpAddr, trusted: &[IpNet], lines: &[&[u8]]) -> IpAddr {
    TrustedProxies(trusted.to_vec()).resolve(peer, &headers(&FORWARDED_FOR, lines))
}

/// Method, target and header lines of octets that are one request without a body, to the last of them.
pub fn whole_head(bytes: &[u8]) -> Option<Head> {
    let mut found = None;
    let arrived = look(bytes, |head| {
        let headers = head.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()));
        found = Some((head.method.to_owned(), head.target.to_owned(), headers.collect()));
        true
    });
    found.filter(|_| arrived == ReadAction::HandlerResult)
}

/// Answers octets that are one check whose yes is in memory, as a connection does between two requests.
pub fn answer_at_once(service: &Doorward, bytes: &[u8], into: &mut Vec<u8>) -> bool {
    look(bytes, |head| try_fast_path(service, head, into)) == ReadAction::HandlerResult
}

/// Where a way back leads, at https://auth.example with good.test among its REDIRECT_HOSTS and /home for a default.
pub fn redirect(back: &str) -> String {
    let own = url::Url::parse("https://auth.example").ok();
    let hosts: Vec<RedirectHost> = "good.test".parse().into_iter().collect();
    Redirects::of(own, hosts, "/home".to_owned()).target(Some(back))
}

/// Gives a JSON body to every reader of every dialect; the names of those that took it. `Err`: it was no JSON object, or
/// an ambiguous one.
pub fn bodies(body: &[u8]) -> Result<Vec<&'static str>, WebError> {
    Fields::parse(body)?;
    let read = |name, take: &dyn Fn(Fields) -> bool| Fields::parse(body).is_ok_and(take).then_some(name);
    let readers = [
        read("native confirm", &|fields| native::wire::confirmation(fields).is_ok()),
        read("native login", &|fields| native::wire::login(fields).is_ok()),
        read("native register", &|fields| native::wire::register(fields).is_ok()),
        read("native refresh", &|fields| native::wire::refresh(fields).is_ok()),
        read("native change-password", &|fields| native::wire::change_password(fields).is_ok()),
        read("native profile", &|fields| native::wire::profile(fields).is_ok()),
        read("flat login", &|fields| flat::wire::login(fields).is_ok()),
        read("flat refresh", &|fields| flat::wire::refresh(fields).access_ttl.is_ok()),
        read("store sign-up", &|fields| store::wire::sign_up(fields).is_ok()),
        read("store sign-in", &|fields| store::wire::sign_in(fields).is_ok()),
        read("signin sign-in", &|fields| signin::wire::sign_in(fields).is_ok()),
        read("signin sign-up", &|fields| signin::wire::sign_up(fields).is_ok()),
        read("signin refresh", &|fields| signin::wire::refresh(fields).is_ok()),
        read("signin sign-out", &|fields| signin::wire::sign_out(fields).is_some()),
        read("pin login", &|fields| pin::wire::login(fields).is_ok()),
        read("envelope register", &|fields| envelope::wire::register(fields).is_ok()),
        read("envelope login", &|fields| envelope::wire::login(fields).is_ok()),
        read("envelope refresh", &|fields| envelope::wire::refresh_token(fields).is_ok()),
        read("envelope change-password", &|fields| envelope::wire::change_password(fields).is_ok()),
    ];
    Ok(readers.into_iter().flatten().collect())
}
