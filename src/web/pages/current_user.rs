//! Who looks at a page: by the access cookie, or else by the refresh cookie, which is then spent as the protocol says.
//! Nothing but that refresh is changed by looking.

use actix_web::HttpResponse;
use actix_web::http::Method;

use crate::core::caller::Caller;
use crate::core::error::{Error, Refusal};
use crate::core::session::Issued;
use crate::core::session::end::PresentedTokens;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError, WebError};

/// Somebody who is signed in.
#[derive(Debug)]
pub struct CurrentUser {
    /// Who.
    pub caller: Caller,
    renewed: Option<Issued>,
}

impl CurrentUser {
    /// The visitor, if one is signed in and need not change the password first.
    pub async fn of(context: &RequestContext) -> Result<Option<Self>, WebError> {
        let Some(visitor) = Self::restricted(context).await? else { return Ok(None) };
        let caller = visitor.caller.require_full_access()?;
        Ok(Some(Self { caller, ..visitor }))
    }

    /// As `of`, whatever they must do first. `Err` is a doubt: the service is busy, or the cookies contradict each other.
    pub async fn restricted(context: &RequestContext) -> Result<Option<Self>, WebError> {
        if let Some(access) = context.access_cookie()? {
            match context.resolve_restricted(Some(access)).await {
                Ok(caller) => return Ok(Some(Self { caller, renewed: None })),
                Err(error) if is_doubt(&error) => return Err(error.into()),
                Err(_no) => {}
            }
        }
        let Some(renewed) = renewed(context).await? else { return Ok(None) };
        let caller = context.service.core().caller_of(&renewed)?;
        Ok(Some(Self { caller, renewed: Some(renewed) }))
    }

    /// The tokens that were made while looking.
    pub fn renewed(&self) -> Option<&Issued> {
        self.renewed.as_ref()
    }

    /// The tokens that the browser holds once it has the answer.
    pub fn tokens(&self, context: &RequestContext) -> Result<PresentedTokens, RequestError> {
        Ok(match &self.renewed {
            Some(issued) => {
                PresentedTokens { access: Some(issued.access.clone()), refresh: Some(issued.refresh.clone()) }
            }
            None => context.presented_cookies()?,
        })
    }

    /// Sets the tokens that were made while looking, on an answer.
    pub fn keep(&self, context: &RequestContext, answer: HttpResponse) -> HandlerResult {
        match &self.renewed {
            Some(issued) => context.set_cookies(answer, issued),
            None => Ok(answer),
        }
    }
}

/// Spends the refresh cookie. `None`: there is none that is worth anything.
pub async fn renewed(context: &RequestContext) -> Result<Option<Issued>, WebError> {
    let Some(token) = context.refresh_cookie()?.filter(|_| context.request.method() != Method::HEAD) else {
        return Ok(None);
    };
    match context.refresh_by_cookie(token, context.policy()).await {
        Ok(issued) => Ok(Some(issued)),
        Err(error) if is_doubt(&error) => Err(error.into()),
        Err(_no) => Ok(None),
    }
}

/// Clears the cookies if what was found while looking is that their session is over for good.
pub fn without_dead_cookies(context: &RequestContext, answer: HttpResponse) -> HandlerResult {
    if context.should_clear_cookies() { context.clear_cookies(answer) } else { Ok(answer) }
}

fn is_doubt(error: &Error) -> bool {
    matches!(error, Error::InternalError(_) | Error::Refusal(Refusal::Busy(_) | Refusal::Throttled(_)))
}
