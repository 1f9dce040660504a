//! Renewal of an access token by a check, for a browser that holds a live refresh cookie: the response sets a new access cookie
//! and the refresh token keeps its generation. nginx drops the cookies of a subrequest unless it is configured to pass them
//! on, so the session must not depend on their arrival. Whether the refresh token is valid is decided by core.

use std::sync::Arc;

use actix_web::HttpRequest;

use super::decision::Denied;
use crate::core::defence::rate_limit::LimitedAction;
use crate::core::error::{Error, Refusal};
use crate::core::session::Issued;
use crate::core::session::caller::Caller;
use crate::web::request::credentials::{client_of, refresh_cookie};
use crate::web::service::Doorward;

/// Renews by the refresh cookie. Without a valid one the check is refused with `refusal`, the error of the access token.
pub async fn renew(service: &Doorward, request: &HttpRequest, refusal: Refusal) -> Result<(Caller, Issued), Denied> {
    let Some(token) = refresh_cookie(service, request)? else { return Err(refusal.into()) };
    let client = client_of(service, request);
    service.core().check_rate_limit(LimitedAction::Refresh, &client)?;
    let policies = Arc::clone(service.policies());
    let renewed = service.run_blocking(move |core| core.renew_access_token(&token, &policies, &client)).await;
    match renewed {
        Ok(renewed) => Ok((renewed.caller, renewed.issued)),
        // These two concern the session and not the refresh token, so they take precedence over the access token's error.
        Err(Error::Refusal(of_session @ (Refusal::Busy(_) | Refusal::PasswordChangeRequired))) => {
            Err(of_session.into())
        }
        Err(Error::Refusal(_)) => Err(refusal.into()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the refresh cookie's signature and times are valid, so that a refresh may succeed. The session's row is not read.
pub fn may_succeed(service: &Doorward, request: &HttpRequest) -> bool {
    let cookie = refresh_cookie(service, request).ok().flatten();
    cookie.is_some_and(|token| service.core().may_be_refreshed(&token))
}
