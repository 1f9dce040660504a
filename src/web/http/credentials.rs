//! Credentials extraction: the bearer header and the session's cookies of a request, and which of them counts. Two cookies
//! that differ are refused by session_cookie.rs, and reported from here once a request; tokens are judged by core.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, USER_AGENT};
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};

use super::request_id::{RequestId, RequestIds};
use crate::core::caller::Client;
use crate::core::error::Refusal;
use crate::secret::{AccessToken, RefreshToken};
use crate::web::service::Doorward;

/// Who asks, for sessions and audit.
pub fn client_of(service: &Doorward, request: &HttpRequest) -> Client {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Client {
        address: service.proxies().client_address(request),
        user_agent: agent.map(ToOwned::to_owned),
        request_id: Some(request_id(request).as_str().to_owned()),
        device: service.cookies().read_device(request.headers()),
    }
}

/// The id of a request, made when it has none yet.
pub fn request_id(request: &HttpRequest) -> RequestId {
    if let Some(id) = request.extensions().get::<RequestId>() {
        return *id;
    }
    let service = request.app_data::<Data<Doorward>>();
    let id = service.map_or_else(|| RequestIds::default().next(), |service| service.request_ids().next());
    request.extensions_mut().insert(id);
    id
}

/// The id of a request that no handler has seen yet.
pub fn request_id_of(request: &ServiceRequest) -> RequestId {
    request_id(request.request())
}

/// The one rule of precedence: a header, good or bad, and only without one the cookie (RFC 6750 section 2).
pub fn access_token(service: &Doorward, request: &HttpRequest) -> Result<Option<AccessToken>, Refusal> {
    match bearer(request.headers())? {
        Some(token) => Ok(Some(AccessToken::new(token))),
        None => access_cookie(service, request),
    }
}

/// What an Authorization header holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// No header, or an empty one, which counts as none.
    Absent,
    /// `Bearer TOKEN`: the scheme in any case, one space, one token (RFC 6750 section 2.1, RFC 9110 section 11.1).
    Bearer(String),
    /// The scheme without a token.
    BearerAlone,
    /// Another scheme, or a text without one.
    Other(String),
    /// Several headers, or octets that no token has.
    Malformed,
}

impl Authorization {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(AUTHORIZATION);
        let line = match (lines.next(), lines.next()) {
            (None, _) => return Self::Absent,
            (Some(line), None) => line.to_str().unwrap_or("\0"),
            (Some(_), Some(_)) => return Self::Malformed,
        };
        if line.trim().is_empty() {
            return Self::Absent;
        }
        let (scheme, token) = line.split_once(' ').unwrap_or((line, ""));
        let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match (scheme.eq_ignore_ascii_case("bearer"), token) {
            (true, "") => Self::BearerAlone,
            (true, token) if token.bytes().all(in_token) => Self::Bearer(token.to_owned()),
            (true, _) => Self::Malformed,
            (false, _) if line.contains('\0') => Self::Malformed,
            (false, _) => Self::Other(line.to_owned()),
        }
    }
}

/// native's reading: only a bearer token is one, and junk is an error of the request.
pub(in crate::web) fn bearer(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    match Authorization::read(headers) {
        Authorization::Absent => Ok(None),
        Authorization::Bearer(token) => Ok(Some(token)),
        Authorization::BearerAlone | Authorization::Other(_) => Err(Refusal::TokenInvalid),
        Authorization::Malformed => Err(Refusal::AuthorizationMalformed),
    }
}

/// Marks a request whose cookies are told already.
struct IsTold;

/// The access token in the cookie.
pub fn access_cookie(service: &Doorward, request: &HttpRequest) -> Result<Option<AccessToken>, Refusal> {
    let read = service.cookies().read_access(request.headers());
    Ok(told(service, request, read)?.map(AccessToken::new))
}

/// The refresh token in the cookie.
pub fn refresh_cookie(service: &Doorward, request: &HttpRequest) -> Result<Option<RefreshToken>, Refusal> {
    let read = service.cookies().read_refresh(request.headers());
    Ok(told(service, request, read)?.map(RefreshToken::new))
}

fn told<T>(service: &Doorward, request: &HttpRequest, read: Result<T, Refusal>) -> Result<T, Refusal> {
    if matches!(read, Err(Refusal::DuplicateCookie)) && request.extensions_mut().insert(IsTold).is_none() {
        service.core().note_duplicate_cookie(client_of(service, request));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn read(lines: &[&str]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap()));
        bearer(&headers)
    }

    #[test]
    fn the_scheme_has_any_case_and_the_token_one_space() {
        for line in ["Bearer a.b-c_d", "bearer a.b-c_d", "BEARER a.b-c_d"] {
            assert_eq!(read(&[line]), Ok(Some("a.b-c_d".to_owned())), "{line}");
        }
        for line in ["Bearer  a", "Bearer a b", "Bearer a,b", "Bearer a\tb"] {
            assert_eq!(read(&[line]), Err(Refusal::AuthorizationMalformed), "{line}");
        }
        for line in ["Bearer", "Bearer ", "Basic eDp5", "Token a", "a.b.c"] {
            assert_eq!(read(&[line]), Err(Refusal::TokenInvalid), "{line}");
        }
    }

    #[test]
    fn none_is_none_and_two_are_too_many() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[""]), Ok(None));
        assert_eq!(read(&["Bearer a", "Bearer a"]), Err(Refusal::AuthorizationMalformed));
    }
}
