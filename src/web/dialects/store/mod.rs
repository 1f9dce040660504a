//! store: sign-up and sign-in by login, snake_case tokens in the body, a refresh token in the query, no cookies.
//! The wire format is in wire.rs, errors are in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::web::{self, Payload, Query, ServiceConfig};

use crate::core::credential::sign_in::NewSession;
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::secret::RefreshToken;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::routing::resource;
use crate::web::service::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    roots: &["/auth", "/user"],
    access_ttl: Some(Duration::from_mins(20)),
    refresh_ttl: Some(Duration::from_hours(30 * 24)),
    registers_into_session: true,
    ..Dialect::new("store", "/store", routes, refusals::refuse)
};

fn routes(mount: &mut ServiceConfig) {
    mount
        .service(resource("/auth/signup", "POST").route(web::post().to(sign_up)))
        .service(resource("/auth/signin", "POST").route(web::post().to(sign_in)))
        .service(resource("/auth/refresh", "POST").route(web::post().to(refresh)))
        .service(resource("/user", "GET, HEAD").route(web::get().to(user)).route(web::head().to(user)));
}

async fn sign_up(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let registration = wire::sign_up(Fields::json_or_any_form(&context.request, &mut payload).await?)?;
    Ok(wire::tokens(&context.sign_up(registration, NewSession::default()).await?.issued))
}

async fn sign_in(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let request = wire::sign_in(Fields::json_or_any_form(&context.request, &mut payload).await?)?;
    Ok(wire::tokens(&context.sign_in(request).await?.issued))
}

async fn refresh(context: RequestContext, query: Query<Vec<(String, String)>>) -> HandlerResult {
    let mut tokens = query.iter().filter(|(name, _)| name == "rt").map(|(_, token)| token.trim());
    let token = tokens.next().filter(|token| !token.is_empty()).ok_or(Refusal::RefreshTokenMissing)?;
    // A query with two is read as an array there, which is no string.
    if tokens.next().is_some() {
        return Err(Refusal::InvalidFields(vec![FieldError::new("rt", FieldRule::Type("a string"))]).into());
    }
    Ok(wire::tokens(&context.refresh(RefreshToken::new(token), None).await?))
}

async fn user(context: RequestContext) -> HandlerResult {
    let caller = context.resolve(context.bearer_only()?).await?;
    Ok(wire::user(&context.account_of(&caller).await?))
}
