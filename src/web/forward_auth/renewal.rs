//! A new access token with the answer of a check, for a browser that holds a live refresh cookie: one `Set-Cookie`, the
//! generation untouched. nginx drops a subrequest's cookies unless told otherwise, so nothing may depend on its arrival.

use actix_web::{HttpRequest, HttpResponse};

use super::No;
use crate::core::caller::Caller;
use crate::core::rate_limit::LimitedAction;
use crate::core::refusal::{Error, Fault, Refusal};
use crate::core::session::Issued;
use crate::web::Doorward;
use crate::web::call::client_of;
use crate::web::presented_cookies::refresh_cookie;

/// What was renewed and is to go out.
#[derive(Debug)]
pub struct Renewal(Issued);

impl Renewal {
    /// Sets the access cookie.
    pub fn set_cookie(&self, door: &Doorward, request: &HttpRequest, answer: &mut HttpResponse) -> Result<(), Fault> {
        door.cookies().set_access(answer, &self.0, door.proxies().says_https(request))
    }
}

/// Renews by the refresh cookie. Without one, `refusal` stands: it says what was wrong with the access token.
pub async fn renew(door: &Doorward, request: &HttpRequest, refusal: Refusal) -> Result<(Caller, Renewal), No> {
    let Some(token) = refresh_cookie(door, request)? else { return Err(refusal.into()) };
    door.core().check_rate_limit(LimitedAction::Refresh, &client_of(door, request))?;
    let policies = door.clone();
    let renewed = door.ask(move |core| core.renew_access_token(&token, &|dialect| policies.policy_of(dialect))).await;
    match renewed {
        Ok(renewed) => Ok((renewed.caller, Renewal(renewed.issued))),
        // The reason that the app's user meets is the session's, whichever of the two tokens told it.
        Err(Error::Refusal(own @ (Refusal::Busy(_) | Refusal::PasswordChangeRequired))) => Err(own.into()),
        Err(Error::Refusal(_)) => Err(refusal.into()),
        Err(fault) => Err(fault.into()),
    }
}

/// Whether a refresh cookie is worth a try: by its signature and times alone.
pub fn seems_possible(door: &Doorward, request: &HttpRequest) -> bool {
    let cookie = refresh_cookie(door, request).ok().flatten();
    cookie.is_some_and(|token| door.core().may_be_refreshed(&token))
}
