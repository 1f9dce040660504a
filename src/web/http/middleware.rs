//! From a handler's outcome to an answer: errors take the shape of the mount's dialect, faults are logged once, a panic
//! is a 500, and every answer gets its id and its fencing headers. Which shape that is, each dialect decides.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use futures_util::FutureExt;

use super::context::{REQUEST_ID, RequestId, RequestIds, request_id_of};
use super::{limits, problem};
use crate::clock::Timestamp;
use crate::core::error::{Error, Fault, Refusal};
use crate::web::Doorward;
use crate::web::dialects::Mounted;
use crate::web::server::connection::{AnswerBody, Requests};

/// Where lines about single requests go.
pub const REQUESTS: &str = "doorward::request";

/// What a handler returns.
pub type Answered = Result<HttpResponse, WebError>;

/// A refusal or a fault on its way out. The mount's dialect gives it its shape; outside any mount it is a problem.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct WebError {
    error: Error,
}

impl WebError {
    /// What was refused or broke.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl From<Error> for WebError {
    fn from(error: Error) -> Self {
        Self { error }
    }
}

impl From<Refusal> for WebError {
    fn from(refusal: Refusal) -> Self {
        Self { error: refusal.into() }
    }
}

impl ResponseError for WebError {
    fn status_code(&self) -> StatusCode {
        problem::of(&self.error).status
    }

    fn error_response(&self) -> HttpResponse {
        problem::of(&self.error).answer(None)
    }
}

/// Marks an answer that tells a browser to forget its cookies: the session behind them is over for good.
#[derive(Debug, Clone, Copy)]
pub struct ForgetCookies;

/// A refusal or a fault with what its shape may need of the request.
#[derive(Debug)]
pub struct Refused<'a> {
    /// What was refused or broke.
    pub error: &'a Error,
    /// The request's id.
    pub id: &'a RequestId,
    /// The request's method.
    pub method: &'a Method,
    /// The request's path and query as they were sent. A query may hold a token.
    pub target: &'a str,
    /// Now.
    pub at: Timestamp,
    /// The service, for shapes that look like its pages.
    pub door: &'a Doorward,
    /// What the client says it speaks (`Accept-Language`).
    pub speaks: Option<&'a HeaderValue>,
}

/// What of a request outlives it, to shape its error with.
struct Shaper {
    door: Data<Doorward>,
    mounted: Data<Mounted>,
    id: RequestId,
    method: Method,
    uri: Uri,
    speaks: Option<HeaderValue>,
}

/// Around every mount: guards head and origin, catches panics, gives errors the dialect's shape.
pub async fn in_the_dialects_shape(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    let (door, mounted) = (request.app_data::<Data<Doorward>>().cloned(), request.app_data::<Data<Mounted>>().cloned());
    let (Some(door), Some(mounted)) = (door, mounted) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let (id, method, uri) = (request_id_of(&request), request.method().clone(), request.uri().clone());
    let speaks = request.headers().get(ACCEPT_LANGUAGE).cloned();
    let shaper = Shaper { door, mounted, id, method, uri, speaks };
    let answered = shaped(&shaper, request, next).await;
    let status = match &answered {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    shaper.count(status);
    answered
}

async fn shaped(
    shaper: &Shaper,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    if let Err(refusal) = limits::check(request.request()).and_then(|()| shaper.check_origin(&request)) {
        return Ok(shaper.fence(request.into_response(shaper.shape(&Said::Ours(&refusal.into())))));
    }
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => Ok(shaper.fence(shaper.reshape(response.map_into_boxed_body()))),
        Ok(Err(error)) => Err(as_error(shaper.shape(&error_in(&error)))),
        Err(_panic) => {
            let fault = Fault::Broken("a handler panicked".to_owned());
            Err(as_error(shaper.shape(&Said::Ours(&fault.into()))))
        }
    }
}

impl Shaper {
    fn check_origin(&self, request: &ServiceRequest) -> Result<(), Refusal> {
        let brings_cookies = self.door.cookies().any(request.headers());
        self.door.origins().check(request.request(), brings_cookies)
    }

    fn count(&self, status: StatusCode) {
        let responses = &self.door.core().metrics().responses;
        responses.with_label_values(&[self.mounted.dialect.name, status.as_str()]).inc();
    }

    /// The fencing headers, also for a mount inside another service's app.
    fn fence(&self, mut response: ServiceResponse) -> ServiceResponse {
        fence(response.headers_mut(), &self.id, self.door.is_https());
        response
    }

    /// A handler's answer as it is, or its error in the dialect's shape.
    fn reshape(&self, response: ServiceResponse) -> ServiceResponse {
        let Some(shaped) = response.response().error().map(|error| self.shape(&error_in(error))) else {
            return response;
        };
        let request = response.request().clone();
        let shaped = forget_cookies(shaped, &request, &self.door);
        ServiceResponse::new(request, shaped)
    }

    fn shape(&self, said: &Said<'_>) -> HttpResponse {
        let error = match said {
            Said::Ours(error) => error,
            Said::Frameworks(StatusCode::PAYLOAD_TOO_LARGE) => &Error::Refusal(Refusal::BodyTooLarge),
            Said::Frameworks(status) if status.is_client_error() => {
                &Error::Refusal(Refusal::MalformedBody("the request cannot be read".to_owned()))
            }
            Said::Frameworks(_) => &Error::Fault(Fault::Broken("the framework gave up".to_owned())),
        };
        if let Error::Fault(fault) = error {
            tell(fault, &self.id);
        }
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let at = self.door.core().now();
        (self.mounted.dialect.refuse)(&Refused {
            error,
            id: &self.id,
            method: &self.method,
            target,
            at,
            door: &self.door,
            speaks: self.speaks.as_ref(),
        })
    }
}

/// A defect is told with each request that meets it. That the database is away is told by the store, once an outage.
pub fn tell(fault: &Fault, id: &RequestId) {
    match fault {
        Fault::Broken(_) => log::error!(request = id.as_str(); "{fault}"),
        Fault::Unavailable(_) => log::debug!(request = id.as_str(); "{fault}"),
    }
}

/// After a panic the request is gone, and actix takes an answer without its request only as an error that holds it.
fn as_error(response: HttpResponse) -> actix_web::Error {
    InternalError::from_response("answered", response).into()
}

/// An error as the framework hands it over.
enum Said<'a> {
    Ours(&'a Error),
    Frameworks(StatusCode),
}

fn error_in(error: &actix_web::Error) -> Said<'_> {
    match error.as_error::<WebError>() {
        Some(ours) => Said::Ours(&ours.error),
        None => Said::Frameworks(error.as_response_error().status_code()),
    }
}

fn forget_cookies(mut response: HttpResponse, request: &HttpRequest, door: &Doorward) -> HttpResponse {
    if request.extensions().get::<ForgetCookies>().is_some() {
        let https = door.proxies().says_https(request);
        if let Err(fault) = door.cookies().clear(&mut response, https) {
            log::error!("{fault}");
        }
    }
    response
}

/// Around everything: the id, the fencing headers, the line in the log.
pub async fn fenced(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let (id, began) = (request_id_of(&request), Instant::now());
    let requests = request.conn_data::<Requests>().cloned();
    let answering = requests.as_ref().map(Requests::begin);
    // actix reads such a body to its end even when nobody wants it, however long that takes.
    let endless = request.headers().contains_key(TRANSFER_ENCODING);
    let door = request.app_data::<Data<Doorward>>().cloned();
    let https = door.as_ref().is_some_and(|door| door.is_https());
    let draining = door.as_ref().is_some_and(|door| door.is_draining());
    let mut response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => as_problem(response.map_into_boxed_body(), &id),
        Ok(Err(error)) => {
            let mut answer = error.error_response();
            fence(answer.headers_mut(), &id, https);
            return Err(as_error(answer));
        }
        Err(_panic) => {
            let fault = Fault::Broken("a handler panicked".to_owned());
            log::error!(request = id.as_str(); "{fault}");
            let mut answer = problem::of(&fault.into()).answer(Some(&id));
            fence(answer.headers_mut(), &id, https);
            return Err(as_error(answer));
        }
    };
    fence(response.headers_mut(), &id, https);
    say_nothing_to_unlisted_origins(response.headers_mut());
    let cut = endless && !response.status().is_success();
    if cut && let Some(requests) = requests {
        requests.end();
    }
    if draining || cut {
        response.response_mut().head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    log_request(&response, &id, began);
    Ok(response.map_body(|_, body| AnswerBody::new(body, answering)))
}

/// actix-cors says a part of its word to every origin; one that is not listed gets none of it.
fn say_nothing_to_unlisted_origins(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    }
}

/// An error from outside every mount, with its id.
fn as_problem(response: ServiceResponse, id: &RequestId) -> ServiceResponse {
    let problem = match response.response().error().map(error_in) {
        Some(Said::Ours(error)) => problem::of(error).answer(Some(id)),
        _ => return response,
    };
    ServiceResponse::new(response.request().clone(), problem)
}

/// Headers of ASVS 3.4: on every answer, errors and unknown paths included. A page that needs more says so itself.
fn fence(headers: &mut HeaderMap, id: &RequestId, https: bool) {
    let fixed: [(HeaderName, &'static str); 6] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let hsts = https.then_some((STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"));
    for (name, value) in fixed.into_iter().chain(hsts) {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
}

/// The same headers without an id, as lines.
pub fn fence_lines(https: bool) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    fence(&mut headers, &RequestIds::default().next(), https);
    headers.remove(REQUEST_ID);
    headers.iter().flat_map(header_line).collect()
}

/// A header as it stands on the wire.
pub fn header_line((name, value): (&HeaderName, &HeaderValue)) -> Vec<u8> {
    [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
}

/// A method of their own making may be anything that somebody sent in the wrong place.
fn known_method(method: &Method) -> &str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    if known.contains(method) { method.as_str() } else { "other" }
}

fn log_request<B>(response: &ServiceResponse<B>, id: &RequestId, began: Instant) {
    let request = response.request();
    log_answer(request.method(), request.path(), response.status(), id, began);
}

/// The path only: a query may hold a token.
pub fn log_answer(method: &Method, path: &str, status: StatusCode, id: &RequestId, began: Instant) {
    log::debug!(
        target: REQUESTS,
        method = known_method(method),
        path,
        status = status.as_u16(),
        us = began.elapsed().as_micros(),
        request = id.as_str();
        "request"
    );
}
