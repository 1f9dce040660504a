//! The sign-out page, `/logout`: asks for confirmation, and signs out when the form is submitted. Which sessions end is decided
//! by core.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::{session_token, verify_session_token};
use super::layout::{Layout, Message, redirect, return_url, with_return_url};
use crate::core::SessionId;
use crate::core::error::Error;
use crate::core::session::presented_tokens::PresentedTokens;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::redirect::RETURN_PARAMETER;

#[derive(Template)]
#[template(path = "sign_out.html")]
struct SignOutPage<'a> {
    layout: Layout<'a>,
    csrf_token: String,
    return_url: Option<&'a str>,
    error: Option<&'a str>,
}

/// `GET /logout`: asks for confirmation, so that a link on another site cannot sign a user out.
pub async fn show(context: RequestContext) -> HandlerResult {
    let return_url = return_url(&context);
    match presented_sessions(&context).first() {
        Some(session) => form(&context, *session, return_url.as_deref(), StatusCode::OK, None),
        None => signed_out(&context, return_url.as_deref()),
    }
}

/// `POST /logout`: ends the sessions and clears the cookies.
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let sessions = presented_sessions(&context);
    let return_url = fields.text(RETURN_PARAMETER).and_then(|url| context.service.redirects().allowed(&url));
    if let Some(session) = sessions.first().filter(|_| !verify_session_token(&context, &sessions, &mut fields)) {
        let error = Layout::of(&context).t.form_expired;
        return form(&context, *session, return_url.as_deref(), StatusCode::FORBIDDEN, Some(error));
    }
    let ended = if context.has_duplicate_cookies() {
        context.sign_out_duplicates(PresentedTokens::default()).await
    } else {
        context.sign_out(context.presented_cookies()?).await
    };
    match ended {
        // A refusal means that the cookies belong to no session: there is nothing to end, and they are cleared.
        Ok(()) | Err(Error::Refusal(_)) => context.clear_cookies(redirect(return_url.as_deref().unwrap_or("/logout"))),
        Err(error) => Err(error.into()),
    }
}

/// The sessions of the cookies that the browser sent, of several of one name all.
fn presented_sessions(context: &RequestContext) -> Vec<SessionId> {
    let core = context.service.core();
    match context.presented_cookies() {
        Ok(presented) => core.sessions_of_tokens(&presented),
        Err(_duplicate) => {
            context.tokens_of_duplicates().iter().flat_map(|presented| core.sessions_of_tokens(presented)).collect()
        }
    }
}

fn form(
    context: &RequestContext,
    session: SessionId,
    return_url: Option<&str>,
    status: StatusCode,
    error: Option<&str>,
) -> HandlerResult {
    let layout = Layout::of(context);
    layout.answer(status, &SignOutPage { layout, csrf_token: session_token(context, session), return_url, error })
}

fn signed_out(context: &RequestContext, return_url: Option<&str>) -> HandlerResult {
    let layout = Layout::of(context);
    let page = Message {
        layout,
        title: layout.t.signed_out,
        sentences: vec![layout.t.signed_out_hint.to_owned()],
        link: (with_return_url("/login", return_url), layout.t.sign_in),
        request_id: None,
        is_error: false,
    };
    layout.answer(StatusCode::OK, &page)
}
