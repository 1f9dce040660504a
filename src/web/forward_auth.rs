//! Forward authentication: the checks by which a reverse proxy asks, for each request to an app behind it, whether the request
//! is allowed. `/auth/verify` is for proxies that only evaluate the status, `/auth/forward` for those that pass a redirect to
//! the browser; the keys that verify signed assertions are listed here too. This file collects what a decision needs and
//! writes the response. Whether the check is allowed is decided by decision.rs, also for fast_path.rs, which answers most
//! checks before they reach this file. Whether a session is live is decided by core.
//!
//! The only statuses are 200, 401, 403 and 503, and 302 from `/auth/forward`: nginx passes on 2xx, 401 and 403, and turns every
//! other status into its own 500. Every error leads to a status other than 200 (fail closed).

pub(in crate::web) mod access_denied;
pub(in crate::web) mod config;
mod decision;
mod fast_path;
mod forwarded_request;
mod identity_headers;
pub(in crate::web) mod navigation;
mod own_paths;
mod protected_names;
mod renewal;
mod rules;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_LANGUAGE, LOCATION};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::endpoints::jwks;
use super::request::limits;
use crate::core::account::identity_cache::Identity;
use crate::core::error::{Error, Refusal};
use crate::core::session::Issued;
use crate::core::session::caller::Caller;
use crate::web::pages::refusals;
use crate::web::request::credentials::{access_cookie, own_bearer};
use crate::web::response::error::{HandlerResult, WebError};
use crate::web::response::routing::resource;
use crate::web::service::Doorward;
use config::paths;
use decision::{Allowed, CheckQuery, Denied, authorize};
use forwarded_request::{ForwardedRequest, InvalidForwardedHeaders};
use rules::RuleMatch;

pub use fast_path::try_fast_path;

const UNTRUSTED_PROXY: InvalidForwardedHeaders =
    InvalidForwardedHeaders("the check comes from an address that is not in TRUSTED_PROXIES");

const IMITATED_HEADER: InvalidForwardedHeaders = InvalidForwardedHeaders(
    "a header has the name of an identity or forwarded header with another character for a hyphen",
);

const CHECK_OF_A_CHECK: InvalidForwardedHeaders =
    InvalidForwardedHeaders("no assertion is made for the path of a check, which clients must not reach");

/// Adds the routes under a prefix, for every method: some proxies send the browser's method, some their own.
pub fn routes(prefix: &str) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let [verify_path, forward_path] = paths(prefix);
    move |app| {
        app.service(web::resource(verify_path).to(verify)).service(web::resource(forward_path).to(forward));
    }
}

/// Adds the list of the keys that verify assertions.
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
        Ok(allowed) => allow(&service, &request, &allowed),
        Err(denied) => denied.response(&service, &request),
    }
}

async fn forward(request: HttpRequest, service: Data<Doorward>) -> HttpResponse {
    match check(&service, &request).await {
        Ok(allowed) => allow(&service, &request, &allowed),
        Err(Denied::Error(error)) => {
            let forwarded = read_forwarded(&service, &request);
            let original = forwarded.as_ref().ok().and_then(Option::as_ref);
            let method = original.map_or(request.method().as_str(), |forwarded| &forwarded.method);
            if !navigation::is_navigation(request.headers(), method) {
                return Denied::Error(error).response(&service, &request);
            }
            if has_remedy_page(&service, &error) {
                return redirect_to_page(&service, &request, forwarded, &error);
            }
            let page = match original {
                Some(forwarded) if Denied::status(&error) == StatusCode::SERVICE_UNAVAILABLE => {
                    let language = request.headers().get(ACCEPT_LANGUAGE);
                    refusals::try_later(&service.forward_auth().theme, language, &error, forwarded.url()).ok()
                }
                _ => None,
            };
            let response = Denied::Error(error).response(&service, &request);
            page.unwrap_or(response)
        }
        Err(denied) => denied.response(&service, &request),
    }
}

/// The handler's response to an allowed check; that of the fast path is written in fast_path.rs from the parts in config.rs.
fn allow(service: &Doorward, request: &HttpRequest, allowed: &Allowed) -> HttpResponse {
    let mut response = HttpResponse::Ok().finish();
    let headers = &service.forward_auth().headers;
    match allowed.subject() {
        Some((caller, identity)) => headers.write(&mut response, identity, caller.session, allowed.assertion()),
        None => headers.write_empty(&mut response),
    }
    let https = service.proxies().is_https(request);
    match allowed.renewal().map(|issued| service.cookies().set_access(&mut response, issued, https)) {
        Some(Err(error)) => Denied::Error(error.into()).response(service, request),
        None | Some(Ok(())) => response,
    }
}

/// Decides a check, and counts it by its outcome. Ignored forwarded headers are reported here alone: the fast path reads none of
/// them, and looking for them would cost each of its checks. The first check of a connection is always on this path.
async fn check(service: &Doorward, request: &HttpRequest) -> Result<Allowed, Denied> {
    service.client_addresses().report_untrusted(service.proxies(), request, service.core().now());
    let decided = collect_and_authorize(service, request).await;
    match &decided {
        Err(Denied::Error(WebError::Core(error))) => service.count_check(Some(error)),
        Err(Denied::Error(WebError::Request(_)) | Denied::InvalidForwardedHeaders(_)) => {
            service.core().metrics().checks.denied.inc();
        }
        Ok(_) => service.count_check(None),
    }
    decided
}

/// Collects what `authorize` needs, and has it decide. `fast_path::decide_in_memory` is the same sequence for the checks that need no rules, no
/// assertion and no database, and must reject at least what this rejects.
async fn collect_and_authorize(service: &Doorward, request: &HttpRequest) -> Result<Allowed, Denied> {
    limits::check(request)?;
    let settings = service.forward_auth();
    let mut names = request.headers().keys();
    if names.any(|name| settings.protected_names.is_imitated_by(name.as_str())) {
        return Err(IMITATED_HEADER.into());
    }
    let query = CheckQuery::parse(request.uri().query().unwrap_or_default())?;
    let mut requirement = query.requirement;
    if let Some(rules) = settings.rules.load().as_deref() {
        match rules::match_rule(rules, &read_forwarded(service, request)?.ok_or(UNTRUSTED_PROXY)?) {
            RuleMatch::Public => return Ok(authorize(RuleMatch::Public, None)?),
            RuleMatch::SignedIn(of_rule) => requirement.merge(of_rule),
        }
    }
    let (caller, renewal) = resolve_caller(service, request).await?;
    let identity = find_identity(service, &caller).await?;
    let mut allowed = authorize(RuleMatch::SignedIn(requirement), Some((caller.clone(), identity)))?;
    if query.assertion {
        allowed = allowed.with_assertion(assertion(service, request, &caller)?);
    }
    Ok(allowed.with_renewal(renewal))
}

/// The caller of the bearer header if it holds a token of this service, and otherwise of the access cookie, or of the refresh
/// cookie, with a new access token, where VERIFY_RENEW allows it.
async fn resolve_caller(service: &Doorward, request: &HttpRequest) -> Result<(Caller, Option<Issued>), Denied> {
    // No cookie makes up for a dead token: the client would act as another account than the one it named.
    if let Some(token) = own_bearer(service, request)? {
        return Ok((service.find_caller(token.expose()).await?, None));
    }
    let resolved = match access_cookie(service, request)? {
        Some(token) => service.find_caller(token.expose()).await,
        None => Err(Refusal::TokenMissing.into()),
    };
    match resolved {
        Ok(caller) => Ok((caller, None)),
        // A renewed token would have the same restriction.
        Err(Error::Refusal(Refusal::PasswordChangeRequired)) => Err(Refusal::PasswordChangeRequired.into()),
        Err(Error::Refusal(refusal)) if service.forward_auth().renews => {
            let (caller, renewal) = renewal::renew(service, request, refusal).await?;
            Ok((caller, Some(renewal)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn find_identity(service: &Doorward, caller: &Caller) -> Result<Arc<Identity>, Error> {
    if let Some(cached) = service.core().cached_identity(caller.account) {
        return Ok(cached);
    }
    let account = caller.account;
    service.run_blocking(move |core| core.find_identity(account)).await
}

fn assertion(service: &Doorward, request: &HttpRequest, caller: &Caller) -> Result<String, Denied> {
    let forwarded = read_forwarded(service, request)?.ok_or(UNTRUSTED_PROXY)?;
    if own_paths::is_one_of(forwarded.path(), &service.forward_auth().fast_path_template.paths) {
        return Err(CHECK_OF_A_CHECK.into());
    }
    Ok(service.core().assert_caller(caller, &forwarded.host, &forwarded.method)?)
}

fn read_forwarded(
    service: &Doorward,
    request: &HttpRequest,
) -> Result<Option<ForwardedRequest>, InvalidForwardedHeaders> {
    ForwardedRequest::read(request, service.forward_auth().forwarded_headers, service.proxies())
}

/// Whether there is a page on which the user can resolve the error: by signing in, by changing the password, or by switching to
/// another account.
fn has_remedy_page(service: &Doorward, error: &WebError) -> bool {
    let is_resolvable = must_change_password(error) || (is_permission_denied(error) && service.theme().serves_pages);
    Denied::status(error) == StatusCode::UNAUTHORIZED || is_resolvable
}

fn is_permission_denied(error: &WebError) -> bool {
    matches!(error.refusal(), Some(Refusal::PermissionDenied))
}

fn must_change_password(error: &WebError) -> bool {
    matches!(error.refusal(), Some(Refusal::PasswordChangeRequired))
}

/// Redirects to the page that resolves the error: `/access-denied` if the account lacks a role or permission, `/account` if the
/// password must be changed, `/auth/continue`, which refreshes the tokens, if the refresh cookie may still be valid, and `/login`
/// otherwise. Only GET and HEAD requests can be repeated, so only they have a return URL.
fn redirect_to_page(
    service: &Doorward,
    request: &HttpRequest,
    forwarded: Result<Option<ForwardedRequest>, InvalidForwardedHeaders>,
    error: &WebError,
) -> HttpResponse {
    let forwarded = match forwarded {
        Ok(forwarded) => forwarded,
        Err(invalid) => return Denied::InvalidForwardedHeaders(invalid).response(service, request),
    };
    let is_repeatable = |forwarded: &ForwardedRequest| matches!(forwarded.method.as_str(), "GET" | "HEAD");
    let return_url = forwarded.filter(is_repeatable).map(|forwarded| forwarded.url());
    let redirects = service.redirects();
    let page = if is_permission_denied(error) {
        redirects.access_denied_page(return_url.as_deref())
    } else if must_change_password(error) {
        redirects.account_page(return_url.as_deref())
    } else if renewal::may_succeed(service, request) {
        redirects.continue_page(return_url.as_deref())
    } else {
        redirects.sign_in_page(return_url.as_deref())
    };
    HttpResponse::Found().insert_header((LOCATION, page)).finish()
}
