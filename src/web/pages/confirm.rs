//! `/register/confirm`: where the link of a sign-up's mail leads. The password is asked for again; the account and its first
//! session begin with it. A look at the page changes nothing, for mail scanners open links.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;
use url::form_urlencoded;

use super::csrf_form::Guest;
use super::current_user::without_dead_cookies;
use super::layout::Layout;
use super::{refusals, sign_in_fields};
use crate::core::error::Error;
use crate::secret::Secret;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError, WebError};

/// What the link carries in its query.
const TOKEN: &str = "token";

#[derive(Template)]
#[template(path = "confirm.html")]
struct Page<'a> {
    layout: Layout<'a>,
    token: String,
    confirmation: &'a str,
    remember: bool,
    error: Option<String>,
}

/// `GET /register/confirm`
pub async fn show(context: RequestContext) -> HandlerResult {
    refuse_without_mail(&context)?;
    let query = form_urlencoded::parse(context.request.query_string().as_bytes());
    let confirmation = query.into_iter().find_map(|(name, value)| (name == TOKEN).then_some(value));
    let page =
        form(&context, &Guest::of(&context)?, confirmation.as_deref().unwrap_or_default(), true, StatusCode::OK, None)?;
    without_dead_cookies(&context, page)
}

/// `POST /register/confirm`
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    refuse_without_mail(&context)?;
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let guest = Guest::of(&context)?;
    let is_ours = guest.sent(&context, &mut fields);
    let password = fields.required_secret("password");
    let confirmation = fields.text("confirmation").unwrap_or_default();
    let remember = fields.text("remember").is_some_and(|ticked| !ticked.is_empty());
    if !is_ours {
        let error = Layout::of(&context).t.form_expired.to_owned();
        return form(&context, &guest, &confirmation, remember, StatusCode::FORBIDDEN, Some(error));
    }
    let wish = sign_in_fields::wish(&context, Vec::new(), password, remember)?;
    match context.confirm_sign_up(Secret::new(confirmation.as_str()), wish).await {
        Ok(confirmed) => {
            let back = confirmed.return_to.and_then(|back| context.service.redirects().allowed(&back));
            sign_in_fields::go_on(&context, back.as_deref(), &confirmed.signed_in.issued)
        }
        Err(error @ Error::Refusal(_)) => {
            let error = WebError::from(error);
            let said = refusals::error_text(&error, Layout::of(&context).t);
            let page = form(&context, &guest, &confirmation, remember, refusals::status(&error), Some(said));
            refusals::with_headers(page, &error)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Where answers tell how a sign-up ended, there is nothing to confirm.
fn refuse_without_mail(context: &RequestContext) -> Result<(), RequestError> {
    if context.confirms_by_mail() { Ok(()) } else { Err(RequestError::RouteNotFound) }
}

fn form(
    context: &RequestContext,
    guest: &Guest,
    confirmation: &str,
    remember: bool,
    status: StatusCode,
    error: Option<String>,
) -> HandlerResult {
    let layout = Layout::of(context);
    let page = Page { layout, token: guest.token(context), confirmation, remember, error };
    guest.keep(context, layout.answer(status, &page)?)
}
