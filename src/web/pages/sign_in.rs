//! `/login`: the form, and what becomes of it. Who may sign in is core's to decide.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::Guest;
use super::current_user::{CurrentUser, without_dead_cookies};
use super::layout::{Layout, host_of, way_back, with_back};
use super::{redirect_loop, refusals, sign_in_fields};
use crate::core::account::identifier::IdentifierKind;
use crate::core::error::Error;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::redirect::RETURN_PARAMETER;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    layout: Layout<'a>,
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
pub async fn show(context: RequestContext) -> HandlerResult {
    let back = way_back(&context);
    if let Some(visitor) = CurrentUser::restricted(&context).await? {
        return redirect_loop::onwards(&context, back.as_deref(), &visitor);
    }
    let filled = Filled { back, remember: true, ..Filled::default() };
    let page = form(&context, &Guest::of(&context)?, &filled, StatusCode::OK, None)?;
    without_dead_cookies(&context, page)
}

/// `POST /login`
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let guest = Guest::of(&context)?;
    let is_ours = guest.sent(&context, &mut fields);
    let password = fields.required_secret("password");
    let back = fields.text(RETURN_PARAMETER).and_then(|back| context.service.redirects().allowed(&back));
    let remember = fields.text("remember").is_some();
    let filled = Filled { back, remember, identifier: fields.text("identifier").unwrap_or_default() };
    if !is_ours {
        let error = Layout::of(&context).t.form_expired.to_owned();
        return form(&context, &guest, &filled, StatusCode::FORBIDDEN, Some(error));
    }
    let identifiers = vec![(IdentifierKind::Any, filled.identifier.clone())];
    match context.sign_in(sign_in_fields::wish(&context, identifiers, password, filled.remember)?).await {
        Ok(signed_in) => sign_in_fields::go_on(&context, filled.back.as_deref(), &signed_in.issued),
        Err(error @ Error::Refusal(_)) => {
            let error = WebError::from(error);
            let said = refusals::error_text(&error, Layout::of(&context).t);
            let page = form(&context, &guest, &filled, refusals::status(&error), Some(said));
            refusals::with_headers(page, &error)
        }
        Err(fault) => Err(fault.into()),
    }
}

fn form(
    context: &RequestContext,
    guest: &Guest,
    filled: &Filled,
    status: StatusCode,
    error: Option<String>,
) -> HandlerResult {
    let layout = Layout::of(context);
    let back = filled.back.as_deref();
    let page = Page {
        layout,
        token: guest.token(context),
        back,
        leads_to: host_of(back).map(|host| layout.t.sign_in_to.replace("{}", &host)),
        register: with_back("/register", back),
        identifier: &filled.identifier,
        remember: filled.remember,
        error,
    };
    guest.keep(context, layout.answer(status, &page)?)
}
