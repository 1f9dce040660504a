//! native: doorward's own API. Routes and handlers; each handler parses, asks core, renders. Shapes stand in wire.rs,
//! refusals in refusals.rs.

pub mod refusals;
pub(in crate::web) mod wire;

use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::core::SessionId;
use crate::core::caller::Caller;
use crate::core::credential::password_change::PasswordChange;
use crate::core::error::{Error, Refusal};
use crate::web::mount::Dialect;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::routing::resource;
use wire::Tokens;

/// The dialect.
pub const DIALECT: Dialect =
    Dialect { roots: &["/auth"], issues_trusted_device: true, ..Dialect::new("native", "/", routes, refusals::refuse) };

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/auth/register", "POST").route(web::post().to(register)))
        .service(resource("/auth/register/confirm", "POST").route(web::post().to(confirm_registration)))
        .service(resource("/auth/login", "POST").route(web::post().to(login)))
        .service(resource("/auth/refresh", "POST").route(web::post().to(refresh)))
        .service(resource("/auth/logout", "POST").route(web::post().to(logout)))
        .service(resource("/auth/logout-all", "POST").route(web::post().to(logout_all)))
        .service(
            resource("/auth/me", "GET, HEAD, PATCH")
                .route(web::get().to(me))
                .route(web::head().to(me))
                .route(web::patch().to(change_profile)),
        )
        .service(resource("/auth/change-password", "POST").route(web::post().to(change_password)))
        .service(
            resource("/auth/sessions", "GET, HEAD")
                .route(web::get().to(list_sessions))
                .route(web::head().to(list_sessions)),
        )
        .service(resource("/auth/sessions/{id}", "DELETE").route(web::delete().to(end_session)));
}

async fn register(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut asked = wire::register(Fields::required(&context.request, &mut payload).await?)?;
    if context.confirms_by_mail() {
        context.sign_up_with_confirmation(asked.person, None).await?;
        return Ok(wire::accepted("If this address can have an account, a mail is on its way to it"));
    }
    asked.session.replaces = held_sessions(&context)?;
    let signed_up = context.sign_up(asked.person, asked.session).await?;
    wire::entered(&context, StatusCode::CREATED, "Registration successful", &signed_up, asked.tokens)
}

/// With a link that a mail brought; where no mails go, there is no such route.
async fn confirm_registration(context: RequestContext, mut payload: Payload) -> HandlerResult {
    if !context.confirms_by_mail() {
        return Err(Refusal::RouteNotFound.into());
    }
    let mut asked = wire::confirmation(Fields::required(&context.request, &mut payload).await?)?;
    asked.session.replaces = held_sessions(&context)?;
    let confirmed = context.confirm_sign_up(asked.confirmation, asked.session).await?;
    wire::entered(&context, StatusCode::CREATED, "Registration successful", &confirmed.signed_in, asked.tokens)
}

async fn login(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut asked = wire::login(Fields::required(&context.request, &mut payload).await?)?;
    asked.wish.session.replaces = held_sessions(&context)?;
    let signed_in = context.sign_in(asked.wish).await?;
    wire::entered(&context, StatusCode::OK, "Login successful", &signed_in, asked.tokens)
}

/// The sessions whose cookies this browser holds: a sign-in takes their place (ASVS 7.2.4).
fn held_sessions(context: &RequestContext) -> Result<Vec<SessionId>, Refusal> {
    Ok(context.service.core().sessions_of_tokens(&context.presented_cookies()?))
}

async fn refresh(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let asked = wire::refresh(Fields::optional(&context.request, &mut payload).await?)?;
    let by_cookie = asked.token.is_none();
    let token = match asked.token {
        Some(token) => token,
        None => context.refresh_cookie()?.ok_or(Refusal::RefreshTokenMissing)?,
    };
    // What came in an HttpOnly cookie goes out in one: a script in the page must not get at it by asking for a body.
    if by_cookie {
        let issued = context.refresh_by_cookie(token, context.policy()).await?;
        return wire::refreshed(&context, &issued, Tokens::Cookies);
    }
    let issued = context.refresh(token, context.policy()).await?;
    wire::refreshed(&context, &issued, asked.tokens.unwrap_or(Tokens::Body))
}

async fn logout(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let asked = wire::refresh(Fields::optional(&context.request, &mut payload).await?)?;
    match context.sign_out(context.presented(asked.token)?).await {
        // Nothing presented: a browser that asks twice has no cookies left the second time, and is signed out.
        Ok(()) | Err(Error::Refusal(Refusal::TokenMissing)) => signed_out(&context, "Logout successful"),
        Err(error) => Err(error.into()),
    }
}

async fn logout_all(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let asked = wire::refresh(Fields::optional(&context.request, &mut payload).await?)?;
    let (presented, client) = (context.presented(asked.token)?, context.client());
    context.service.run_blocking(move |core| core.sign_out_everywhere(&presented, &client)).await?;
    signed_out(&context, "Logged out from all devices")
}

/// Clears the cookies, but for a client that has none and used a bearer token.
fn signed_out(context: &RequestContext, message: &str) -> HandlerResult {
    let answer = wire::message(message);
    if context.uses_bearer() && !context.brings_cookies() { Ok(answer) } else { context.clear_cookies(answer) }
}

async fn me(context: RequestContext, caller: Caller) -> HandlerResult {
    let account = context.account_of(&caller).await?;
    Ok(HttpResponse::Ok().json(wire::User::from(&account)))
}

async fn change_profile(context: RequestContext, caller: Caller, mut payload: Payload) -> HandlerResult {
    let profile = wire::profile(Fields::required(&context.request, &mut payload).await?)?;
    let client = context.client();
    let account =
        context.service.run_blocking(move |core| core.change_profile(caller.account, &profile, &client)).await?;
    Ok(HttpResponse::Ok().json(wire::User::from(&account)))
}

async fn change_password(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let caller = context.resolve_restricted(context.access_token()?).await?;
    let asked = wire::change_password(Fields::required(&context.request, &mut payload).await?)?;
    let tokens = if context.uses_bearer() { asked.tokens.unwrap_or(Tokens::Body) } else { Tokens::Cookies };
    let wish = PasswordChange { caller, current: asked.current, new: asked.new, keeps_tokens: false };
    let issued = context.service.change_password(wish, context.policy(), context.client()).await?;
    wire::password_changed(&context, issued.as_ref(), tokens)
}

async fn list_sessions(context: RequestContext, caller: Caller) -> HandlerResult {
    let list = context.service.run_blocking(move |core| core.list_sessions(caller.account)).await?;
    Ok(wire::sessions(&list, caller.session))
}

async fn end_session(context: RequestContext, caller: Caller, request: HttpRequest) -> HandlerResult {
    let id = request.match_info().get("id").and_then(|id| uuid::Uuid::try_parse(id).ok());
    let id = SessionId(id.ok_or(Refusal::SessionNotFound)?);
    let (client, current) = (context.client(), id == caller.session);
    context.service.run_blocking(move |core| core.end_session(&caller, id, &client)).await?;
    let answer = wire::message("Session ended");
    if current { context.clear_cookies(answer) } else { Ok(answer) }
}
