//! native: doorward's own API. Routes and handlers; each handler parses, calls core, renders. The wire format is
//! in wire.rs, errors are in refusals.rs.

pub mod refusals;
pub(in crate::web) mod wire;

use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::core::Core;
use crate::core::SessionId;
use crate::core::credential::password_change::PasswordChange;
use crate::core::error::{Error, Refusal};
use crate::core::session::caller::Caller;
use crate::core::session::presented_tokens::PresentedTokens;
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError};
use crate::web::response::routing::resource;
use crate::web::service::mount::Dialect;
use wire::TokenDelivery;

/// The dialect.
pub const DIALECT: Dialect = Dialect { roots: &["/auth"], ..Dialect::new("native", "/", routes, refusals::refuse) };

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
            resource("/auth/session", "GET, HEAD")
                .route(web::get().to(current_session))
                .route(web::head().to(current_session)),
        )
        .service(
            resource("/auth/sessions", "GET, HEAD")
                .route(web::get().to(list_sessions))
                .route(web::head().to(list_sessions)),
        )
        .service(
            resource("/auth/sessions/{id}", "DELETE, PATCH")
                .route(web::delete().to(end_session))
                .route(web::patch().to(name_device)),
        );
}

async fn register(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut parsed = wire::register(Fields::required(&context.request, &mut payload).await?)?;
    if context.confirms_by_mail() {
        context.sign_up_with_confirmation(parsed.registration, None).await?;
        return Ok(wire::accepted("If this address can have an account, a mail is on its way to it"));
    }
    parsed.session.replaces = replaced_tokens(&context, parsed.tokens);
    let signed_up = context.sign_up(parsed.registration, parsed.session).await?;
    wire::signed_in(&context, StatusCode::CREATED, "Registration successful", &signed_up, parsed.tokens)
}

/// By the link of a confirmation mail; without mail there is no such route.
async fn confirm_registration(context: RequestContext, mut payload: Payload) -> HandlerResult {
    if !context.confirms_by_mail() {
        return Err(RequestError::RouteNotFound.into());
    }
    let mut parsed = wire::confirmation(Fields::required(&context.request, &mut payload).await?)?;
    parsed.session.replaces = replaced_tokens(&context, parsed.tokens);
    let confirmed = context.confirm_sign_up(parsed.sign_up, parsed.session).await?;
    wire::signed_in(&context, StatusCode::CREATED, "Registration successful", &confirmed.signed_in, parsed.tokens)
}

async fn login(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let mut parsed = wire::login(Fields::required(&context.request, &mut payload).await?)?;
    parsed.sign_in.session.replaces = replaced_tokens(&context, parsed.tokens);
    let signed_in = context.sign_in(parsed.sign_in).await?;
    wire::signed_in(&context, StatusCode::OK, "Login successful", &signed_in, parsed.tokens)
}

/// The tokens in the cookies, whose session a sign-in replaces (ASVS 7.2.4) where the new tokens take their place in the
/// cookies. With tokens in the body they stay, and so does their session.
fn replaced_tokens(context: &RequestContext, tokens: TokenDelivery) -> PresentedTokens {
    match tokens {
        TokenDelivery::Cookies => context.replaced_by_sign_in(),
        TokenDelivery::Body => PresentedTokens::default(),
    }
}

async fn refresh(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let parsed = wire::refresh(Fields::optional(&context.request, &mut payload).await?)?;
    let by_cookie = parsed.token.is_none();
    let token = match parsed.token {
        Some(token) => token,
        None => context.refresh_cookie()?.ok_or(Refusal::RefreshTokenMissing)?,
    };
    // A token from an HttpOnly cookie is returned in one: a script of the page must not obtain it by requesting a body.
    if by_cookie {
        let issued = context.refresh_by_cookie(token, None).await?;
        return wire::refreshed(&context, &issued, TokenDelivery::Cookies);
    }
    let issued = context.refresh(token, None).await?;
    wire::refreshed(&context, &issued, parsed.tokens.unwrap_or(TokenDelivery::Body))
}

async fn logout(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let parsed = wire::refresh(Fields::optional(&context.request, &mut payload).await?)?;
    if context.has_duplicate_cookies() {
        context.sign_out_duplicates(PresentedTokens { access: context.bearer()?, refresh: parsed.token }).await?;
        return context.clear_cookies(wire::message("Logout successful"));
    }
    match context.sign_out(context.presented(parsed.token)?).await {
        // No tokens: a browser that signs out twice has no cookies the second time, and is signed out.
        Ok(()) | Err(Error::Refusal(Refusal::TokenMissing)) => signed_out(&context, "Logout successful"),
        Err(error) => Err(error.into()),
    }
}

async fn logout_all(context: RequestContext, mut payload: Payload) -> HandlerResult {
    let parsed = wire::refresh(Fields::optional(&context.request, &mut payload).await?)?;
    context.sign_out_everywhere(context.presented(parsed.token)?).await?;
    signed_out(&context, "Logged out from all devices")
}

/// Clears the cookies, unless the client used a bearer token and has none.
fn signed_out(context: &RequestContext, message: &str) -> HandlerResult {
    let answer = wire::message(message);
    if context.uses_bearer() && !context.has_session_cookies() { Ok(answer) } else { context.clear_cookies(answer) }
}

async fn me(context: RequestContext, caller: Caller) -> HandlerResult {
    let account = context.account_of(&caller).await?;
    Ok(HttpResponse::Ok().json(wire::User::from(&account)))
}

/// Who is signed in, and for how long: what a page asks when it loads. To a stranger it says so with 200, since a browser logs
/// every 401 as an error. A client that sent a token in a header asked about that token, and gets its error.
async fn current_session(context: RequestContext) -> HandlerResult {
    use Refusal::{SessionEnded, TokenExpired, TokenInvalid, TokenMissing};
    match context.resolve(context.access_token()?).await {
        Ok(caller) => {
            let expires_in = caller.expires_at.since(context.service.core().now());
            Ok(wire::current_session(&context.account_of(&caller).await?, caller.session, expires_in))
        }
        Err(Error::Refusal(TokenMissing | TokenInvalid | TokenExpired | SessionEnded)) if !context.uses_bearer() => {
            let token = context.refresh_cookie()?;
            Ok(wire::no_session(token.is_some_and(|token| context.service.core().may_be_refreshed(&token))))
        }
        Err(error) => Err(error.into()),
    }
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
    let parsed = wire::change_password(Fields::required(&context.request, &mut payload).await?)?;
    let tokens =
        if context.uses_bearer() { parsed.tokens.unwrap_or(TokenDelivery::Body) } else { TokenDelivery::Cookies };
    let change = PasswordChange { caller, current: parsed.current, new: parsed.new, keeps_tokens: false };
    let issued = context.service.change_password(change, context.client()).await?;
    wire::password_changed(&context, issued.as_ref(), tokens)
}

async fn list_sessions(context: RequestContext, caller: Caller) -> HandlerResult {
    let page = wire::page(context.request.query_string())?;
    let list = move |core: &Core| core.list_sessions(caller.account, page.after, page.limit);
    Ok(wire::sessions(&context.service.run_blocking(list).await?, caller.session))
}

fn session_in_path(request: &HttpRequest) -> Result<SessionId, Refusal> {
    let id = request.match_info().get("id").and_then(|id| uuid::Uuid::try_parse(id).ok());
    id.map(SessionId).ok_or(Refusal::SessionNotFound)
}

async fn name_device(
    context: RequestContext,
    caller: Caller,
    request: HttpRequest,
    mut payload: Payload,
) -> HandlerResult {
    let name = wire::device_name(Fields::required(&context.request, &mut payload).await?)?;
    let id = session_in_path(&request)?;
    context.service.run_blocking(move |core| core.name_device(&caller, id, name.as_deref())).await?;
    Ok(wire::message("Device named"))
}

async fn end_session(context: RequestContext, caller: Caller, request: HttpRequest) -> HandlerResult {
    let id = session_in_path(&request)?;
    let (client, current) = (context.client(), id == caller.session);
    context.service.run_blocking(move |core| core.end_session(&caller, id, &client)).await?;
    let answer = wire::message("Session ended");
    if current { context.clear_cookies(answer) } else { Ok(answer) }
}
