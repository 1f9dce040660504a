//! The yes or no for proxies: `/auth/verify` for those that want a status alone, `/auth/forward` for those that pass a
//! redirect on, and the public keys of assertions. Only 200, 401, 403 and 503 here, and 302 from the second; in any doubt
//! it is not 200, which one function below says and nothing else. Whether a token lives is core's.
//!
//! nginx passes 2xx, 401 and 403 on and turns all else into its own 500.

pub(in crate::web) mod config;
mod decision;
mod fast_path;
mod forwarded_request;
mod identity_headers;
mod renewal;
mod rules;

use crate::core::session::Issued;
use config::paths;
use decision::{Allowed, CheckQuery, Denied};
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, HeaderName, LOCATION};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::endpoints::jwks;
use super::request::limits;
use crate::core::account::identity_cache::Identity;
use crate::core::caller::Caller;
use crate::core::error::{Error, Refusal};
use crate::web::request::credentials::access_token;
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::routing::resource;
use crate::web::service::Doorward;
use forwarded_request::{ForwardedRequest, InvalidForwardedHeaders};
use rules::RuleMatch;

pub use fast_path::try_fast_path;

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Adds the routes under a prefix: any method, since proxies send the browser's or their own.
pub fn routes(prefix: &str) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let [verify_path, forward_path] = paths(prefix);
    move |app| {
        app.service(web::resource(verify_path).to(verify)).service(web::resource(forward_path).to(forward));
    }
}

/// Adds the list of keys that check assertions.
pub fn assertion_keys(app: &mut ServiceConfig) {
    let keys = resource("/.well-known/assertion-jwks.json", "GET, HEAD");
    app.service(keys.route(web::get().to(list_assertion_keys)).route(web::head().to(list_assertion_keys)));
}

async fn list_assertion_keys(service: Data<Doorward>) -> HandlerResult {
    let keys = service.core().assertion_keys().map_err(Error::from)?;
    Ok(jwks::answer(&keys))
}

async fn verify(request: HttpRequest, service: Data<Doorward>) -> HttpResponse {
    match check(&service, &request).await {
        Ok(allowed) => allow(&service, &request, allowed),
        Err(no) => no.answer(&request),
    }
}

async fn forward(request: HttpRequest, service: Data<Doorward>) -> HttpResponse {
    match check(&service, &request).await {
        Ok(allowed) => allow(&service, &request, allowed),
        Err(Denied::ErrorContext(error)) if is_mended_by_a_page(&error) => {
            let original = original(&service, &request);
            if is_navigation(&request, original.as_ref().ok()) {
                return lead_to_page(&service, &request, original, &error);
            }
            Denied::ErrorContext(error).answer(&request)
        }
        Err(no) => no.answer(&request),
    }
}

/// The one place that says 200 to a check.
fn allow(service: &Doorward, request: &HttpRequest, allowed: Allowed) -> HttpResponse {
    let mut answer = HttpResponse::Ok().finish();
    let headers = &service.forward_auth().headers;
    match &allowed.caller {
        Some((caller, identity)) => headers.write(&mut answer, identity, caller.session, allowed.assertion.as_deref()),
        None => headers.write_empty(&mut answer),
    }
    let https = service.proxies().is_https(request);
    match allowed.renewal.map(|issued| service.cookies().set_access(&mut answer, &issued, https)) {
        Some(Err(fault)) => Denied::ErrorContext(fault.into()).answer(request),
        None | Some(Ok(())) => answer,
    }
}

async fn check(service: &Doorward, request: &HttpRequest) -> Result<Allowed, Denied> {
    let decided = decide(service, request).await;
    match &decided {
        Err(Denied::ErrorContext(WebError::Core(error))) => service.count_check(Some(error)),
        Err(Denied::ErrorContext(WebError::Request(_))) => service.core().metrics().checks_denied.inc(),
        Err(Denied::InvalidForwardedHeaders(_)) => service.core().metrics().checks_denied.inc(),
        Ok(_) => service.count_check(None),
    }
    decided
}

/// All that a yes depends on.
async fn decide(service: &Doorward, request: &HttpRequest) -> Result<Allowed, Denied> {
    limits::check(request)?;
    let settings = service.forward_auth();
    if request.headers().keys().any(|name| forwarded_request::is_header_lookalike(name.as_str(), &settings.hyphenated))
    {
        return Err(InvalidForwardedHeaders("a header imitates another with an underscore").into());
    }
    let mut asked = CheckQuery::of(request.uri().query().unwrap_or_default())?;
    if let Some(rules) = &settings.rules {
        match rules::match_rule(
            rules,
            &original(service, request)?.ok_or(InvalidForwardedHeaders("the proxy is not in TRUSTED_PROXIES"))?,
        ) {
            RuleMatch::Public => return Ok(Allowed { caller: None, assertion: None, renewal: None }),
            RuleMatch::SignedIn(requirement) => asked.requirement.join(requirement),
        }
    }
    let (caller, renewal) = caller(service, request).await?;
    let identity = identity(service, &caller).await?;
    if !asked.requirement.are_met_by(&identity) {
        return Err(Refusal::PermissionDenied.into());
    }
    let assertion = if asked.assertion { Some(assertion(service, request, &caller)?) } else { None };
    Ok(Allowed { caller: Some((caller, identity)), assertion, renewal })
}

async fn caller(service: &Doorward, request: &HttpRequest) -> Result<(Caller, Option<Issued>), Denied> {
    let presented = access_token(service, request)?;
    let resolved = match &presented {
        Some(token) => service.find_caller(token.expose()).await,
        None => Err(Refusal::TokenMissing.into()),
    };
    match resolved {
        Ok(caller) => Ok((caller, None)),
        // Another token would say the same.
        Err(Error::Refusal(Refusal::PasswordChangeRequired)) => Err(Refusal::PasswordChangeRequired.into()),
        // A header, good or bad, stands for itself.
        Err(Error::Refusal(refusal))
            if service.forward_auth().renews && !request.headers().contains_key(AUTHORIZATION) =>
        {
            let (caller, renewal) = renewal::renew(service, request, refusal).await?;
            Ok((caller, Some(renewal)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn identity(service: &Doorward, caller: &Caller) -> Result<Arc<Identity>, Error> {
    if let Some(known) = service.core().identity_in_memory(caller.account) {
        return Ok(known);
    }
    let account = caller.account;
    service.run_blocking(move |core| core.find_identity(account)).await
}

fn assertion(service: &Doorward, request: &HttpRequest, caller: &Caller) -> Result<String, Denied> {
    let original = original(service, request)?.ok_or(InvalidForwardedHeaders("the proxy is not in TRUSTED_PROXIES"))?;
    Ok(service.core().assert_caller(caller, &original.host, &original.method)?)
}

fn original(service: &Doorward, request: &HttpRequest) -> Result<Option<ForwardedRequest>, InvalidForwardedHeaders> {
    ForwardedRequest::read(request, service.forward_auth().family, service.proxies())
}

/// A browser that changes its page, and follows a redirect to a form; a script would follow it to nowhere.
fn is_navigation(request: &HttpRequest, original: Option<&Option<ForwardedRequest>>) -> bool {
    if let Some(mode) = request.headers().get(FETCH_MODE) {
        return mode.as_bytes() == b"navigate";
    }
    let method = original.and_then(Option::as_ref).map_or(request.method().as_str(), |original| &original.method);
    let accepts = |accept: &str| accept.to_ascii_lowercase().contains("text/html");
    method == "GET" && request.headers().get_all(ACCEPT).any(|line| line.to_str().is_ok_and(accepts))
}

/// Whether there is a page on which a person can do something about it.
fn is_mended_by_a_page(error: &WebError) -> bool {
    Denied::status(error) == StatusCode::UNAUTHORIZED || must_change_password(error)
}

fn must_change_password(error: &WebError) -> bool {
    matches!(error.refusal(), Some(Refusal::PasswordChangeRequired))
}

/// To the page that gets new tokens by itself if the browser has what it takes, else to the one that asks for a secret; or to
/// the one that asks for another secret.
fn lead_to_page(
    service: &Doorward,
    request: &HttpRequest,
    original: Result<Option<ForwardedRequest>, InvalidForwardedHeaders>,
    error: &WebError,
) -> HttpResponse {
    let original = match original {
        Ok(original) => original,
        Err(unclear) => return Denied::InvalidForwardedHeaders(unclear).answer(request),
    };
    let reads = |original: &ForwardedRequest| matches!(original.method.as_str(), "GET" | "HEAD");
    let back = original.filter(reads).map(|original| original.url());
    let redirects = service.redirects();
    let page = if must_change_password(error) {
        redirects.account_page(back.as_deref())
    } else if renewal::seems_possible(service, request) {
        redirects.continue_page(back.as_deref())
    } else {
        redirects.sign_in_page(back.as_deref())
    };
    HttpResponse::Found().insert_header((LOCATION, page)).finish()
}
