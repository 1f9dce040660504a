//! The page for a signed-in user whose account lacks the role or permission of a path: who is signed in, and how to switch to another
//! account. `/auth/forward` redirects browsers to it; a proxy that only evaluates the status shows it in place of its own page for
//! 403. Which account may do what is decided by decision.rs.

use actix_web::http::StatusCode;

use super::forwarded_request::ForwardedRequest;
use super::navigation;
use crate::core::error::Refusal;
use crate::web::pages::current_user::{CurrentUser, clear_dead_cookies};
use crate::web::pages::layout::{Layout, Message, redirect, return_url, with_return_url};
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;

/// `GET /access-denied`: 403, and for a browser that loads a page, that page.
pub async fn show(context: RequestContext) -> HandlerResult {
    let method = context.request.method().as_str();
    // A redirect, or a page with another status, would look like the app's own answer to a script.
    if !context.service.theme().serves_pages || !navigation::is_navigation(context.request.headers(), method) {
        return Err(Refusal::PermissionDenied.into());
    }
    let return_url = return_url(&context).or_else(|| refused_url(&context));
    let Some(user) = CurrentUser::find_restricted(&context).await? else {
        let page = context.service.redirects().sign_in_page(return_url.as_deref());
        return clear_dead_cookies(&context, redirect(&page));
    };
    if user.caller.must_change_password {
        let page = context.service.redirects().account_page(return_url.as_deref());
        return user.set_cookies(&context, redirect(&page));
    }
    let account = context.account_of(&user.caller).await?;
    let name = account.email.or(account.username).or(account.name).unwrap_or_else(|| account.uuid.to_string());
    let layout = Layout::of(&context);
    let page = Message {
        layout,
        title: layout.t.access_denied,
        sentences: vec![layout.t.signed_in_as.replace("{}", &name)],
        link: (with_return_url("/logout", return_url.as_deref()), layout.t.switch_account),
        request_id: None,
        is_error: true,
    };
    user.set_cookies(&context, layout.answer(StatusCode::FORBIDDEN, &page)?)
}

/// The URL that a proxy refused, as it describes it in the forwarded headers.
fn refused_url(context: &RequestContext) -> Option<String> {
    let service = &context.service;
    let read = ForwardedRequest::read(&context.request, service.forward_auth().forwarded_headers, service.proxies());
    let forwarded = read.ok().flatten().filter(|forwarded| matches!(forwarded.method.as_str(), "GET" | "HEAD"))?;
    service.redirects().allowed(&forwarded.url())
}
