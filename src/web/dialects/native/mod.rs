//! native: doorward's own API. Routes and handlers; each handler parses, asks core, renders. Shapes stand in wire.rs,
//! refusals in refusals.rs.

pub mod refusals;
pub(in crate::web) mod wire;

use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::core::caller::Caller;
use crate::core::credential::password_change::PasswordChange;
use crate::core::error::{Error, Refusal};
use crate::core::{Id128, SessionId};
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::routing::resource;
use crate::web::mount::Dialect;
use wire::Tokens;

/// The dialect.
pub const DIALECT: Dialect = Dialect { knows_devices: true, ..Dialect::new("native", "/", routes, refusals::refuse) };

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

async fn register(call: Call, mut payload: Payload) -> Answered {
    let mut asked = wire::register(Fields::required(&call.request, &mut payload).await?)?;
    if call.tells_by_mail() {
        call.sign_up_silently(asked.person, None).await?;
        return Ok(wire::accepted("If this address can have an account, a mail is on its way to it"));
    }
    asked.wish.replaces = held_sessions(&call)?;
    let signed_up = call.sign_up(asked.person, asked.wish).await?;
    wire::entered(&call, StatusCode::CREATED, "Registration successful", &signed_up, asked.tokens)
}

/// With a link that a mail brought; where no mails go, there is no such route.
async fn confirm_registration(call: Call, mut payload: Payload) -> Answered {
    if !call.tells_by_mail() {
        return Err(Refusal::RouteNotFound.into());
    }
    let mut asked = wire::confirmation(Fields::required(&call.request, &mut payload).await?)?;
    asked.wish.replaces = held_sessions(&call)?;
    let confirmed = call.confirm_sign_up(asked.token, asked.wish).await?;
    wire::entered(&call, StatusCode::CREATED, "Registration successful", &confirmed.signed_in, asked.tokens)
}

async fn login(call: Call, mut payload: Payload) -> Answered {
    let mut asked = wire::login(Fields::required(&call.request, &mut payload).await?)?;
    asked.wish.replaces = held_sessions(&call)?;
    let signed_in = call.sign_in(asked.wish).await?;
    wire::entered(&call, StatusCode::OK, "Login successful", &signed_in, asked.tokens)
}

/// The sessions whose cookies this browser holds: a sign-in takes their place (ASVS 7.2.4).
fn held_sessions(call: &Call) -> Result<Vec<SessionId>, Refusal> {
    Ok(call.door.core().sessions_named_by(&call.presented_cookies()?))
}

async fn refresh(call: Call, mut payload: Payload) -> Answered {
    let asked = wire::refresh(Fields::optional(&call.request, &mut payload).await?)?;
    let by_cookie = asked.token.is_none();
    let token = match asked.token {
        Some(token) => token,
        None => call.refresh_cookie()?.ok_or(Refusal::RefreshTokenMissing)?,
    };
    // What came in an HttpOnly cookie goes out in one: a script in the page must not get at it by asking for a body.
    if by_cookie {
        let issued = call.refresh_by_cookie(token, call.policy()).await?;
        return wire::refreshed(&call, &issued, Tokens::Cookies);
    }
    let issued = call.refresh(token, call.policy()).await?;
    wire::refreshed(&call, &issued, asked.tokens.unwrap_or(Tokens::Body))
}

async fn logout(call: Call, mut payload: Payload) -> Answered {
    let asked = wire::refresh(Fields::optional(&call.request, &mut payload).await?)?;
    match call.sign_out(call.presented(asked.token)?).await {
        // Nothing presented: a browser that asks twice has no cookies left the second time, and is signed out.
        Ok(()) | Err(Error::Refusal(Refusal::TokenMissing)) => signed_out(&call, "Logout successful"),
        Err(error) => Err(error.into()),
    }
}

async fn logout_all(call: Call, mut payload: Payload) -> Answered {
    let asked = wire::refresh(Fields::optional(&call.request, &mut payload).await?)?;
    let (presented, client) = (call.presented(asked.token)?, call.client());
    call.door.run_blocking(move |core| core.sign_out_everywhere(&presented, &client)).await?;
    signed_out(&call, "Logged out from all devices")
}

/// Clears the cookies, but for a client that has none and used a bearer token.
fn signed_out(call: &Call, message: &str) -> Answered {
    let answer = wire::message(message);
    if call.uses_bearer() && !call.brings_cookies() { Ok(answer) } else { call.clear_cookies(answer) }
}

async fn me(call: Call, caller: Caller) -> Answered {
    let account = call.account_of(&caller).await?;
    Ok(HttpResponse::Ok().json(wire::User::from(&account)))
}

async fn change_profile(call: Call, caller: Caller, mut payload: Payload) -> Answered {
    let profile = wire::profile(Fields::required(&call.request, &mut payload).await?)?;
    let client = call.client();
    let account = call.door.run_blocking(move |core| core.change_profile(caller.account, &profile, &client)).await?;
    Ok(HttpResponse::Ok().json(wire::User::from(&account)))
}

async fn change_password(call: Call, mut payload: Payload) -> Answered {
    let caller = call.resolve_restricted(call.access_token()?).await?;
    let asked = wire::change_password(Fields::required(&call.request, &mut payload).await?)?;
    let tokens = if call.uses_bearer() { asked.tokens.unwrap_or(Tokens::Body) } else { Tokens::Cookies };
    let wish = PasswordChange { caller, current: asked.current, new: asked.new, keeps_tokens: false };
    let issued = call.door.change_password(wish, call.policy(), call.client()).await?;
    wire::password_changed(&call, issued.as_ref(), tokens)
}

async fn list_sessions(call: Call, caller: Caller) -> Answered {
    let list = call.door.run_blocking(move |core| core.list_sessions(caller.account)).await?;
    Ok(wire::sessions(&list, caller.session))
}

async fn end_session(call: Call, caller: Caller, request: HttpRequest) -> Answered {
    let id = request.match_info().get("id").and_then(|id| uuid::Uuid::try_parse(id).ok());
    let id = Id128(id.ok_or(Refusal::SessionNotFound)?);
    let (client, current) = (call.client(), id == caller.session);
    call.door.run_blocking(move |core| core.end_session(&caller, id, &client)).await?;
    let answer = wire::message("Session ended");
    if current { call.clear_cookies(answer) } else { Ok(answer) }
}
