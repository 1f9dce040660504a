//! envelope: everything in `{success, message, data, timestamp}`, refresh tokens in the shape of a UUID, single use, no
//! cookies. The wire format is in wire.rs, errors are in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};

use crate::core::credential::password_change::PasswordChange;
use crate::core::credential::sign_in::NewSession;
use crate::core::error::{Error, Refusal};
use crate::core::session::presented_tokens::PresentedTokens;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::routing::resource;
use crate::web::service::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    roots: &["/auth"],
    access_ttl: Some(Duration::from_hours(1)),
    refresh_ttl: Some(Duration::from_hours(7 * 24)),
    revokes_on_rotation: true,
    opaque_refresh: true,
    signup_role: Some("CUSTOMER"),
    registers_into_session: true,
    ..Dialect::new("envelope", "/envelope", routes, refusals::refuse)
};

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/auth/register", "POST").route(web::post().to(register)))
        .service(resource("/auth/login", "POST").route(web::post().to(login)))
        .service(resource("/auth/refresh-token", "POST").route(web::post().to(refresh)))
        .service(resource("/auth/logout", "POST").route(web::post().to(logout)))
        .service(resource("/auth/logout-all", "POST").route(web::post().to(logout_all)))
        .service(resource("/auth/me", "GET, HEAD").route(web::get().to(me)).route(web::head().to(me)))
        .service(resource("/auth/change-password", "POST").route(web::post().to(change_password)));
}

async fn register(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let registration = wire::register(Fields::optional(&context.request, &mut payload).await?)?;
    let signed_up = context.sign_up(registration, NewSession::default()).await?;
    Ok(wire::tokens(&context, StatusCode::CREATED, "User registered successfully", &signed_up.issued))
}

async fn login(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let request = wire::login(Fields::optional(&context.request, &mut payload).await?)?;
    let signed_in = context.sign_in(request).await?;
    Ok(wire::tokens(&context, StatusCode::OK, "Login successful", &signed_in.issued))
}

async fn refresh(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let token = wire::refresh_token(Fields::optional(&context.request, &mut payload).await?)?;
    let issued = context.refresh(token, None).await?;
    Ok(wire::tokens(&context, StatusCode::OK, "Token refreshed successfully", &issued))
}

/// By the refresh token, or by a live access token alone. An unknown refresh token counts as signed out.
async fn logout(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let access = context.bearer_only().unwrap_or_default();
    let refresh = match wire::refresh_token(Fields::optional(&context.request, &mut payload).await?) {
        Ok(token) => Some(token),
        Err(_missing) if access.is_some() => None,
        Err(missing) => return Err(missing.into()),
    };
    match context.sign_out_live(PresentedTokens { access, refresh }).await {
        Ok(()) | Err(Error::Refusal(Refusal::TokenInvalid)) => Ok(wire::done(&context, "Logged out successfully")),
        Err(error) => Err(error.into()),
    }
}

async fn logout_all(context: RequestContext) -> HandlerResult {
    let presented = PresentedTokens { access: context.bearer_only()?, refresh: None };
    context.resolve_restricted(presented.access.clone()).await?;
    context.sign_out_everywhere(presented).await?;
    Ok(wire::done(&context, "Logged out from all devices"))
}

async fn me(context: RequestContext) -> HandlerResult {
    let caller = context.resolve(context.bearer_only()?).await?;
    Ok(wire::me(&context, &context.account_of(&caller).await?))
}

/// The bearer is checked before the body, the body before the old password.
async fn change_password(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let caller = context.resolve_restricted(context.bearer_only()?).await?;
    let (current, new) = wire::change_password(Fields::optional(&context.request, &mut payload).await?)?;
    let change = PasswordChange { caller, current, new, keeps_tokens: true };
    context.service.change_password(change, context.client()).await?;
    Ok(wire::done(&context, "Password changed successfully"))
}
