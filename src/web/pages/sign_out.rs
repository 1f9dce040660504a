//! `/logout`: asks, and does it when it is told so. What ends is core's to decide.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::{sent_by, token_of};
use super::layout::{Frame, Message, redirect, way_back, with_back};
use crate::core::SessionId;
use crate::core::error::Error;
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::redirect::BACK;

#[derive(Template)]
#[template(path = "sign_out.html")]
struct Page<'a> {
    frame: Frame<'a>,
    token: String,
    back: Option<&'a str>,
    error: Option<&'a str>,
}

/// `GET /logout`: a question, since a link must not be able to sign anybody out.
pub async fn show(call: Call) -> Answered {
    let back = way_back(&call);
    match held(&call)?.first() {
        Some(session) => question(&call, *session, back.as_deref(), StatusCode::OK, None),
        None => signed_out(&call, back.as_deref()),
    }
}

/// `POST /logout`
pub async fn submit(call: Call, mut payload: Payload) -> Answered {
    let mut fields = Fields::form(&call.request, &mut payload).await?;
    let sessions = held(&call)?;
    let back = fields.text(BACK).and_then(|back| call.door.redirects().allowed(&back));
    if let Some(session) = sessions.first().filter(|_| !sent_by(&call, &sessions, &mut fields)) {
        let error = Frame::of(&call).t.form_expired;
        return question(&call, *session, back.as_deref(), StatusCode::FORBIDDEN, Some(error));
    }
    match call.sign_out(call.presented_cookies()?).await {
        // Tokens that name no session: there is nothing to end, and nothing to keep.
        Ok(()) | Err(Error::Refusal(_)) => call.clear_cookies(redirect(back.as_deref().unwrap_or("/logout"))),
        Err(fault) => Err(fault.into()),
    }
}

/// The sessions that the cookies name.
fn held(call: &Call) -> Result<Vec<SessionId>, Error> {
    Ok(call.door.core().sessions_named_by(&call.presented_cookies()?))
}

fn question(call: &Call, session: SessionId, back: Option<&str>, status: StatusCode, error: Option<&str>) -> Answered {
    let frame = Frame::of(call);
    frame.answer(status, &Page { frame, token: token_of(call, session), back, error })
}

fn signed_out(call: &Call, back: Option<&str>) -> Answered {
    let frame = Frame::of(call);
    let page = Message {
        frame,
        title: frame.t.signed_out,
        sentences: vec![frame.t.signed_out_hint.to_owned()],
        link: (with_back("/login", back), frame.t.sign_in),
        id: None,
        alarming: false,
    };
    frame.answer(StatusCode::OK, &page)
}
