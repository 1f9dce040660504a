//! `/account`: who somebody is here, their password, their devices. What each button does is core's to decide.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::{sent_by, token_of};
use super::current_user::{Visitor, without_dead_cookies};
use super::layout::{Frame, redirect, way_back};
use super::{device, refusals};
use crate::core::account::Account;
use crate::core::credential::password_change::PasswordChange;
use crate::core::error::{Error, Refusal};
use crate::core::session::Session;
use crate::core::{Core, Id128};
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::redirect::BACK;
use crate::web::pages::texts::catalog::count;

/// The page itself.
const HERE: &str = "/account";

#[derive(Template)]
#[template(path = "account.html")]
struct Page<'a> {
    frame: Frame<'a>,
    token: String,
    rows: Vec<(&'a str, String)>,
    identifier: String,
    has_password: bool,
    must_change: bool,
    back: Option<String>,
    devices: Vec<Device>,
    rule: String,
    done: Option<&'static str>,
    error: Option<String>,
    fault: Option<String>,
}

/// A signed-in device, in words.
struct Device {
    id: String,
    current: bool,
    name: String,
    address: Option<String>,
    seen: String,
    seen_at: String,
    sign_out: String,
}

/// What went wrong with a change of password: for the form, and for its new password.
#[derive(Default)]
struct Trouble {
    status: StatusCode,
    error: Option<String>,
    fault: Option<String>,
}

/// `GET /account`
pub async fn show(call: Call) -> Answered {
    let Some(visitor) = Visitor::restricted(&call).await? else { return sign_in_first(&call) };
    page(&call, &visitor, way_back(&call), Trouble::default()).await
}

/// `POST /account/password`
pub async fn change_password(call: Call, mut payload: Payload) -> Answered {
    let mut fields = Fields::form(&call.request, &mut payload).await?;
    let Some(visitor) = Visitor::restricted(&call).await? else { return sign_in_first(&call) };
    let back = fields.text(BACK).and_then(|back| call.door.redirects().allowed(&back));
    if !sent_by(&call, &[visitor.caller.session], &mut fields) {
        return expired(&call, &visitor, back).await;
    }
    let (current, new) = (fields.required_secret("current"), fields.required_secret("new"));
    let wish = PasswordChange { caller: visitor.caller.clone(), current, new, keeps_tokens: false };
    let error = match call.door.change_password(wish, call.policy(), call.client()).await {
        Ok(Some(issued)) => return call.set_cookies(changed(&call, &visitor, back.as_deref()), &issued),
        Ok(None) => return visitor.keep(&call, changed(&call, &visitor, back.as_deref())),
        Err(error) => error,
    };
    let t = Frame::of(&call).t;
    let fault = match &error {
        Error::Refusal(Refusal::SessionEnded) => return sign_in_first(&call),
        Error::Refusal(Refusal::InvalidFields(faults)) => faults.first().map(|fault| refusals::of_field(fault.rule, t)),
        _ => None,
    };
    let trouble = Trouble { status: refusals::status(&error), error: Some(refusals::said(&error, t)), fault };
    refusals::with_headers(page(&call, &visitor, back, trouble).await, &error)
}

/// On to where somebody was headed who had to change the password first; others stay here.
fn changed(call: &Call, visitor: &Visitor, back: Option<&str>) -> HttpResponse {
    let headed = if visitor.caller.must_change_password { call.door.redirects().target(back) } else { HERE.to_owned() };
    redirect(if headed == HERE { "/account?done=password" } else { &headed })
}

/// `POST /account/sessions/{id}`: ends it.
pub async fn end_session(call: Call, mut payload: Payload) -> Answered {
    let mut fields = Fields::form(&call.request, &mut payload).await?;
    let Some(visitor) = Visitor::of(&call).await? else { return sign_in_first(&call) };
    if !sent_by(&call, &[visitor.caller.session], &mut fields) {
        return expired(&call, &visitor, None).await;
    }
    let id = call.request.match_info().get("id").and_then(|id| uuid::Uuid::try_parse(id).ok()).map(Id128);
    let (caller, client) = (visitor.caller.clone(), call.client());
    if id == Some(caller.session) {
        return visitor.keep(&call, redirect("/logout"));
    }
    let ended = call.door.run_blocking(move |core| match id {
        Some(id) => core.end_session(&caller, id, &client),
        None => Err(Refusal::SessionNotFound.into()),
    });
    match ended.await {
        // One that is no longer there was ended already: what was wished for is so.
        Ok(()) | Err(Error::Refusal(Refusal::SessionNotFound)) => visitor.keep(&call, redirect("/account?done=device")),
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/sign-out-everywhere`
pub async fn sign_out_everywhere(call: Call, mut payload: Payload) -> Answered {
    let mut fields = Fields::form(&call.request, &mut payload).await?;
    let Some(visitor) = Visitor::restricted(&call).await? else { return sign_in_first(&call) };
    if !sent_by(&call, &[visitor.caller.session], &mut fields) {
        return expired(&call, &visitor, None).await;
    }
    let (tokens, client) = (visitor.tokens(&call)?, call.client());
    call.door.run_blocking(move |core| core.sign_out_everywhere(&tokens, &client)).await?;
    call.clear_cookies(redirect("/logout"))
}

fn sign_in_first(call: &Call) -> Answered {
    without_dead_cookies(call, redirect(&call.door.redirects().sign_in_page(Some(HERE))))
}

async fn expired(call: &Call, visitor: &Visitor, back: Option<String>) -> Answered {
    let error = Some(Frame::of(call).t.form_expired.to_owned());
    page(call, visitor, back, Trouble { status: StatusCode::FORBIDDEN, error, fault: None }).await
}

/// Of an account whose password must be changed there is nothing on it but the form for that.
async fn page(call: &Call, visitor: &Visitor, back: Option<String>, trouble: Trouble) -> Answered {
    let (frame, id, must_change) = (Frame::of(call), visitor.caller.account, visitor.caller.must_change_password);
    let look = move |core: &Core| {
        let sessions = if must_change { Vec::new() } else { core.list_sessions(id)? };
        Ok((core.find_account(id)?, sessions))
    };
    let (account, sessions) = call.door.run_blocking(look).await?;
    let page = Page {
        frame,
        token: token_of(call, visitor.caller.session),
        rows: if must_change { Vec::new() } else { rows(&account, frame) },
        identifier: account.email.clone().or(account.username.clone()).or(account.name.clone()).unwrap_or_default(),
        has_password: account.has_password,
        must_change,
        back: back.filter(|_| must_change),
        devices: sessions.iter().map(|session| shown(session, visitor, call, frame)).collect(),
        rule: count(frame.t.password_rule, frame.site.password_min_length.into()),
        done: done(call, frame).filter(|_| trouble.error.is_none() && !must_change),
        error: trouble.error,
        fault: trouble.fault,
    };
    visitor.keep(call, frame.answer(trouble.status, &page)?)
}

/// What the last button did: one of our own sentences, whatever the query says.
fn done(call: &Call, frame: Frame<'_>) -> Option<&'static str> {
    match call.request.query_string() {
        "done=password" => Some(frame.t.password_changed),
        "done=device" => Some(frame.t.device_signed_out),
        _ => None,
    }
}

fn rows<'a>(account: &Account, frame: Frame<'a>) -> Vec<(&'a str, String)> {
    let t = frame.t;
    let full = [&account.first_name, &account.last_name].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let name = account.name.clone().unwrap_or(full);
    let since = account.created_at.rfc3339().chars().take(10).collect();
    let rows = [
        (t.name, name),
        (t.email, account.email.clone().unwrap_or_default()),
        (t.username, account.username.clone().unwrap_or_default()),
        (t.role, account.role.clone()),
        (t.member_since, since),
    ];
    rows.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn shown(session: &Session, visitor: &Visitor, call: &Call, frame: Frame<'_>) -> Device {
    let t = frame.t;
    let named = session.device_name.clone().or_else(|| device::named_by(session.user_agent.as_deref()?, t.on));
    let name = named.unwrap_or_else(|| t.unknown_device.to_owned());
    Device {
        id: session.id.to_string(),
        current: session.id == visitor.caller.session,
        sign_out: t.sign_out_device.replace("{}", &name),
        name,
        address: session.address.clone(),
        seen: t.ago(call.door.core().now().since(session.last_seen_at)),
        seen_at: session.last_seen_at.rfc3339(),
    }
}
