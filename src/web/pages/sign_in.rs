//! `/login`: the form, and what becomes of it. Who may sign in is core's to decide.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::Guest;
use super::current_user::{Visitor, without_dead_cookies};
use super::layout::{Frame, host_of, way_back, with_back};
use super::{redirect_loop, refusals, sign_in_fields};
use crate::core::account::identifier::IdentifierKind;
use crate::core::error::Error;
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::redirect::BACK;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    frame: Frame<'a>,
    token: String,
    back: Option<&'a str>,
    leads_to: Option<String>,
    register: String,
    identifier: &'a str,
    remember: bool,
    error: Option<String>,
}

/// The form as it was filled in, but for its password.
#[derive(Default)]
struct Filled {
    back: Option<String>,
    identifier: String,
    remember: bool,
}

/// `GET /login`: the form; whoever is signed in goes on.
pub async fn show(call: Call) -> Answered {
    let back = way_back(&call);
    if let Some(visitor) = Visitor::restricted(&call).await? {
        return redirect_loop::onwards(&call, back.as_deref(), &visitor);
    }
    let filled = Filled { back, remember: true, ..Filled::default() };
    let page = form(&call, &Guest::of(&call)?, &filled, StatusCode::OK, None)?;
    without_dead_cookies(&call, page)
}

/// `POST /login`
pub async fn submit(call: Call, mut payload: Payload) -> Answered {
    let mut fields = Fields::form(&call.request, &mut payload).await?;
    let guest = Guest::of(&call)?;
    let is_ours = guest.sent(&call, &mut fields);
    let password = fields.required_secret("password");
    let back = fields.text(BACK).and_then(|back| call.door.redirects().allowed(&back));
    let remember = fields.text("remember").is_some();
    let filled = Filled { back, remember, identifier: fields.text("identifier").unwrap_or_default() };
    if !is_ours {
        let error = Frame::of(&call).t.form_expired.to_owned();
        return form(&call, &guest, &filled, StatusCode::FORBIDDEN, Some(error));
    }
    let identifiers = vec![(IdentifierKind::Any, filled.identifier.clone())];
    match call.sign_in(sign_in_fields::wish(&call, identifiers, password, filled.remember)?).await {
        Ok(signed_in) => sign_in_fields::go_on(&call, filled.back.as_deref(), &signed_in.issued),
        Err(error @ Error::Refusal(_)) => {
            let said = refusals::said(&error, Frame::of(&call).t);
            let page = form(&call, &guest, &filled, refusals::status(&error), Some(said));
            refusals::with_headers(page, &error)
        }
        Err(fault) => Err(fault.into()),
    }
}

fn form(
    call: &Call,
    guest: &Guest,
    filled: &Filled,
    status: StatusCode,
    error: Option<String>,
) -> Result<HttpResponse, crate::web::http::error::WebError> {
    let frame = Frame::of(call);
    let back = filled.back.as_deref();
    let page = Page {
        frame,
        token: guest.token(call),
        back,
        leads_to: host_of(back).map(|host| frame.t.sign_in_to.replace("{}", &host)),
        register: with_back("/register", back),
        identifier: &filled.identifier,
        remember: filled.remember,
        error,
    };
    guest.keep(call, frame.answer(status, &page)?)
}
