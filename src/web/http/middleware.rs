//! From a handler's outcome to an answer: errors take the shape of the mount's dialect, faults are logged once, a panic
//! is a 500, and every answer gets its id and its fencing headers. Which shape that is, each dialect decides.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderValue, TRANSFER_ENCODING};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use futures_util::FutureExt;

use super::access_log::log_request;
use super::credentials::request_id_of;
use super::error::{ForgetCookies, Refused, WebError, tell};
use super::request_id::RequestId;
use super::security_headers::{fence, say_nothing_to_unlisted_origins};
use super::{limits, problem};
use crate::core::error::{Error, Fault, Refusal};
use crate::web::mount::Mounted;
use crate::web::server::in_flight::{AnswerBody, Requests};
use crate::web::service::Doorward;

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
            site: self.door.site(),
            redirects: self.door.redirects(),
            speaks: self.speaks.as_ref(),
        })
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

/// An error from outside every mount, with its id.
fn as_problem(response: ServiceResponse, id: &RequestId) -> ServiceResponse {
    let problem = match response.response().error().map(error_in) {
        Some(Said::Ours(error)) => problem::of(error).answer(Some(id)),
        _ => return response,
    };
    ServiceResponse::new(response.request().clone(), problem)
}
