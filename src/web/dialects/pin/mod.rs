//! pin: a name and a PIN, cookies only, a minute of access, a refresh token that stays the same.
//! Shapes stand in wire.rs, refusals in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::web::{self, Payload, ServiceConfig};

use crate::core::error::Refusal;
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::routing::resource;
use crate::web::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    access_ttl: Some(Duration::from_mins(1)),
    refresh_ttl: Some(Duration::from_hours(30 * 24)),
    rotates: false,
    // After too many failures a PIN works from such a device only.
    knows_devices: true,
    ..Dialect::new("pin", "/pin", routes, refusals::refuse)
};

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/auth/login", "POST").route(web::post().to(login)))
        .service(resource("/auth/refresh", "POST").route(web::post().to(refresh)))
        .service(resource("/auth/logout", "POST").route(web::post().to(logout)))
        .service(resource("/users/me", "GET, HEAD").route(web::get().to(me)).route(web::head().to(me)));
}

async fn login(call: Call, mut payload: Payload) -> Answered {
    let mut wish = wire::login(Fields::optional(&call.request, &mut payload).await?)?;
    wish.replaces = call.door.core().sessions_named_by(&call.presented_cookies()?);
    let signed_in = call.sign_in(wish).await?;
    call.set_cookies(wire::logged_in(&signed_in.account), &signed_in.issued)
}

/// The body is not read.
async fn refresh(call: Call) -> Answered {
    let token = call.refresh_cookie()?.ok_or(Refusal::RefreshTokenMissing)?;
    let issued = call.refresh_by_cookie(token, call.policy()).await?;
    call.set_access_cookie(wire::refreshed(&issued), &issued)
}

async fn logout(call: Call) -> Answered {
    call.sign_out_live(call.presented_cookies()?).await?;
    call.clear_cookies(wire::logged_out())
}

async fn me(call: Call) -> Answered {
    let caller = call.resolve(call.access_cookie()?).await?;
    Ok(wire::me(&call.account_of(&caller).await?))
}
