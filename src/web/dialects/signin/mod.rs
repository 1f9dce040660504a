//! signin: sign-in by email or username; tokens and the user in the body; no cookies.
//! Shapes stand in wire.rs, refusals in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};

use crate::core::session::end::PresentedTokens;
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::routing::resource;
use crate::web::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    access_ttl: Some(Duration::from_hours(24)),
    refresh_ttl: Some(Duration::from_hours(30 * 24)),
    registers_into_session: true,
    ..Dialect::new("signin", "/signin", routes, refusals::refuse)
};

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/api/v1/auths/sign-in", "POST").route(web::post().to(sign_in)))
        .service(resource("/api/v1/auths/sign-up", "POST").route(web::post().to(sign_up)))
        .service(resource("/api/v1/auths/refresh", "POST").route(web::post().to(refresh)))
        .service(resource("/api/v1/auths/sign-out", "POST").route(web::post().to(sign_out)));
}

async fn sign_in(call: Call, mut payload: Payload) -> Answered {
    let wish = wire::sign_in(Fields::optional(&call.request, &mut payload).await?)?;
    let signed_in = call.sign_in(wish).await?;
    Ok(wire::entered(StatusCode::OK, &signed_in.account, &signed_in.issued, call.door.core().now()))
}

async fn sign_up(call: Call, mut payload: Payload) -> Answered {
    let (person, wish) = wire::sign_up(Fields::optional(&call.request, &mut payload).await?)?;
    let signed_up = call.sign_up(person, wish).await?;
    Ok(wire::entered(StatusCode::CREATED, &signed_up.account, &signed_up.issued, call.door.core().now()))
}

async fn refresh(call: Call, mut payload: Payload) -> Answered {
    let token = wire::refresh(Fields::optional(&call.request, &mut payload).await?)?;
    let issued = call.refresh(token, call.policy()).await?;
    let id = issued.account;
    let account = call.door.run_blocking(move |core| core.find_account(id)).await?;
    Ok(wire::entered(StatusCode::OK, &account, &issued, call.door.core().now()))
}

async fn sign_out(call: Call, mut payload: Payload) -> Answered {
    let refresh = wire::sign_out(Fields::optional(&call.request, &mut payload).await?);
    call.sign_out_live(PresentedTokens { access: call.bearer_only()?, refresh }).await?;
    Ok(wire::success())
}
