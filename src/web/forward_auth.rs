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
use decision::{Allowed, Asked, No};
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, HeaderName, LOCATION};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::endpoints::jwks;
use super::http::limits;
use crate::core::account::identity_cache::Identity;
use crate::core::caller::Caller;
use crate::core::error::{Error, Refusal};
use crate::web::http::credentials::access_token;
use crate::web::http::error::Answered;
use crate::web::http::routing::resource;
use crate::web::service::Doorward;
use forwarded_request::{Original, Unclear};
use rules::Met;

pub use fast_path::allow_at_once;

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

async fn list_assertion_keys(door: Data<Doorward>) -> Answered {
    let keys = door.core().assertion_keys().map_err(Error::from)?;
    Ok(jwks::answer(&keys))
}

async fn verify(request: HttpRequest, door: Data<Doorward>) -> HttpResponse {
    match check(&door, &request).await {
        Ok(allowed) => allow(&door, &request, allowed),
        Err(no) => no.answer(&request),
    }
}

async fn forward(request: HttpRequest, door: Data<Doorward>) -> HttpResponse {
    match check(&door, &request).await {
        Ok(allowed) => allow(&door, &request, allowed),
        Err(No::Refused(error)) if is_mended_by_a_page(&error) => {
            let original = original(&door, &request);
            if is_navigation(&request, original.as_ref().ok()) {
                return lead_to_page(&door, &request, original, &error);
            }
            No::Refused(error).answer(&request)
        }
        Err(no) => no.answer(&request),
    }
}

/// The one place that says 200 to a check.
fn allow(door: &Doorward, request: &HttpRequest, allowed: Allowed) -> HttpResponse {
    let mut answer = HttpResponse::Ok().finish();
    let headers = &door.forward_auth().headers;
    match &allowed.caller {
        Some((caller, identity)) => headers.write(&mut answer, identity, caller.session, allowed.assertion.as_deref()),
        None => headers.write_empty(&mut answer),
    }
    let https = door.proxies().says_https(request);
    match allowed.renewal.map(|issued| door.cookies().set_access(&mut answer, &issued, https)) {
        Some(Err(fault)) => No::Refused(fault.into()).answer(request),
        None | Some(Ok(())) => answer,
    }
}

async fn check(door: &Doorward, request: &HttpRequest) -> Result<Allowed, No> {
    let decided = decide(door, request).await;
    match &decided {
        Err(No::Refused(error)) => door.count_check(Some(error)),
        Err(No::Unclear(_)) => door.core().metrics().checks_refused.inc(),
        Ok(_) => door.count_check(None),
    }
    decided
}

/// All that a yes depends on.
async fn decide(door: &Doorward, request: &HttpRequest) -> Result<Allowed, No> {
    limits::check(request)?;
    let settings = door.forward_auth();
    if request.headers().keys().any(|name| forwarded_request::imitates(name.as_str(), &settings.hyphenated)) {
        return Err(Unclear("a header imitates another with an underscore").into());
    }
    let mut asked = Asked::of(request.uri().query().unwrap_or_default())?;
    if let Some(rules) = &settings.rules {
        match rules::meet(rules, &original(door, request)?.ok_or(Unclear("the proxy is not in TRUSTED_PROXIES"))?) {
            Met::Public => return Ok(Allowed { caller: None, assertion: None, renewal: None }),
            Met::SignedIn(needs) => asked.needs.join(needs),
        }
    }
    let (caller, renewal) = caller(door, request).await?;
    let identity = identity(door, &caller).await?;
    if !asked.needs.are_met_by(&identity) {
        return Err(Refusal::PermissionDenied.into());
    }
    let assertion = if asked.assertion { Some(assertion(door, request, &caller)?) } else { None };
    Ok(Allowed { caller: Some((caller, identity)), assertion, renewal })
}

async fn caller(door: &Doorward, request: &HttpRequest) -> Result<(Caller, Option<Issued>), No> {
    let presented = access_token(door, request)?;
    let resolved = match &presented {
        Some(token) => door.find_caller(token.expose()).await,
        None => Err(Refusal::TokenMissing.into()),
    };
    match resolved {
        Ok(caller) => Ok((caller, None)),
        // Another token would say the same.
        Err(Error::Refusal(Refusal::PasswordChangeRequired)) => Err(Refusal::PasswordChangeRequired.into()),
        // A header, good or bad, stands for itself.
        Err(Error::Refusal(refusal))
            if door.forward_auth().renews && !request.headers().contains_key(AUTHORIZATION) =>
        {
            let (caller, renewal) = renewal::renew(door, request, refusal).await?;
            Ok((caller, Some(renewal)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn identity(door: &Doorward, caller: &Caller) -> Result<Arc<Identity>, Error> {
    if let Some(known) = door.core().identity_in_memory(caller.account) {
        return Ok(known);
    }
    let account = caller.account;
    door.run_blocking(move |core| core.find_identity(account)).await
}

fn assertion(door: &Doorward, request: &HttpRequest, caller: &Caller) -> Result<String, No> {
    let original = original(door, request)?.ok_or(Unclear("the proxy is not in TRUSTED_PROXIES"))?;
    Ok(door.core().assert_caller(caller, &original.host, &original.method)?)
}

fn original(door: &Doorward, request: &HttpRequest) -> Result<Option<Original>, Unclear> {
    Original::read(request, door.forward_auth().family, door.proxies())
}

/// A browser that changes its page, and follows a redirect to a form; a script would follow it to nowhere.
fn is_navigation(request: &HttpRequest, original: Option<&Option<Original>>) -> bool {
    if let Some(mode) = request.headers().get(FETCH_MODE) {
        return mode.as_bytes() == b"navigate";
    }
    let method = original.and_then(Option::as_ref).map_or(request.method().as_str(), |original| &original.method);
    let accepts = |accept: &str| accept.to_ascii_lowercase().contains("text/html");
    method == "GET" && request.headers().get_all(ACCEPT).any(|line| line.to_str().is_ok_and(accepts))
}

/// Whether there is a page on which a person can do something about it.
fn is_mended_by_a_page(error: &Error) -> bool {
    No::status(error) == StatusCode::UNAUTHORIZED || must_change_password(error)
}

fn must_change_password(error: &Error) -> bool {
    matches!(error, Error::Refusal(Refusal::PasswordChangeRequired))
}

/// To the page that gets new tokens by itself if the browser has what it takes, else to the one that asks for a secret; or to
/// the one that asks for another secret.
fn lead_to_page(
    door: &Doorward,
    request: &HttpRequest,
    original: Result<Option<Original>, Unclear>,
    error: &Error,
) -> HttpResponse {
    let original = match original {
        Ok(original) => original,
        Err(unclear) => return No::Unclear(unclear).answer(request),
    };
    let reads = |original: &Original| matches!(original.method.as_str(), "GET" | "HEAD");
    let back = original.filter(reads).map(|original| original.url());
    let redirects = door.redirects();
    let page = if must_change_password(error) {
        redirects.account_page(back.as_deref())
    } else if renewal::seems_possible(door, request) {
        redirects.continue_page(back.as_deref())
    } else {
        redirects.sign_in_page(back.as_deref())
    };
    HttpResponse::Found().insert_header((LOCATION, page)).finish()
}
