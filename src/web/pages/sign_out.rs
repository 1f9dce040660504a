//! `/logout`: asks, and does it when it is told so. What ends is core's to decide.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::{sent_by, token_of};
use super::layout::{Layout, Message, redirect, way_back, with_back};
use crate::core::SessionId;
use crate::core::error::Error;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError};
use crate::web::response::redirect::RETURN_PARAMETER;

#[derive(Template)]
#[template(path = "sign_out.html")]
struct Page<'a> {
    layout: Layout<'a>,
    token: String,
    back: Option<&'a str>,
    error: Option<&'a str>,
}

/// `GET /logout`: a question, since a link must not be able to sign anybody out.
pub async fn show(context: RequestContext) -> HandlerResult {
    let back = way_back(&context);
    match held(&context)?.first() {
        Some(session) => question(&context, *session, back.as_deref(), StatusCode::OK, None),
        None => signed_out(&context, back.as_deref()),
    }
}

/// `POST /logout`
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let sessions = held(&context)?;
    let back = fields.text(RETURN_PARAMETER).and_then(|back| context.service.redirects().allowed(&back));
    if let Some(session) = sessions.first().filter(|_| !sent_by(&context, &sessions, &mut fields)) {
        let error = Layout::of(&context).t.form_expired;
        return question(&context, *session, back.as_deref(), StatusCode::FORBIDDEN, Some(error));
    }
    match context.sign_out(context.presented_cookies()?).await {
        // Tokens that name no session: there is nothing to end, and nothing to keep.
        Ok(()) | Err(Error::Refusal(_)) => context.clear_cookies(redirect(back.as_deref().unwrap_or("/logout"))),
        Err(fault) => Err(fault.into()),
    }
}

/// The sessions that the cookies name.
fn held(context: &RequestContext) -> Result<Vec<SessionId>, RequestError> {
    Ok(context.service.core().sessions_of_tokens(&context.presented_cookies()?))
}

fn question(
    context: &RequestContext,
    session: SessionId,
    back: Option<&str>,
    status: StatusCode,
    error: Option<&str>,
) -> HandlerResult {
    let layout = Layout::of(context);
    layout.answer(status, &Page { layout, token: token_of(context, session), back, error })
}

fn signed_out(context: &RequestContext, back: Option<&str>) -> HandlerResult {
    let layout = Layout::of(context);
    let page = Message {
        layout,
        title: layout.t.signed_out,
        sentences: vec![layout.t.signed_out_hint.to_owned()],
        link: (with_back("/login", back), layout.t.sign_in),
        id: None,
        alarming: false,
    };
    layout.answer(StatusCode::OK, &page)
}
