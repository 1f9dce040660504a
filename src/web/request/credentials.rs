//! Credentials extraction: which of a request's bearer header and session cookies counts, and who its client is. Headers are
//! parsed by bearer.rs, cookies by session_cookie.rs; two cookies that differ are refused there and reported from here, once
//! per request. Tokens are verified by core.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::USER_AGENT;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};

use super::bearer;
use super::bearer::{BearerToken, strict_bearer};
use super::request_id::{RequestId, RequestIds};
use crate::core::session::caller::Client;
use crate::secret::{AccessToken, RefreshToken};
use crate::web::response::error::{RequestError, WebError};
use crate::web::service::Doorward;

/// The client of a request, for sessions and audit.
pub fn client_of(service: &Doorward, request: &HttpRequest) -> Client {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Client {
        address: service.client_addresses().find(service.proxies(), request, service.core().now()),
        user_agent: agent.map(ToOwned::to_owned),
        request_id: Some(request_id(request).as_str().to_owned()),
        device: service.cookies().read_device(request.headers()),
    }
}

/// The id of a request, generated on first use.
pub fn request_id(request: &HttpRequest) -> RequestId {
    if let Some(id) = request.extensions().get::<RequestId>() {
        return *id;
    }
    let service = request.app_data::<Data<Doorward>>();
    let id = service.map_or_else(|| RequestIds::default().next(), |service| service.request_ids().next());
    request.extensions_mut().insert(id);
    id
}

/// As `request_id`, in a middleware.
pub fn request_id_of(request: &ServiceRequest) -> RequestId {
    request_id(request.request())
}

/// The one rule of precedence: the header, valid or not, and only without a header the cookie (RFC 6750 section 2). A wrong
/// header must not be rescued by a cookie: the client would act as another account than the one it named.
pub fn access_token(service: &Doorward, request: &HttpRequest) -> Result<Option<AccessToken>, WebError> {
    match strict_bearer(request.headers())?.map(BearerToken::into_access_token) {
        Some(token) => Ok(Some(token)),
        None => Ok(access_cookie(service, request)?),
    }
}

/// The same rule for a check of a proxy, where most headers are for the app behind it: only a header with a token of this service
/// has precedence, live or dead, and any other counts as none.
pub fn own_bearer(service: &Doorward, request: &HttpRequest) -> Result<Option<AccessToken>, WebError> {
    let token = bearer::own_bearer(request.headers(), |token| service.core().has_signed(token))?;
    Ok(token.map(BearerToken::into_access_token))
}

/// Request extension: the request's duplicate cookies have been recorded.
struct DuplicateRecorded;

/// The access token in the cookie.
pub fn access_cookie(service: &Doorward, request: &HttpRequest) -> Result<Option<AccessToken>, RequestError> {
    let read = service.cookies().read_access(request.headers());
    Ok(record_duplicate(service, request, read)?.map(AccessToken::new))
}

/// The refresh token in the cookie.
pub fn refresh_cookie(service: &Doorward, request: &HttpRequest) -> Result<Option<RefreshToken>, RequestError> {
    let read = service.cookies().read_refresh(request.headers());
    Ok(record_duplicate(service, request, read)?.map(RefreshToken::new))
}

/// A handler may read both cookies, and each several times; the audit counts requests.
fn record_duplicate<T>(
    service: &Doorward,
    request: &HttpRequest,
    read: Result<T, RequestError>,
) -> Result<T, RequestError> {
    if matches!(read, Err(RequestError::DuplicateCookie))
        && request.extensions_mut().insert(DuplicateRecorded).is_none()
    {
        service.core().record_duplicate_cookie(client_of(service, request));
    }
    read
}
