//! A new access token with the answer of a check, for a browser that holds a live refresh cookie: one `Set-Cookie`, the
//! generation untouched. nginx drops a subrequest's cookies unless told otherwise, so nothing may depend on its arrival.

use actix_web::HttpRequest;

use crate::core::caller::Caller;
use crate::core::error::{Error, Refusal};
use crate::core::rate::Counted;
use crate::core::session::Issued;
use crate::web::forward_auth::decision::Denied;
use crate::web::http::credentials::client_of;
use crate::web::http::credentials::refresh_cookie;
use crate::web::service::Doorward;

/// Renews by the refresh cookie. Without one, `refusal` stands: it says what was wrong with the access token.
pub async fn renew(service: &Doorward, request: &HttpRequest, refusal: Refusal) -> Result<(Caller, Issued), Denied> {
    let Some(token) = refresh_cookie(service, request)? else { return Err(refusal.into()) };
    service.core().keep_rate(Counted::Refresh, &client_of(service, request))?;
    let policies = service.clone();
    let renewed =
        service.run_blocking(move |core| core.renew_access_token(&token, &|dialect| policies.policy_of(dialect))).await;
    match renewed {
        Ok(renewed) => Ok((renewed.caller, renewed.issued)),
        // The reason that the app's user meets is the session's, whichever of the two tokens told it.
        Err(Error::Refusal(own @ (Refusal::Busy(_) | Refusal::PasswordChangeRequired))) => Err(own.into()),
        Err(Error::Refusal(_)) => Err(refusal.into()),
        Err(fault) => Err(fault.into()),
    }
}

/// Whether a refresh cookie is worth a try: by its signature and times alone.
pub fn seems_possible(service: &Doorward, request: &HttpRequest) -> bool {
    let cookie = refresh_cookie(service, request).ok().flatten();
    cookie.is_some_and(|token| service.core().may_be_refreshed(&token))
}
