//! The account page, `/account`: the profile, the signed-in devices, and the form for a new password. If the password must be
//! changed first, the page has that form only. What each action does is decided by core.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;

use super::csrf_form::{session_token, verify_session_token};
use super::current_user::{CurrentUser, clear_dead_cookies};
use super::layout::{Layout, redirect, return_url};
use super::{device, refusals};
use crate::core::account::Account;
use crate::core::credential::password_change::PasswordChange;
use crate::core::error::{Error, Refusal};
use crate::core::session::{Session, SessionPage};
use crate::core::{Core, SessionId};
use crate::web::pages::layout::texts::catalog::count;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::redirect::RETURN_PARAMETER;

const PATH: &str = "/account";

/// The longest name of a device.
const DEVICE_NAME_MAX: usize = 60;

/// Devices on one page.
const PAGE_SIZE: i64 = 20;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    layout: Layout<'a>,
    csrf_token: String,
    profile: Vec<(&'a str, String)>,
    identifier: String,
    has_password: bool,
    must_change: bool,
    return_url: Option<String>,
    devices: Vec<DeviceRow>,
    /// The link to the next page of devices.
    next: Option<String>,
    password_rule: String,
    confirmation: Option<&'static str>,
    error: Option<String>,
    password_error: Option<String>,
}

/// A session in the list of devices, as texts.
struct DeviceRow {
    session: String,
    is_current: bool,
    name: String,
    /// The name that its owner has given it.
    given_name: String,
    /// Browser and system, beside a given name.
    client: Option<String>,
    address: Option<String>,
    last_seen: String,
    last_seen_at: String,
    signed_in: String,
    signed_in_at: String,
    sign_out_label: String,
    rename_label: String,
}

/// The outcome that the page shows: status 200 without errors by default.
#[derive(Default)]
struct Outcome {
    status: StatusCode,
    error: Option<String>,
    /// The error beside the field of the new password.
    password_error: Option<String>,
}

/// `GET /account`: the page.
pub async fn show(context: RequestContext) -> HandlerResult {
    let Some(user) = CurrentUser::find_restricted(&context).await? else { return redirect_to_sign_in(&context) };
    page(&context, &user, return_url(&context), Outcome::default()).await
}

/// `POST /account/password`: changes the password, or shows the page with an error.
pub async fn change_password(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let Some(user) = CurrentUser::find_restricted(&context).await? else { return redirect_to_sign_in(&context) };
    let return_url = fields.text(RETURN_PARAMETER).and_then(|url| context.service.redirects().allowed(&url));
    if !verify_session_token(&context, &[user.caller.session], &mut fields) {
        return form_expired(&context, &user, return_url).await;
    }
    let (current, new) = (fields.required_secret("current"), fields.required_secret("new"));
    let change = PasswordChange { caller: user.caller.clone(), current, new, keeps_tokens: false };
    let error = match context.service.change_password(change, context.client()).await {
        Ok(Some(issued)) => {
            return context.set_cookies(password_changed(&context, &user, return_url.as_deref()), &issued);
        }
        Ok(None) => return user.set_cookies(&context, password_changed(&context, &user, return_url.as_deref())),
        Err(error) => error,
    };
    let t = Layout::of(&context).t;
    let password_error = match &error {
        Error::Refusal(Refusal::SessionEnded) => return redirect_to_sign_in(&context),
        Error::Refusal(Refusal::InvalidFields(errors)) => {
            errors.first().map(|error| refusals::field_text(error.rule, t))
        }
        _ => None,
    };
    let error = WebError::from(error);
    let outcome =
        Outcome { status: refusals::status(&error), error: Some(refusals::error_text(&error, t)), password_error };
    refusals::with_headers(page(&context, &user, return_url, outcome).await, &error)
}

/// After a required change the browser goes on to the return URL; after any other it stays on the page.
fn password_changed(context: &RequestContext, user: &CurrentUser, return_url: Option<&str>) -> HttpResponse {
    let must_change = user.caller.must_change_password;
    let target = if must_change { context.service.redirects().target(return_url) } else { PATH.to_owned() };
    redirect(if target == PATH { "/account?done=password" } else { &target })
}

/// `POST /account/sessions/{id}`: ends a session.
pub async fn end_session(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let Some(user) = CurrentUser::find(&context).await? else { return redirect_to_sign_in(&context) };
    if !verify_session_token(&context, &[user.caller.session], &mut fields) {
        return form_expired(&context, &user, None).await;
    }
    let id = context.request.match_info().get("id").and_then(|id| uuid::Uuid::try_parse(id).ok()).map(SessionId);
    let (caller, client) = (user.caller.clone(), context.client());
    if id == Some(caller.session) {
        return user.set_cookies(&context, redirect("/logout"));
    }
    let ended = context.service.run_blocking(move |core| match id {
        Some(id) => core.end_session(&caller, id, &client),
        None => Err(Refusal::SessionNotFound.into()),
    });
    match ended.await {
        // A session that is not found has ended already, which is the result that the user asked for.
        Ok(()) | Err(Error::Refusal(Refusal::SessionNotFound)) => {
            user.set_cookies(&context, redirect("/account?done=device"))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/sessions/{id}/name`: names a device.
pub async fn name_device(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let Some(user) = CurrentUser::find(&context).await? else { return redirect_to_sign_in(&context) };
    if !verify_session_token(&context, &[user.caller.session], &mut fields) {
        return form_expired(&context, &user, None).await;
    }
    let name = fields.short_text("name", DEVICE_NAME_MAX);
    if let Err(refusal) = fields.finish() {
        let error = Error::from(refusal);
        let error = WebError::from(error);
        let message = Some(refusals::error_text(&error, Layout::of(&context).t));
        let outcome = Outcome { status: refusals::status(&error), error: message, password_error: None };
        return page(&context, &user, None, outcome).await;
    }
    let id = context.request.match_info().get("id").and_then(|id| uuid::Uuid::try_parse(id).ok()).map(SessionId);
    let caller = user.caller.clone();
    let named = context.service.run_blocking(move |core| match id {
        Some(id) => core.name_device(&caller, id, name.as_deref()),
        None => Err(Refusal::SessionNotFound.into()),
    });
    match named.await {
        // A session that is not found has ended: the list shows it no more.
        Ok(()) | Err(Error::Refusal(Refusal::SessionNotFound)) => {
            user.set_cookies(&context, redirect("/account?done=name"))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/sign-out-everywhere`: ends all sessions of the account.
pub async fn sign_out_everywhere(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut fields = Fields::form(&context.request, &mut payload).await?;
    let Some(user) = CurrentUser::find_restricted(&context).await? else { return redirect_to_sign_in(&context) };
    if !verify_session_token(&context, &[user.caller.session], &mut fields) {
        return form_expired(&context, &user, None).await;
    }
    let tokens = user.tokens(&context)?;
    context.sign_out_everywhere(tokens).await?;
    context.clear_cookies(redirect("/logout"))
}

fn redirect_to_sign_in(context: &RequestContext) -> HandlerResult {
    clear_dead_cookies(context, redirect(&context.service.redirects().sign_in_page(Some(PATH))))
}

async fn form_expired(context: &RequestContext, user: &CurrentUser, return_url: Option<String>) -> HandlerResult {
    let error = Some(Layout::of(context).t.form_expired.to_owned());
    page(context, user, return_url, Outcome { status: StatusCode::FORBIDDEN, error, password_error: None }).await
}

/// Renders the page. If the password must be changed, neither profile nor sessions are read: a password
/// that an operator has set must not reveal them.
async fn page(
    context: &RequestContext,
    user: &CurrentUser,
    return_url: Option<String>,
    outcome: Outcome,
) -> HandlerResult {
    let (layout, id, must_change) = (Layout::of(context), user.caller.account, user.caller.must_change_password);
    let after = next_page_of(context.request.query_string());
    let load = move |core: &Core| {
        let sessions = if must_change { SessionPage::default() } else { core.list_sessions(id, after, PAGE_SIZE)? };
        Ok((core.find_account(id)?, sessions))
    };
    let (account, sessions) = context.service.run_blocking(load).await?;
    let page = AccountPage {
        layout,
        csrf_token: session_token(context, user.caller.session),
        profile: if must_change { Vec::new() } else { profile(&account, layout) },
        identifier: account.email.clone().or(account.username.clone()).or(account.name.clone()).unwrap_or_default(),
        has_password: account.has_password,
        must_change,
        return_url: return_url.filter(|_| must_change),
        next: sessions.next.map(|id| format!("/account?after={id}")),
        devices: sessions.sessions.iter().map(|session| device_row(session, user, context, layout)).collect(),
        password_rule: count(layout.t.password_rule, layout.theme.password_min_length.into()),
        confirmation: confirmation(context, layout).filter(|_| outcome.error.is_none() && !must_change),
        error: outcome.error,
        password_error: outcome.password_error,
    };
    user.set_cookies(context, layout.answer(outcome.status, &page)?)
}

/// The session after which the page of devices begins, if the query names one.
fn next_page_of(query: &str) -> Option<SessionId> {
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let (_, id) = parameters.find(|(name, _)| name == "after")?;
    uuid::Uuid::try_parse(&id).ok().map(SessionId)
}

/// Confirms the last action. The query only selects one of the texts, so a link cannot put a text of its own on the page.
fn confirmation(context: &RequestContext, layout: Layout<'_>) -> Option<&'static str> {
    match context.request.query_string() {
        "done=password" => Some(layout.t.password_changed),
        "done=device" => Some(layout.t.device_signed_out),
        "done=name" => Some(layout.t.device_renamed),
        _ => None,
    }
}

fn profile<'a>(account: &Account, layout: Layout<'a>) -> Vec<(&'a str, String)> {
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

fn device_row(session: &Session, user: &CurrentUser, context: &RequestContext, layout: Layout<'_>) -> DeviceRow {
    let t = layout.t;
    let client = session.user_agent.as_deref().and_then(|agent| device::device_name(agent, t.on));
    let given_name = session.device_name.clone().unwrap_or_default();
    let name = session.device_name.clone().or_else(|| client.clone()).unwrap_or_else(|| t.unknown_device.to_owned());
    let now = context.service.core().now();
    DeviceRow {
        session: session.id.to_string(),
        is_current: session.id == user.caller.session,
        sign_out_label: t.sign_out_device.replace("{}", &name),
        rename_label: t.rename_device.replace("{}", &name),
        client: client.filter(|client| *client != name),
        given_name,
        name,
        signed_in: t.ago(now.since(session.created_at)),
        signed_in_at: session.created_at.rfc3339(),
        address: session.address.clone(),
        last_seen: t.ago(now.since(session.last_seen_at)),
        last_seen_at: session.last_seen_at.rfc3339(),
    }
}
