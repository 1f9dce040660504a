//! The sign-in page, `/login`: shows the form and handles its submission. Who may sign in is decided by core; where the browser
//! goes next by redirect_loop.rs and sign_in_fields.rs.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::AnonymousCsrf;
use super::current_user::{CurrentUser, clear_dead_cookies};
use super::layout::{Layout, host_of, return_url, with_return_url};
use super::{redirect_loop, refusals, sign_in_fields};
use crate::core::account::identifier::IdentifierKind;
use crate::core::error::Error;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::redirect::RETURN_PARAMETER;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    layout: Layout<'a>,
    csrf_token: String,
    return_url: Option<&'a str>,
    continues_to: Option<String>,
    register_url: String,
    identifier: &'a str,
    remember: bool,
    error: Option<String>,
}

/// The submitted values that the form shows again: all but the password.
#[derive(Default)]
struct SignInInput {
    return_url: Option<String>,
    identifier: String,
    remember: bool,
}

/// `GET /login`: the form, or a redirect if the user is signed in already.
pub async fn show(context: RequestContext) -> HandlerResult {
    let return_url = return_url(&context);
    if let Some(user) = CurrentUser::find_restricted(&context).await? {
        return redirect_loop::redirect_signed_in(&context, return_url.as_deref(), &user);
    }
    let input = SignInInput { return_url, remember: true, ..SignInInput::default() };
    let page = form(&context, &AnonymousCsrf::of(&context)?, &input, StatusCode::OK, None)?;
    clear_dead_cookies(&context, page)
}

/// `POST /login`: signs in and redirects to the return URL, or shows the form with an error.
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let csrf = AnonymousCsrf::of(&context)?;
    let is_csrf_valid = csrf.verify(&context, &mut fields);
    let password = fields.required_secret("password");
    let return_url = fields.text(RETURN_PARAMETER).and_then(|url| context.service.redirects().allowed(&url));
    let remember = fields.text("remember").is_some();
    let input = SignInInput { return_url, remember, identifier: fields.text("identifier").unwrap_or_default() };
    if !is_csrf_valid {
        let error = Layout::of(&context).t.form_expired.to_owned();
        return form(&context, &csrf, &input, StatusCode::FORBIDDEN, Some(error));
    }
    let identifiers = vec![(IdentifierKind::Any, input.identifier.clone())];
    let request = sign_in_fields::sign_in_request(&context, identifiers, password, input.remember);
    match context.sign_in(request).await {
        Ok(signed_in) => {
            sign_in_fields::redirect_after_sign_in(&context, input.return_url.as_deref(), &signed_in.issued)
        }
        Err(error @ Error::Refusal(_)) => {
            let error = WebError::from(error);
            let message = refusals::error_text(&error, Layout::of(&context).t);
            let page = form(&context, &csrf, &input, refusals::status(&error), Some(message));
            refusals::with_headers(page, &error)
        }
        Err(error) => Err(error.into()),
    }
}

fn form(
    context: &RequestContext,
    csrf: &AnonymousCsrf,
    input: &SignInInput,
    status: StatusCode,
    error: Option<String>,
) -> HandlerResult {
    let layout = Layout::of(context);
    let return_url = input.return_url.as_deref();
    let page = SignInPage {
        layout,
        csrf_token: csrf.token(context),
        return_url,
        continues_to: host_of(return_url).map(|host| layout.t.sign_in_to.replace("{}", &host)),
        register_url: with_return_url("/register", return_url),
        identifier: &input.identifier,
        remember: input.remember,
        error,
    };
    csrf.set_cookie(context, layout.answer(status, &page)?)
}
