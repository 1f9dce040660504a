//! `/register`: the form, and what becomes of it. What an account must be is core's to decide.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::Guest;
use super::current_user::{Visitor, without_dead_cookies};
use super::layout::{Frame, Message, way_back, with_back};
use super::{redirect_loop, refusals, sign_in_fields};
use crate::core::error::{Error, Refusal};
use crate::core::registration::sign_up::NewPerson;
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::redirect::BACK;
use crate::web::pages::texts::catalog::count;

#[derive(Template)]
#[template(path = "register.html")]
struct Page<'a> {
    frame: Frame<'a>,
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
pub async fn show(call: Call) -> Answered {
    let back = way_back(&call);
    if let Some(visitor) = Visitor::restricted(&call).await? {
        return redirect_loop::onwards(&call, back.as_deref(), &visitor);
    }
    if !call.door.site().signup {
        return closed(&call, back.as_deref());
    }
    let filled = Filled { back, remember: true, ..Filled::default() };
    let page = form(&call, &Guest::of(&call)?, &filled, StatusCode::OK, None, Faults::default())?;
    without_dead_cookies(&call, page)
}

/// `POST /register`
pub async fn submit(call: Call, mut payload: Payload) -> Answered {
    let mut fields = Fields::form(&call.request, &mut payload).await?;
    let guest = Guest::of(&call)?;
    let is_ours = guest.sent(&call, &mut fields);
    let password = fields.required_secret("password");
    let mut text = |field: &str| fields.text(field).unwrap_or_default();
    let (email, username, remember) = (text("email"), text("username"), !text("remember").is_empty());
    let back = call.door.redirects().allowed(&text(BACK));
    let filled = Filled { back, email, username, remember };
    if !is_ours {
        let error = Frame::of(&call).t.form_expired.to_owned();
        return form(&call, &guest, &filled, StatusCode::FORBIDDEN, Some(error), Faults::default());
    }
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (email, username) = (given(&filled.email), given(&filled.username));
    let person = NewPerson { email, username, password: Some(password.clone()), ..NewPerson::default() };
    if call.tells_by_mail() {
        return match call.sign_up_silently(person, filled.back.clone()).await {
            Ok(()) => look_for_mail(&call, filled.back.as_deref()),
            Err(error @ Error::Refusal(_)) => refused(&call, &guest, &filled, &error),
            Err(fault) => Err(fault.into()),
        };
    }
    let wish = sign_in_fields::wish(&call, Vec::new(), password, filled.remember)?;
    match call.sign_up(person, wish).await {
        Ok(signed_up) => sign_in_fields::go_on(&call, filled.back.as_deref(), &signed_up.issued),
        Err(error @ Error::Refusal(_)) => refused(&call, &guest, &filled, &error),
        Err(fault) => Err(fault.into()),
    }
}

fn refused(call: &Call, guest: &Guest, filled: &Filled, error: &Error) -> Answered {
    if let Error::Refusal(Refusal::SignUpClosed) = error {
        return closed(call, filled.back.as_deref());
    }
    let t = Frame::of(call).t;
    let mut faults = Faults::default();
    if let Error::Refusal(Refusal::InvalidFields(of_fields)) = error {
        for fault in of_fields {
            let said = Some(refusals::of_field(fault.rule, t));
            match fault.field.as_str() {
                "email" => faults.email = said,
                "username" => faults.username = said,
                _ => faults.password = said,
            }
        }
    }
    let page = form(call, guest, filled, refusals::status(error), Some(refusals::said(error, t)), faults);
    refusals::with_headers(page, error)
}

fn look_for_mail(call: &Call, back: Option<&str>) -> Answered {
    let frame = Frame::of(call);
    let page = Message {
        frame,
        title: frame.t.look_for_mail,
        sentences: vec![frame.t.mail_is_on_its_way.to_owned()],
        link: (with_back("/login", back), frame.t.sign_in),
        id: None,
        alarming: false,
    };
    frame.answer(StatusCode::ACCEPTED, &page)
}

fn closed(call: &Call, back: Option<&str>) -> Answered {
    let frame = Frame::of(call);
    let page = Message {
        frame,
        title: frame.t.register,
        sentences: vec![frame.t.closed.to_owned()],
        link: (with_back("/login", back), frame.t.sign_in),
        id: None,
        alarming: false,
    };
    frame.answer(StatusCode::FORBIDDEN, &page)
}

fn form(
    call: &Call,
    guest: &Guest,
    filled: &Filled,
    status: StatusCode,
    error: Option<String>,
    faults: Faults,
) -> Answered {
    let frame = Frame::of(call);
    let back = filled.back.as_deref();
    let page = Page {
        frame,
        token: guest.token(call),
        back,
        sign_in: with_back("/login", back),
        email: &filled.email,
        username: &filled.username,
        names: if call.tells_by_mail() { frame.t.email_needed } else { frame.t.either },
        begins_session: !call.tells_by_mail(),
        remember: filled.remember,
        rule: count(frame.t.password_rule, frame.site.password_min_length.into()),
        error,
        faults,
    };
    guest.keep(call, frame.answer(status, &page)?)
}
