//! flat: username and password, a flat user, tokens in the body and in cookies, a lifetime that the client chooses.
//! The wire format is in wire.rs, errors are in refusals.rs.

mod refusals;
pub(in crate::web) mod wire;

use std::time::Duration;

use actix_web::web::{self, Payload, ServiceConfig};

use crate::core::error::{Error, Refusal};
use crate::core::session::TokenPolicy;
use crate::core::session::presented_tokens::PresentedTokens;
use crate::secret::AccessToken;
use crate::web::request::bearer::AuthorizationHeader;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::routing::resource;
use crate::web::service::mount::Dialect;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    roots: &["/auth", "/user", "/users"],
    access_ttl: Some(Duration::from_hours(1)),
    refresh_ttl: Some(Duration::from_hours(30 * 24)),
    access_ttl_max: Some(wire::ACCESS_TTL_MAX),
    ..Dialect::new("flat", "/flat", routes, refusals::refuse)
};

fn routes(mount: &mut ServiceConfig) {
    for path in ["/auth/login", "/user/login", "/users/login"] {
        mount.service(resource(path, "POST").route(web::post().to(login)));
    }
    for path in ["/auth/me", "/user/me", "/users/me"] {
        mount.service(resource(path, "GET, HEAD").route(web::get().to(me)).route(web::head().to(me)));
    }
    mount.service(resource("/auth/refresh", "POST").route(web::post().to(refresh)));
    mount.service(resource("/auth/logout", "POST").route(web::post().to(logout)));
}

async fn login(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let parsed = wire::login(Fields::json_or_form(&context.request, &mut payload).await?)?;
    let policy = with_ttl(&context, parsed.access_ttl);
    // The session of the cookies may be in use by the tokens of its body, and lives on.
    let signed_in = context.service.sign_in(parsed.sign_in, policy, context.client()).await?;
    wire::logged_in(&context, &signed_in)
}

async fn me(context: RequestContext) -> HandlerResult {
    let caller = context.resolve(access_token(&context)?).await?;
    Ok(wire::me(&context.account_of(&caller).await?))
}

async fn refresh(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let fields = match Fields::json_or_form(&context.request, &mut payload).await {
        // A body that is no JSON object counts as absent.
        Err(WebError::Core(Error::Refusal(Refusal::InvalidFields(_)))) => Fields::default(),
        other => other?,
    };
    let parsed = wire::refresh(fields);
    let cookie = if parsed.token.is_none() { context.refresh_cookie()? } else { None };
    if parsed.token.is_none() && cookie.is_none() {
        return Err(Refusal::RefreshTokenMissing.into());
    }
    let access_ttl = parsed.access_ttl?;
    let issued = match (parsed.token, cookie) {
        (Some(token), _) => context.refresh(token, access_ttl).await?,
        (None, Some(token)) => context.refresh_by_cookie(token, access_ttl).await?,
        (None, None) => return Err(Refusal::RefreshTokenMissing.into()),
    };
    wire::refreshed(&context, &issued)
}

async fn logout(context: RequestContext) -> HandlerResult {
    if context.has_duplicate_cookies() {
        context.sign_out_duplicates(PresentedTokens { access: named_token(&context)?, refresh: None }).await?;
    } else {
        let mut presented = context.presented_cookies()?;
        presented.access = access_token(&context)?;
        context.sign_out_live(presented).await?;
    }
    context.clear_cookies(wire::message("Logged out successfully"))
}

fn with_ttl(context: &RequestContext, access_ttl: Option<Duration>) -> TokenPolicy {
    let policy = context.policy();
    TokenPolicy { access_ttl: access_ttl.unwrap_or(policy.access_ttl), ..policy }
}

/// The header, and only without a header the cookie: a wrong header is not rescued by a cookie.
fn access_token(context: &RequestContext) -> Result<Option<AccessToken>, WebError> {
    match named_token(context)? {
        Some(token) => Ok(Some(token)),
        None => Ok(context.access_cookie()?),
    }
}

/// The token of the header, with or without `Bearer ` before it.
fn named_token(context: &RequestContext) -> Result<Option<AccessToken>, WebError> {
    match context.authorization() {
        AuthorizationHeader::Absent => Ok(None),
        AuthorizationHeader::Bearer(token) => Ok(Some(token.into_access_token())),
        AuthorizationHeader::OtherScheme(token) => Ok(Some(AccessToken::new(token))),
        AuthorizationHeader::MissingToken | AuthorizationHeader::Malformed => Err(Refusal::TokenInvalid.into()),
    }
}
