//! Authentication of a request: the `Caller` extractor, the middleware `require_session` and the bearer validator, for the
//! service's own routes and for other actix services. Which credential counts is decided by credentials.rs; tokens are
//! verified by core.

use std::pin::Pin;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};

use crate::core::error::{Error, Refusal};
use crate::core::session::Resolved;
use crate::core::session::caller::Caller;
use crate::core::token::claims::VerifiedClaims;
use crate::web::request::bearer::BearerToken;
use crate::web::request::credentials::{access_token, request_id_of};
use crate::web::response::error::{WebError, log_error};
use crate::web::response::middleware::as_error;
use crate::web::response::problem;
use crate::web::service::{Doorward, missing_doorward};

impl Doorward {
    /// The caller of a request, by its access token. Reads only the revocation cache in memory, unless that is stale.
    pub async fn caller(&self, request: &HttpRequest) -> Result<Caller, WebError> {
        if let Some(caller) = request.extensions().get::<Caller>() {
            return Ok(caller.clone());
        }
        let presented = access_token(self, request)?.ok_or(Refusal::TokenMissing)?;
        Ok(self.resolve(presented.expose()).await?)
    }

    /// The caller of an access token. An account that must change its password first is refused. Counted as a check.
    pub async fn resolve(&self, token: &str) -> Result<Caller, Error> {
        let resolved = self.find_caller(token).await;
        self.count_check(resolved.as_ref().err());
        resolved
    }

    /// As `resolve`, but accepts an account that must change its password: for the password change itself and for sign-out.
    pub async fn resolve_restricted(&self, token: &str) -> Result<Caller, Error> {
        let resolved = self.find_restricted(token).await;
        self.count_check(resolved.as_ref().err());
        resolved
    }

    /// As `resolve`, for forward-auth, which has more to decide and counts the check by its own response.
    pub(in crate::web) async fn find_caller(&self, token: &str) -> Result<Caller, Error> {
        Ok(self.find_restricted(token).await?.require_full_access()?)
    }

    async fn find_restricted(&self, token: &str) -> Result<Caller, Error> {
        match self.core().resolve_restricted_session(token) {
            Ok(Resolved::Live(caller)) => Ok(caller),
            Ok(Resolved::CheckTable(claims)) => self.resolve_from_table(claims).await,
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Counts a check by its outcome.
    pub(in crate::web) fn count_check(&self, error: Option<&Error>) {
        let metrics = self.core().metrics();
        match error {
            None => metrics.checks.allowed.inc(),
            Some(Error::Refusal(Refusal::Busy(_)) | Error::InternalError(_)) => metrics.checks.unavailable.inc(),
            Some(Error::Refusal(_)) => metrics.checks.denied.inc(),
        }
    }

    async fn resolve_from_table(&self, claims: Arc<VerifiedClaims>) -> Result<Caller, Error> {
        let answer = self.run_blocking(move |core| core.resolve_restricted_session_from_table(&claims)).await;
        let metrics = self.core().metrics();
        match &answer {
            Err(Error::Refusal(Refusal::Busy(_)) | Error::InternalError(_)) => metrics.checks.table_reads_failed.inc(),
            _ => metrics.checks.table_reads_answered.inc(),
        }
        answer
    }
}

/// The signed-in caller, or the error: write `caller: Caller` into a handler's arguments.
impl FromRequest for Caller {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, WebError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let service = request.app_data::<Data<Doorward>>().ok_or_else(missing_doorward)?;
            service.caller(&request).await
        })
    }
}

/// Middleware for routes that require a session: `.wrap(from_fn(require_session))`. A state-changing request must also come
/// from an allowed origin, since a cookie may authenticate it.
pub async fn require_session(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    match authenticate(&request).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await.map(ServiceResponse::map_into_boxed_body)
        }
        Err(error) => Ok(rejection(request, &error)),
    }
}

/// The response of a guard: a problem document, since the routes behind it belong to no dialect.
pub(in crate::web) fn rejection(request: ServiceRequest, error: &WebError) -> ServiceResponse {
    let rejection = reject(&request, error);
    request.into_response(rejection)
}

/// Validator for actix-web-httpauth, for routes that accept bearer tokens only: `HttpAuthentication::with_fn(bearer_validator)`.
/// The handler then takes `caller: Caller`. No cookie is read, so the request's origin does not matter.
pub async fn bearer_validator(
    request: ServiceRequest,
    presented: BearerToken,
) -> Result<ServiceRequest, (actix_web::Error, ServiceRequest)> {
    let resolved = match service_of(&request) {
        Ok(service) => service.resolve(presented.expose()).await.map_err(WebError::from),
        Err(error) => Err(error),
    };
    match resolved {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(request)
        }
        Err(error) => {
            let rejection = reject(&request, &error);
            Err((as_error(rejection), request))
        }
    }
}

/// The problem document of an error outside every mount, with the request's id.
fn reject(request: &ServiceRequest, error: &WebError) -> HttpResponse {
    let id = request_id_of(request);
    if let Some(internal) = error.internal() {
        log_error(internal, &id);
    }
    problem::of(error).answer(Some(&id))
}

fn service_of(request: &ServiceRequest) -> Result<Data<Doorward>, WebError> {
    Ok(request.app_data::<Data<Doorward>>().cloned().ok_or_else(missing_doorward)?)
}

/// The caller of a request that has a live session and, if it changes state, comes from an allowed origin.
pub(in crate::web) async fn authenticate(request: &ServiceRequest) -> Result<Caller, WebError> {
    let service = service_of(request)?;
    service.origins().check(request.request(), service.cookies().any(request.headers()))?;
    service.caller(request.request()).await
}
