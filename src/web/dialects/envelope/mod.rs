//! envelope: everything in `{success, message, data, timestamp}`, refresh tokens in the shape of a UUID, single use, no
//! cookies. Shapes stand in wire.rs, refusals in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};

use crate::core::credential::password_change::PasswordChange;
use crate::core::error::{Error, Refusal};
use crate::core::session::end::PresentedTokens;
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::routing::resource;
use crate::web::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
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

async fn register(call: Call, mut payload: Payload) -> Answered {
    let (person, wish) = wire::register(Fields::optional(&call.request, &mut payload).await?)?;
    let signed_up = call.sign_up(person, wish).await?;
    Ok(wire::tokens(&call, StatusCode::CREATED, "User registered successfully", &signed_up.issued))
}

async fn login(call: Call, mut payload: Payload) -> Answered {
    let wish = wire::login(Fields::optional(&call.request, &mut payload).await?)?;
    let signed_in = call.sign_in(wish).await?;
    Ok(wire::tokens(&call, StatusCode::OK, "Login successful", &signed_in.issued))
}

async fn refresh(call: Call, mut payload: Payload) -> Answered {
    let token = wire::refresh_token(Fields::optional(&call.request, &mut payload).await?)?;
    let issued = call.refresh(token, call.policy()).await?;
    Ok(wire::tokens(&call, StatusCode::OK, "Token refreshed successfully", &issued))
}

/// By the refresh token, or by a live access token alone. An unknown refresh token is signed out already.
async fn logout(call: Call, mut payload: Payload) -> Answered {
    let access = call.bearer_only().unwrap_or_default();
    let refresh = wire::refresh_token(Fields::optional(&call.request, &mut payload).await?).ok();
    match call.sign_out_live(PresentedTokens { access, refresh }).await {
        Ok(()) | Err(Error::Refusal(Refusal::TokenInvalid)) => Ok(wire::done(&call, "Logged out successfully")),
        Err(error) => Err(error.into()),
    }
}

async fn logout_all(call: Call) -> Answered {
    let presented = PresentedTokens { access: call.bearer_only()?, refresh: None };
    call.resolve_restricted(presented.access.clone()).await?;
    let client = call.client();
    call.door.run_blocking(move |core| core.sign_out_everywhere(&presented, &client)).await?;
    Ok(wire::done(&call, "Logged out from all devices"))
}

async fn me(call: Call) -> Answered {
    let caller = call.resolve(call.bearer_only()?).await?;
    Ok(wire::me(&call, &call.account_of(&caller).await?))
}

/// The bearer is checked before the body, the body before the old password.
async fn change_password(call: Call, mut payload: Payload) -> Answered {
    let caller = call.resolve_restricted(call.bearer_only()?).await?;
    let (current, new) = wire::change_password(Fields::optional(&call.request, &mut payload).await?)?;
    let wish = PasswordChange { caller, current, new, keeps_tokens: true };
    call.door.change_password(wish, call.policy(), call.client()).await?;
    Ok(wire::done(&call, "Password changed successfully"))
}
