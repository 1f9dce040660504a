//! The registration page, `/register`: shows the form and handles its submission, with a session as the result or, where
//! registration is confirmed by email, with a page that is the same whether or not the address has an account. Which accounts
//! are valid is decided by core.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::AnonymousCsrf;
use super::current_user::{CurrentUser, clear_dead_cookies};
use super::layout::{Layout, Message, return_url, with_return_url};
use super::{redirect_loop, refusals, sign_in_fields};
use crate::core::error::{Error, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::web::pages::layout::texts::catalog::count;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::field_error::wire_name;
use crate::web::response::redirect::RETURN_PARAMETER;

#[derive(Template)]
#[template(path = "register.html")]
struct RegisterPage<'a> {
    layout: Layout<'a>,
    csrf_token: String,
    return_url: Option<&'a str>,
    sign_in_url: String,
    email: &'a str,
    username: &'a str,
    identifier_hint: &'static str,
    /// Whether the registration begins a session, so that there is something to remember.
    begins_session: bool,
    remember: bool,
    password_rule: String,
    error: Option<String>,
    field_errors: FieldErrors,
}

/// The errors beside the fields.
#[derive(Default)]
struct FieldErrors {
    email: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// The submitted values that the form shows again: all but the password.
#[derive(Default)]
struct RegisterInput {
    return_url: Option<String>,
    email: String,
    username: String,
    remember: bool,
}

/// `GET /register`: the form, or a redirect if the user is signed in already.
pub async fn show(context: RequestContext) -> HandlerResult {
    let return_url = return_url(&context);
    if let Some(user) = CurrentUser::find_restricted(&context).await? {
        return redirect_loop::redirect_signed_in(&context, return_url.as_deref(), &user);
    }
    if !context.service.theme().signup {
        return sign_up_closed(&context, return_url.as_deref());
    }
    let input = RegisterInput { return_url, remember: true, ..RegisterInput::default() };
    let csrf = AnonymousCsrf::of(&context)?;
    let page = form(&context, &csrf, &input, StatusCode::OK, None, FieldErrors::default())?;
    clear_dead_cookies(&context, page)
}

/// `POST /register`: registers, or shows the form with errors.
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let csrf = AnonymousCsrf::of(&context)?;
    let is_csrf_valid = csrf.verify(&context, &mut fields);
    let password = fields.required_secret("password");
    let mut text = |field: &str| fields.text(field).unwrap_or_default();
    let (email, username, remember) = (text("email"), text("username"), !text("remember").is_empty());
    let return_url = context.service.redirects().allowed(&text(RETURN_PARAMETER));
    let input = RegisterInput { return_url, email, username, remember };
    if !is_csrf_valid {
        let error = Layout::of(&context).t.form_expired.to_owned();
        return form(&context, &csrf, &input, StatusCode::FORBIDDEN, Some(error), FieldErrors::default());
    }
    let non_empty = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (email, username) = (non_empty(&input.email), non_empty(&input.username));
    let registration = Registration { email, username, password: Some(password), ..Registration::default() };
    if context.confirms_by_mail() {
        return match context.sign_up_with_confirmation(registration, input.return_url.clone()).await {
            Ok(()) => confirmation_sent(&context, input.return_url.as_deref()),
            Err(error @ Error::Refusal(_)) => refused(&context, &csrf, &input, error),
            Err(error) => Err(error.into()),
        };
    }
    let first_session = sign_in_fields::new_session(&context, input.remember);
    match context.sign_up(registration, first_session).await {
        Ok(signed_up) => {
            sign_in_fields::redirect_after_sign_in(&context, input.return_url.as_deref(), &signed_up.issued)
        }
        Err(error @ Error::Refusal(_)) => refused(&context, &csrf, &input, error),
        Err(error) => Err(error.into()),
    }
}

fn refused(context: &RequestContext, csrf: &AnonymousCsrf, input: &RegisterInput, error: Error) -> HandlerResult {
    if let Error::Refusal(Refusal::SignUpClosed) = error {
        return sign_up_closed(context, input.return_url.as_deref());
    }
    let t = Layout::of(context).t;
    let mut field_errors = FieldErrors::default();
    if let Error::Refusal(Refusal::InvalidFields(errors)) = &error {
        for error in errors {
            let message = Some(refusals::field_text(error.rule, t));
            match wire_name(&error.field) {
                "email" => field_errors.email = message,
                "username" => field_errors.username = message,
                _ => field_errors.password = message,
            }
        }
    }
    let error = WebError::from(error);
    let page =
        form(context, csrf, input, refusals::status(&error), Some(refusals::error_text(&error, t)), field_errors);
    refusals::with_headers(page, &error)
}

fn confirmation_sent(context: &RequestContext, return_url: Option<&str>) -> HandlerResult {
    let t = Layout::of(context).t;
    message(context, StatusCode::ACCEPTED, t.check_mailbox, t.confirmation_sent, return_url)
}

fn sign_up_closed(context: &RequestContext, return_url: Option<&str>) -> HandlerResult {
    let t = Layout::of(context).t;
    message(context, StatusCode::FORBIDDEN, t.register, t.sign_up_closed, return_url)
}

/// A message in place of the form, with a link to the sign-in page.
fn message(
    context: &RequestContext,
    status: StatusCode,
    title: &str,
    sentence: &str,
    return_url: Option<&str>,
) -> HandlerResult {
    let layout = Layout::of(context);
    let page = Message {
        layout,
        title,
        sentences: vec![sentence.to_owned()],
        link: (with_return_url("/login", return_url), layout.t.sign_in),
        request_id: None,
        is_error: false,
    };
    layout.answer(status, &page)
}

fn form(
    context: &RequestContext,
    csrf: &AnonymousCsrf,
    input: &RegisterInput,
    status: StatusCode,
    error: Option<String>,
    field_errors: FieldErrors,
) -> HandlerResult {
    let layout = Layout::of(context);
    let return_url = input.return_url.as_deref();
    let is_email_required = context.confirms_by_mail();
    let page = RegisterPage {
        layout,
        csrf_token: csrf.token(context),
        return_url,
        sign_in_url: with_return_url("/login", return_url),
        email: &input.email,
        username: &input.username,
        identifier_hint: if is_email_required { layout.t.email_required } else { layout.t.email_or_username },
        begins_session: !is_email_required,
        remember: input.remember,
        password_rule: count(layout.t.password_rule, layout.theme.password_min_length.into()),
        error,
        field_errors,
    };
    csrf.set_cookie(context, layout.answer(status, &page)?)
}
