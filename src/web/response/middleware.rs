//! From a handler's outcome to an answer: errors take the shape of the mount's dialect, faults are logged once, a panic
//! is a 500, and every answer gets its id and its fencing headers. Which shape that is, each dialect decides.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError as ResponseAsError;
use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderValue, TRANSFER_ENCODING};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use futures_util::FutureExt;

use super::access_log::log_request;
use super::error::{ClearCookies, ErrorContext, WebError, log_error};
use super::problem;
use super::security_headers::{set_security_headers, strip_cors_headers};
use crate::core::error::{Error, InternalError, Refusal};
use crate::web::mount::Mounted;
use crate::web::request::credentials::request_id_of;
use crate::web::request::limits;
use crate::web::request::request_id::RequestId;
use crate::web::server::in_flight::{InFlight, InFlightBody};
use crate::web::service::Doorward;

/// What of a request outlives it, to shape its error with.
struct ErrorRenderer {
    service: Data<Doorward>,
    mounted: Data<Mounted>,
    id: RequestId,
    method: Method,
    uri: Uri,
    speaks: Option<HeaderValue>,
}

/// Around every mount: guards head and origin, catches panics, gives errors the dialect's shape.
pub async fn render_errors(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    let (service, mounted) =
        (request.app_data::<Data<Doorward>>().cloned(), request.app_data::<Data<Mounted>>().cloned());
    let (Some(service), Some(mounted)) = (service, mounted) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let (id, method, uri) = (request_id_of(&request), request.method().clone(), request.uri().clone());
    let speaks = request.headers().get(ACCEPT_LANGUAGE).cloned();
    let renderer = ErrorRenderer { service, mounted, id, method, uri, speaks };
    let answered = shaped(&renderer, request, next).await;
    let status = match &answered {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    renderer.count(status);
    answered
}

async fn shaped(
    renderer: &ErrorRenderer,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    if let Err(refusal) = limits::check(request.request()).and_then(|()| renderer.check_origin(&request)) {
        return Ok(
            renderer.set_security_headers(request.into_response(renderer.shape(&ErrorSource::Ours(&refusal.into()))))
        );
    }
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => Ok(renderer.set_security_headers(renderer.reshape(response.map_into_boxed_body()))),
        Ok(Err(error)) => Err(as_error(renderer.shape(&error_in(&error)))),
        Err(_panic) => {
            let fault = InternalError::broken("a handler panicked");
            Err(as_error(renderer.shape(&ErrorSource::Ours(&fault.into()))))
        }
    }
}

impl ErrorRenderer {
    fn check_origin(&self, request: &ServiceRequest) -> Result<(), Refusal> {
        let brings_cookies = self.service.cookies().any(request.headers());
        self.service.origins().check(request.request(), brings_cookies)
    }

    fn count(&self, status: StatusCode) {
        let responses = &self.service.core().metrics().responses;
        responses.with_label_values(&[self.mounted.dialect.name, status.as_str()]).inc();
    }

    /// The fencing headers, also for a mount inside another service's app.
    fn set_security_headers(&self, mut response: ServiceResponse) -> ServiceResponse {
        set_security_headers(response.headers_mut(), &self.id, self.service.is_https());
        response
    }

    /// A handler's answer as it is, or its error in the dialect's shape.
    fn reshape(&self, response: ServiceResponse) -> ServiceResponse {
        let Some(shaped) = response.response().error().map(|error| self.shape(&error_in(error))) else {
            return response;
        };
        let request = response.request().clone();
        let shaped = clear_dead_cookies(shaped, &request, &self.service);
        ServiceResponse::new(request, shaped)
    }

    fn shape(&self, said: &ErrorSource<'_>) -> HttpResponse {
        let error = match said {
            ErrorSource::Ours(error) => error,
            ErrorSource::Frameworks(StatusCode::PAYLOAD_TOO_LARGE) => &Error::Refusal(Refusal::BodyTooLarge),
            ErrorSource::Frameworks(status) if status.is_client_error() => {
                &Error::Refusal(Refusal::MalformedBody("the request cannot be read".to_owned()))
            }
            ErrorSource::Frameworks(_) => &Error::InternalError(InternalError::broken("the framework gave up")),
        };
        if let Error::InternalError(fault) = error {
            log_error(fault, &self.id);
        }
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let at = self.service.core().now();
        (self.mounted.dialect.refuse)(&ErrorContext {
            error,
            id: &self.id,
            method: &self.method,
            target,
            at,
            theme: self.service.theme(),
            redirects: self.service.redirects(),
            speaks: self.speaks.as_ref(),
        })
    }
}

/// After a panic the request is gone, and actix takes an answer without its request only as an error that holds it.
fn as_error(response: HttpResponse) -> actix_web::Error {
    ResponseAsError::from_response("answered", response).into()
}

/// An error as the framework hands it over.
enum ErrorSource<'a> {
    Ours(&'a Error),
    Frameworks(StatusCode),
}

fn error_in(error: &actix_web::Error) -> ErrorSource<'_> {
    match error.as_error::<WebError>() {
        Some(ours) => ErrorSource::Ours(&ours.error),
        None => ErrorSource::Frameworks(error.as_response_error().status_code()),
    }
}

fn clear_dead_cookies(mut response: HttpResponse, request: &HttpRequest, service: &Doorward) -> HttpResponse {
    if request.extensions().get::<ClearCookies>().is_some() {
        let https = service.proxies().says_https(request);
        if let Err(fault) = service.cookies().clear(&mut response, https) {
            log::error!("{fault}");
        }
    }
    response
}

/// Around everything: the id, the fencing headers, the line in the log.
pub async fn security_headers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let (id, began) = (request_id_of(&request), Instant::now());
    let requests = request.conn_data::<InFlight>().cloned();
    let answering = requests.as_ref().map(InFlight::begin);
    // actix reads such a body to its end even when nobody wants it, however long that takes.
    let endless = request.headers().contains_key(TRANSFER_ENCODING);
    let service = request.app_data::<Data<Doorward>>().cloned();
    let https = service.as_ref().is_some_and(|service| service.is_https());
    let draining = service.as_ref().is_some_and(|service| service.is_draining());
    let mut response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => render_outside_mounts(response.map_into_boxed_body(), &id),
        Ok(Err(error)) => {
            let mut answer = error.error_response();
            set_security_headers(answer.headers_mut(), &id, https);
            return Err(as_error(answer));
        }
        Err(_panic) => {
            let fault = InternalError::broken("a handler panicked");
            log::error!(request = id.as_str(); "{fault}");
            let mut answer = problem::of(&fault.into()).answer(Some(&id));
            set_security_headers(answer.headers_mut(), &id, https);
            return Err(as_error(answer));
        }
    };
    set_security_headers(response.headers_mut(), &id, https);
    strip_cors_headers(response.headers_mut());
    let cut = endless && !response.status().is_success();
    if cut && let Some(requests) = requests {
        requests.close_after_response();
    }
    if draining || cut {
        response.response_mut().head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    log_request(&response, &id, began);
    Ok(response.map_body(|_, body| InFlightBody::new(body, answering)))
}

/// An error from outside every mount, with its id.
fn render_outside_mounts(response: ServiceResponse, id: &RequestId) -> ServiceResponse {
    let problem = match response.response().error().map(error_in) {
        Some(ErrorSource::Ours(error)) => problem::of(error).answer(Some(id)),
        _ => return response,
    };
    ServiceResponse::new(response.request().clone(), problem)
}
