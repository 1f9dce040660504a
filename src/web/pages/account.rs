//! `/account`: who somebody is here, their password, their devices. What each button does is core's to decide.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::{sent_by, token_of};
use super::current_user::{CurrentUser, without_dead_cookies};
use super::layout::{Layout, redirect, way_back};
use super::{device, refusals};
use crate::core::account::Account;
use crate::core::credential::password_change::PasswordChange;
use crate::core::error::{Error, Refusal};
use crate::core::session::Session;
use crate::core::{Core, Id128};
use crate::web::pages::texts::catalog::count;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::redirect::RETURN_PARAMETER;

/// The page itself.
const HERE: &str = "/account";

#[derive(Template)]
#[template(path = "account.html")]
struct Page<'a> {
    layout: Layout<'a>,
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
pub async fn show(context: RequestContext) -> HandlerResult {
    let Some(visitor) = CurrentUser::restricted(&context).await? else { return sign_in_first(&context) };
    page(&context, &visitor, way_back(&context), Trouble::default()).await
}

/// `POST /account/password`
pub async fn change_password(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let Some(visitor) = CurrentUser::restricted(&context).await? else { return sign_in_first(&context) };
    let back = fields.text(RETURN_PARAMETER).and_then(|back| context.service.redirects().allowed(&back));
    if !sent_by(&context, &[visitor.caller.session], &mut fields) {
        return expired(&context, &visitor, back).await;
    }
    let (current, new) = (fields.required_secret("current"), fields.required_secret("new"));
    let wish = PasswordChange { caller: visitor.caller.clone(), current, new, keeps_tokens: false };
    let error = match context.service.change_password(wish, context.policy(), context.client()).await {
        Ok(Some(issued)) => return context.set_cookies(changed(&context, &visitor, back.as_deref()), &issued),
        Ok(None) => return visitor.keep(&context, changed(&context, &visitor, back.as_deref())),
        Err(error) => error,
    };
    let t = Layout::of(&context).t;
    let fault = match &error {
        Error::Refusal(Refusal::SessionEnded) => return sign_in_first(&context),
        Error::Refusal(Refusal::InvalidFields(faults)) => {
            faults.first().map(|fault| refusals::field_text(fault.rule, t))
        }
        _ => None,
    };
    let error = WebError::from(error);
    let trouble = Trouble { status: refusals::status(&error), error: Some(refusals::error_text(&error, t)), fault };
    refusals::with_headers(page(&context, &visitor, back, trouble).await, &error)
}

/// On to where somebody was headed who had to change the password first; others stay here.
fn changed(context: &RequestContext, visitor: &CurrentUser, back: Option<&str>) -> HttpResponse {
    let headed =
        if visitor.caller.must_change_password { context.service.redirects().target(back) } else { HERE.to_owned() };
    redirect(if headed == HERE { "/account?done=password" } else { &headed })
}

/// `POST /account/sessions/{id}`: ends it.
pub async fn end_session(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let Some(visitor) = CurrentUser::of(&context).await? else { return sign_in_first(&context) };
    if !sent_by(&context, &[visitor.caller.session], &mut fields) {
        return expired(&context, &visitor, None).await;
    }
    let id = context.request.match_info().get("id").and_then(|id| uuid::Uuid::try_parse(id).ok()).map(Id128);
    let (caller, client) = (visitor.caller.clone(), context.client());
    if id == Some(caller.session) {
        return visitor.keep(&context, redirect("/logout"));
    }
    let ended = context.service.run_blocking(move |core| match id {
        Some(id) => core.end_session(&caller, id, &client),
        None => Err(Refusal::SessionNotFound.into()),
    });
    match ended.await {
        // One that is no longer there was ended already: what was wished for is so.
        Ok(()) | Err(Error::Refusal(Refusal::SessionNotFound)) => {
            visitor.keep(&context, redirect("/account?done=device"))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/sign-out-everywhere`
pub async fn sign_out_everywhere(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let Some(visitor) = CurrentUser::restricted(&context).await? else { return sign_in_first(&context) };
    if !sent_by(&context, &[visitor.caller.session], &mut fields) {
        return expired(&context, &visitor, None).await;
    }
    let (tokens, client) = (visitor.tokens(&context)?, context.client());
    context.service.run_blocking(move |core| core.sign_out_everywhere(&tokens, &client)).await?;
    context.clear_cookies(redirect("/logout"))
}

fn sign_in_first(context: &RequestContext) -> HandlerResult {
    without_dead_cookies(context, redirect(&context.service.redirects().sign_in_page(Some(HERE))))
}

async fn expired(context: &RequestContext, visitor: &CurrentUser, back: Option<String>) -> HandlerResult {
    let error = Some(Layout::of(context).t.form_expired.to_owned());
    page(context, visitor, back, Trouble { status: StatusCode::FORBIDDEN, error, fault: None }).await
}

/// Of an account whose password must be changed there is nothing on it but the form for that.
async fn page(
    context: &RequestContext,
    visitor: &CurrentUser,
    back: Option<String>,
    trouble: Trouble,
) -> HandlerResult {
    let (layout, id, must_change) = (Layout::of(context), visitor.caller.account, visitor.caller.must_change_password);
    let look = move |core: &Core| {
        let sessions = if must_change { Vec::new() } else { core.list_sessions(id)? };
        Ok((core.find_account(id)?, sessions))
    };
    let (account, sessions) = context.service.run_blocking(look).await?;
    let page = Page {
        layout,
        token: token_of(context, visitor.caller.session),
        rows: if must_change { Vec::new() } else { rows(&account, layout) },
        identifier: account.email.clone().or(account.username.clone()).or(account.name.clone()).unwrap_or_default(),
        has_password: account.has_password,
        must_change,
        back: back.filter(|_| must_change),
        devices: sessions.iter().map(|session| shown(session, visitor, context, layout)).collect(),
        rule: count(layout.t.password_rule, layout.theme.password_min_length.into()),
        done: done(context, layout).filter(|_| trouble.error.is_none() && !must_change),
        error: trouble.error,
        fault: trouble.fault,
    };
    visitor.keep(context, layout.answer(trouble.status, &page)?)
}

/// What the last button did: one of our own sentences, whatever the query says.
fn done(context: &RequestContext, layout: Layout<'_>) -> Option<&'static str> {
    match context.request.query_string() {
        "done=password" => Some(layout.t.password_changed),
        "done=device" => Some(layout.t.device_signed_out),
        _ => None,
    }
}

fn rows<'a>(account: &Account, layout: Layout<'a>) -> Vec<(&'a str, String)> {
    let t = layout.t;
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

fn shown(session: &Session, visitor: &CurrentUser, context: &RequestContext, layout: Layout<'_>) -> Device {
    let t = layout.t;
    let named =
        session.device_name.clone().or_else(|| device::resolve_refresh_token(session.user_agent.as_deref()?, t.on));
    let name = named.unwrap_or_else(|| t.unknown_device.to_owned());
    Device {
        id: session.id.to_string(),
        current: session.id == visitor.caller.session,
        sign_out: t.sign_out_device.replace("{}", &name),
        name,
        address: session.address.clone(),
        seen: t.ago(context.service.core().now().since(session.last_seen_at)),
        seen_at: session.last_seen_at.rfc3339(),
    }
}
