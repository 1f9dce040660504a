//! The session's cookies as a request brings them. Two that differ are refused by session_cookie.rs; whichever route
//! meets them, core is told here, once a request.

use actix_web::{HttpMessage, HttpRequest};

use super::Doorward;
use super::call::client_of;
use crate::core::refusal::Refusal;
use crate::secret::{AccessToken, RefreshToken};

/// Marks a request whose cookies are told already.
struct IsTold;

/// The access token in the cookie.
pub fn access_cookie(door: &Doorward, request: &HttpRequest) -> Result<Option<AccessToken>, Refusal> {
    let read = door.cookies().read_access(request.headers());
    Ok(told(door, request, read)?.map(AccessToken::new))
}

/// The refresh token in the cookie.
pub fn refresh_cookie(door: &Doorward, request: &HttpRequest) -> Result<Option<RefreshToken>, Refusal> {
    let read = door.cookies().read_refresh(request.headers());
    Ok(told(door, request, read)?.map(RefreshToken::new))
}

fn told<T>(door: &Doorward, request: &HttpRequest, read: Result<T, Refusal>) -> Result<T, Refusal> {
    if matches!(read, Err(Refusal::DuplicateCookie)) && request.extensions_mut().insert(IsTold).is_none() {
        door.core().record_duplicate_cookie(client_of(door, request));
    }
    read
}
