//! The confirmation page, `/register/confirm`: the target of the link in the email of a registration. The account and its first
//! session begin when the password is submitted; opening the page changes nothing, since mail scanners open links. Whether the
//! link's token and the password are valid is decided by core.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;
use url::form_urlencoded;

use super::csrf_form::AnonymousCsrf;
use super::current_user::clear_dead_cookies;
use super::layout::Layout;
use super::{refusals, sign_in_fields};
use crate::core::error::Error;
use crate::core::registration::confirmed_sign_up::SignUpConfirmation;
use crate::secret::Secret;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError, WebError};

/// The parameter of the link's query with the confirmation token.
const TOKEN: &str = "token";

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    layout: Layout<'a>,
    csrf_token: String,
    confirmation: &'a str,
    remember: bool,
    error: Option<String>,
}

/// `GET /register/confirm`: the form, which is the same for every token.
pub async fn show(context: RequestContext) -> HandlerResult {
    require_confirmation_by_mail(&context)?;
    let query = form_urlencoded::parse(context.request.query_string().as_bytes());
    let confirmation = query.into_iter().find_map(|(name, value)| (name == TOKEN).then_some(value));
    let (csrf, confirmation) = (AnonymousCsrf::of(&context)?, confirmation.as_deref().unwrap_or_default());
    let page = form(&context, &csrf, confirmation, true, StatusCode::OK, None)?;
    clear_dead_cookies(&context, page)
}

/// `POST /register/confirm`: confirms the registration and signs in, or shows the form with an error.
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    require_confirmation_by_mail(&context)?;
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let csrf = AnonymousCsrf::of(&context)?;
    let is_csrf_valid = csrf.verify(&context, &mut fields);
    let password = fields.required_secret("password");
    let confirmation = fields.text("confirmation").unwrap_or_default();
    let remember = fields.text("remember").is_some_and(|checked| !checked.is_empty());
    if !is_csrf_valid {
        let error = Layout::of(&context).t.form_expired.to_owned();
        return form(&context, &csrf, &confirmation, remember, StatusCode::FORBIDDEN, Some(error));
    }
    let first_session = sign_in_fields::new_session(&context, remember);
    let request = SignUpConfirmation { token: Secret::new(confirmation.as_str()), password };
    match context.confirm_sign_up(request, first_session).await {
        Ok(confirmed) => {
            // Checked again: the settings may have changed since the registration.
            let return_url = confirmed.return_to.and_then(|url| context.service.redirects().allowed(&url));
            sign_in_fields::redirect_after_sign_in(&context, return_url.as_deref(), &confirmed.signed_in.issued)
        }
        Err(error @ Error::Refusal(_)) => {
            let error = WebError::from(error);
            let message = refusals::error_text(&error, Layout::of(&context).t);
            let page = form(&context, &csrf, &confirmation, remember, refusals::status(&error), Some(message));
            refusals::with_headers(page, &error)
        }
        Err(error) => Err(error.into()),
    }
}

/// Without confirmation by email this page does not exist.
fn require_confirmation_by_mail(context: &RequestContext) -> Result<(), RequestError> {
    if context.confirms_by_mail() { Ok(()) } else { Err(RequestError::RouteNotFound) }
}

fn form(
    context: &RequestContext,
    csrf: &AnonymousCsrf,
    confirmation: &str,
    remember: bool,
    status: StatusCode,
    error: Option<String>,
) -> HandlerResult {
    let layout = Layout::of(context);
    let page = ConfirmPage { layout, csrf_token: csrf.token(context), confirmation, remember, error };
    csrf.set_cookie(context, layout.answer(status, &page)?)
}
