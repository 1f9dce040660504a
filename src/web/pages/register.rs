//! `/register`: the form, and what becomes of it. What an account must be is core's to decide.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::Guest;
use super::current_user::{CurrentUser, without_dead_cookies};
use super::layout::{Layout, Message, way_back, with_back};
use super::{redirect_loop, refusals, sign_in_fields};
use crate::core::error::{Error, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::web::pages::texts::catalog::count;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::field_error::wire_name;
use crate::web::response::redirect::RETURN_PARAMETER;

#[derive(Template)]
#[template(path = "register.html")]
struct Page<'a> {
    layout: Layout<'a>,
    token: String,
    back: Option<&'a str>,
    sign_in: String,
    email: &'a str,
    username: &'a str,
    /// What is needed of the two names, and whether a session begins at once.
    names: &'static str,
    begins_session: bool,
    remember: bool,
    rule: String,
    error: Option<String>,
    faults: Faults,
}

/// What is wrong, beside each field.
#[derive(Default)]
struct Faults {
    email: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// The form as it was filled in, but for its password.
#[derive(Default)]
struct Filled {
    back: Option<String>,
    email: String,
    username: String,
    remember: bool,
}

/// `GET /register`: the form; whoever is signed in goes on.
pub async fn show(context: RequestContext) -> HandlerResult {
    let back = way_back(&context);
    if let Some(visitor) = CurrentUser::restricted(&context).await? {
        return redirect_loop::onwards(&context, back.as_deref(), &visitor);
    }
    if !context.service.theme().signup {
        return closed(&context, back.as_deref());
    }
    let filled = Filled { back, remember: true, ..Filled::default() };
    let page = form(&context, &Guest::of(&context)?, &filled, StatusCode::OK, None, Faults::default())?;
    without_dead_cookies(&context, page)
}

/// `POST /register`
pub async fn submit(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let guest = Guest::of(&context)?;
    let is_ours = guest.sent(&context, &mut fields);
    let password = fields.required_secret("password");
    let mut text = |field: &str| fields.text(field).unwrap_or_default();
    let (email, username, remember) = (text("email"), text("username"), !text("remember").is_empty());
    let back = context.service.redirects().allowed(&text(RETURN_PARAMETER));
    let filled = Filled { back, email, username, remember };
    if !is_ours {
        let error = Layout::of(&context).t.form_expired.to_owned();
        return form(&context, &guest, &filled, StatusCode::FORBIDDEN, Some(error), Faults::default());
    }
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (email, username) = (given(&filled.email), given(&filled.username));
    let person = Registration { email, username, password: Some(password.clone()), ..Registration::default() };
    if context.confirms_by_mail() {
        return match context.sign_up_with_confirmation(person, filled.back.clone()).await {
            Ok(()) => look_for_mail(&context, filled.back.as_deref()),
            Err(error @ Error::Refusal(_)) => refused(&context, &guest, &filled, error),
            Err(fault) => Err(fault.into()),
        };
    }
    let wish = sign_in_fields::wish(&context, Vec::new(), password, filled.remember)?;
    match context.sign_up(person, wish).await {
        Ok(signed_up) => sign_in_fields::go_on(&context, filled.back.as_deref(), &signed_up.issued),
        Err(error @ Error::Refusal(_)) => refused(&context, &guest, &filled, error),
        Err(fault) => Err(fault.into()),
    }
}

fn refused(context: &RequestContext, guest: &Guest, filled: &Filled, error: Error) -> HandlerResult {
    if let Error::Refusal(Refusal::SignUpClosed) = error {
        return closed(context, filled.back.as_deref());
    }
    let t = Layout::of(context).t;
    let mut faults = Faults::default();
    if let Error::Refusal(Refusal::InvalidFields(of_fields)) = &error {
        for fault in of_fields {
            let said = Some(refusals::field_text(fault.rule, t));
            match wire_name(&fault.field) {
                "email" => faults.email = said,
                "username" => faults.username = said,
                _ => faults.password = said,
            }
        }
    }
    let error = WebError::from(error);
    let page = form(context, guest, filled, refusals::status(&error), Some(refusals::error_text(&error, t)), faults);
    refusals::with_headers(page, &error)
}

fn look_for_mail(context: &RequestContext, back: Option<&str>) -> HandlerResult {
    let layout = Layout::of(context);
    let page = Message {
        layout,
        title: layout.t.look_for_mail,
        sentences: vec![layout.t.mail_is_on_its_way.to_owned()],
        link: (with_back("/login", back), layout.t.sign_in),
        id: None,
        alarming: false,
    };
    layout.answer(StatusCode::ACCEPTED, &page)
}

fn closed(context: &RequestContext, back: Option<&str>) -> HandlerResult {
    let layout = Layout::of(context);
    let page = Message {
        layout,
        title: layout.t.register,
        sentences: vec![layout.t.closed.to_owned()],
        link: (with_back("/login", back), layout.t.sign_in),
        id: None,
        alarming: false,
    };
    layout.answer(StatusCode::FORBIDDEN, &page)
}

fn form(
    context: &RequestContext,
    guest: &Guest,
    filled: &Filled,
    status: StatusCode,
    error: Option<String>,
    faults: Faults,
) -> HandlerResult {
    let layout = Layout::of(context);
    let back = filled.back.as_deref();
    let page = Page {
        layout,
        token: guest.token(context),
        back,
        sign_in: with_back("/login", back),
        email: &filled.email,
        username: &filled.username,
        names: if context.confirms_by_mail() { layout.t.email_needed } else { layout.t.either },
        begins_session: !context.confirms_by_mail(),
        remember: filled.remember,
        rule: count(layout.t.password_rule, layout.theme.password_min_length.into()),
        error,
        faults,
    };
    guest.keep(context, layout.answer(status, &page)?)
}
