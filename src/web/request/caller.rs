//! Cookie or bearer to `Caller`: the extractor and the middleware, for our own routes and for other actix services.

use std::pin::Pin;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use crate::core::caller::Caller;
use crate::core::error::{Error, Refusal};
use crate::core::session::Resolved;
use crate::core::token::claims::VerifiedClaims;
use crate::web::request::credentials::{access_token, request_id_of};
use crate::web::response::error::{WebError, log_error};
use crate::web::response::problem;
use crate::web::service::{Doorward, missing_doorward};

impl Doorward {
    /// Who a request's access token speaks for. Reads memory only, unless memory is too old to be believed.
    pub async fn caller(&self, request: &HttpRequest) -> Result<Caller, Error> {
        if let Some(caller) = request.extensions().get::<Caller>() {
            return Ok(caller.clone());
        }
        let presented = access_token(self, request)?.ok_or(Refusal::TokenMissing)?;
        self.resolve(presented.expose()).await
    }

    /// Who an access token speaks for, unless it must change its password first. Counted as a check.
    pub async fn resolve(&self, token: &str) -> Result<Caller, Error> {
        let resolved = self.find_caller(token).await;
        self.count_check(resolved.as_ref().err());
        resolved
    }

    /// As `resolve`, also for one who must change the password first: for what changes it, and what signs out.
    pub async fn resolve_restricted(&self, token: &str) -> Result<Caller, Error> {
        let resolved = self.find_restricted(token).await;
        self.count_check(resolved.as_ref().err());
        resolved
    }

    /// As `resolve`, for whoever has more to decide and counts the check by its own answer.
    pub(in crate::web) async fn find_caller(&self, token: &str) -> Result<Caller, Error> {
        Ok(self.find_restricted(token).await?.require_full_access()?)
    }

    async fn find_restricted(&self, token: &str) -> Result<Caller, Error> {
        match self.core().resolve_restricted_session(token) {
            Ok(Resolved::Live(caller)) => Ok(caller),
            Ok(Resolved::CheckTable(claims)) => self.ask_table(claims).await,
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Counts a check by what it came to.
    pub(in crate::web) fn count_check(&self, error: Option<&Error>) {
        let metrics = self.core().metrics();
        match error {
            None => metrics.checks.allowed.inc(),
            Some(Error::Refusal(Refusal::Busy(_)) | Error::InternalError(_)) => metrics.checks.unavailable.inc(),
            Some(Error::Refusal(_)) => metrics.checks.denied.inc(),
        }
    }

    async fn ask_table(&self, claims: Arc<VerifiedClaims>) -> Result<Caller, Error> {
        let answer = self.run_blocking(move |core| core.resolve_restricted_session_from_table(&claims)).await;
        let metrics = self.core().metrics();
        match &answer {
            Err(Error::Refusal(Refusal::Busy(_)) | Error::InternalError(_)) => metrics.checks.table_reads_failed.inc(),
            _ => metrics.checks.table_reads_answered.inc(),
        }
        answer
    }
}

/// A signed-in caller, or the refusal: write `caller: Caller` into a handler's arguments.
impl FromRequest for Caller {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, WebError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let service = request.app_data::<Data<Doorward>>().ok_or_else(|| Error::from(missing_doorward()))?;
            Ok(service.caller(&request).await?)
        })
    }
}

/// Middleware for routes that only the signed-in may reach: `.wrap(from_fn(require_session))`. A request that changes
/// state must also come from an allowed origin, since a cookie may be what authenticates it.
pub async fn require_session(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    match admit(&request).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await.map(ServiceResponse::map_into_boxed_body)
        }
        Err(error) => Ok(refusal_response(request, &error)),
    }
}

/// The answer of a guard: problem+json, since the routes behind it belong to no dialect.
pub(in crate::web) fn refusal_response(request: ServiceRequest, error: &Error) -> ServiceResponse {
    let id = request_id_of(&request);
    if let Error::InternalError(fault) = error {
        log_error(fault, &id);
    }
    let answer = problem::of(error).answer(Some(&id));
    request.into_response(answer)
}

/// The caller of a request that has a live session and, if it changes state, comes from an allowed origin.
pub(in crate::web) async fn admit(request: &ServiceRequest) -> Result<Caller, Error> {
    let service = request.app_data::<Data<Doorward>>().cloned().ok_or_else(missing_doorward)?;
    service.origins().check(request.request(), service.cookies().any(request.headers()))?;
    service.caller(request.request()).await
}
