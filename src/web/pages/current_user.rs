//! The current user of a page: resolved by the access cookie, or else by a refresh with the refresh cookie, which rotates it as
//! for any client. That refresh is the only change that showing a page makes. Whether a token is valid is decided by core.

use actix_web::HttpResponse;
use actix_web::http::Method;

use crate::core::error::{Error, Refusal};
use crate::core::session::Issued;
use crate::core::session::caller::Caller;
use crate::core::session::presented_tokens::PresentedTokens;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError, WebError};

/// A signed-in user.
#[derive(Debug)]
pub struct CurrentUser {
    /// The account and the session.
    pub caller: Caller,
    refreshed: Option<Issued>,
}

impl CurrentUser {
    /// The current user, if there is one. An error if the password must be changed first.
    pub async fn find(context: &RequestContext) -> Result<Option<Self>, WebError> {
        let Some(user) = Self::find_restricted(context).await? else { return Ok(None) };
        let caller = user.caller.require_full_access()?;
        Ok(Some(Self { caller, ..user }))
    }

    /// As `find`, also if the password must be changed first. An error means that it cannot be decided who the user is: the
    /// service is busy. Cookies of one name with different values identify no user: the sign-in, to which that leads, clears
    /// them.
    pub async fn find_restricted(context: &RequestContext) -> Result<Option<Self>, WebError> {
        if context.has_duplicate_cookies() {
            return Ok(None);
        }
        if let Some(access) = context.access_cookie()? {
            match context.resolve_restricted(Some(access)).await {
                Ok(caller) => return Ok(Some(Self { caller, refreshed: None })),
                Err(error) if is_undecided(&error) => return Err(error.into()),
                Err(_not_signed_in) => {}
            }
        }
        let Some(issued) = refresh(context).await? else { return Ok(None) };
        let caller = context.service.core().caller_of(&issued)?;
        Ok(Some(Self { caller, refreshed: Some(issued) }))
    }

    /// The tokens of the refresh, if there was one.
    pub fn refreshed(&self) -> Option<&Issued> {
        self.refreshed.as_ref()
    }

    /// The tokens that the browser holds once it has the response.
    pub fn tokens(&self, context: &RequestContext) -> Result<PresentedTokens, RequestError> {
        Ok(match &self.refreshed {
            Some(issued) => {
                PresentedTokens { access: Some(issued.access.clone()), refresh: Some(issued.refresh.clone()) }
            }
            None => context.presented_cookies()?,
        })
    }

    /// Sets the cookies of the refresh on the response, if there was one. A response without them would lose the session.
    pub fn set_cookies(&self, context: &RequestContext, response: HttpResponse) -> HandlerResult {
        match &self.refreshed {
            Some(issued) => context.set_cookies(response, issued),
            None => Ok(response),
        }
    }
}

/// Refreshes by the refresh cookie; `None` if there is no valid one. HEAD requests, which link
/// checkers send, do not refresh, so that opening a page does not rotate the token.
pub async fn refresh(context: &RequestContext) -> Result<Option<Issued>, WebError> {
    let cookie = context.refresh_cookie().ok().flatten();
    let Some(token) = cookie.filter(|_| context.request.method() != Method::HEAD) else { return Ok(None) };
    match context.refresh_by_cookie(token, None).await {
        Ok(issued) => Ok(Some(issued)),
        Err(error) if is_undecided(&error) => Err(error.into()),
        Err(_not_signed_in) => Ok(None),
    }
}

/// Clears the session cookies if their session was found to have ended.
pub fn clear_dead_cookies(context: &RequestContext, response: HttpResponse) -> HandlerResult {
    if context.should_clear_cookies() { context.clear_cookies(response) } else { Ok(response) }
}

/// Whether the error leaves open who the user is, so that the page must not treat the browser as signed out.
fn is_undecided(error: &Error) -> bool {
    matches!(
        error,
        Error::InternalError(_) | Error::Refusal(Refusal::Busy(_) | Refusal::Throttled(_) | Refusal::RateLimited(_))
    )
}
