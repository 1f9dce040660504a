//! pin: a name and a PIN, cookies only, a minute of access, a refresh token that stays the same.
//! The wire format is in wire.rs, errors are in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::web::{self, Payload, ServiceConfig};

use crate::core::error::Refusal;
use crate::core::session::presented_tokens::PresentedTokens;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::routing::resource;
use crate::web::service::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    roots: &["/auth", "/users"],
    access_ttl: Some(Duration::from_mins(1)),
    refresh_ttl: Some(Duration::from_hours(30 * 24)),
    rotates: false,
    returns_refresh_token: false,
    ..Dialect::new("pin", "/pin", routes, refusals::refuse)
};

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/auth/login", "POST").route(web::post().to(login)))
        .service(resource("/auth/refresh", "POST").route(web::post().to(refresh)))
        .service(resource("/auth/logout", "POST").route(web::post().to(logout)))
        .service(resource("/users/me", "GET, HEAD").route(web::get().to(me)).route(web::head().to(me)));
}

async fn login(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut request = wire::login(Fields::optional(&context.request, &mut payload).await?)?;
    request.session.replaces = context.replaced_by_sign_in();
    let signed_in = context.sign_in(request).await?;
    context.set_cookies(wire::logged_in(&signed_in.account), &signed_in.issued)
}

/// The body is not read.
async fn refresh(context: RequestContext) -> HandlerResult {
    let token = context.refresh_cookie()?.ok_or(Refusal::RefreshTokenMissing)?;
    let issued = context.refresh_by_cookie(token, None).await?;
    context.set_access_cookie(wire::refreshed(&issued), &issued)
}

async fn logout(context: RequestContext) -> HandlerResult {
    if context.has_duplicate_cookies() {
        context.sign_out_duplicates(PresentedTokens::default()).await?;
    } else {
        context.sign_out_live(context.presented_cookies()?).await?;
    }
    context.clear_cookies(wire::logged_out())
}

async fn me(context: RequestContext) -> HandlerResult {
    let caller = context.resolve(context.access_cookie()?).await?;
    Ok(wire::me(&context.account_of(&caller).await?))
}
