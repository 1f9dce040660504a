//! signin: sign-in by email or username; tokens and the user in the body; no cookies.
//! The wire format is in wire.rs, errors are in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};

use crate::core::credential::sign_in::NewSession;
use crate::core::session::presented_tokens::PresentedTokens;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::routing::resource;
use crate::web::service::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    roots: &["/api"],
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

async fn sign_in(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let request = wire::sign_in(Fields::optional(&context.request, &mut payload).await?)?;
    let signed_in = context.sign_in(request).await?;
    Ok(wire::signed_in(StatusCode::OK, &signed_in.account, &signed_in.issued, context.service.core().now()))
}

async fn sign_up(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let registration = wire::sign_up(Fields::optional(&context.request, &mut payload).await?)?;
    let signed_up = context.sign_up(registration, NewSession::default()).await?;
    Ok(wire::signed_in(StatusCode::CREATED, &signed_up.account, &signed_up.issued, context.service.core().now()))
}

async fn refresh(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let token = wire::refresh(Fields::optional(&context.request, &mut payload).await?)?;
    let issued = context.refresh(token, None).await?;
    let id = issued.account;
    let account = context.service.run_blocking(move |core| core.find_account(id)).await?;
    Ok(wire::signed_in(StatusCode::OK, &account, &issued, context.service.core().now()))
}

async fn sign_out(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let refresh = wire::sign_out(Fields::optional(&context.request, &mut payload).await?);
    context.sign_out_live(PresentedTokens { access: context.bearer_only()?, refresh }).await?;
    Ok(wire::success())
}
