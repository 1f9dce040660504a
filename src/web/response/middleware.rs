//! Response middleware: renders errors in the format of the mount's dialect, logs internal errors once, turns a panic into a
//! 500, and sets request id and security headers on every response. The format is decided by each dialect.

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
use super::error::{ClearCookies, ErrorContext, RequestError, WebError, log_error};
use super::problem;
use super::security_headers::{set_security_headers, strip_cors_headers};
use crate::core::error::InternalError;
use crate::web::dialects::native;
use crate::web::forward_auth::navigation;
use crate::web::pages::refusals;
use crate::web::request::credentials::request_id_of;
use crate::web::request::limits;
use crate::web::request::request_id::RequestId;
use crate::web::server::in_flight::{InFlight, InFlightBody};
use crate::web::service::Doorward;
use crate::web::service::mount::Mounted;

/// What rendering an error needs of a request; it outlives the request, which a panic drops.
struct ErrorRenderer {
    service: Data<Doorward>,
    mounted: Data<Mounted>,
    id: RequestId,
    method: Method,
    uri: Uri,
    accept_language: Option<HeaderValue>,
    /// Whether a browser loads a page from here, and pages are served.
    is_page_load: bool,
}

/// Middleware of every mount: checks head limits and origin, catches panics, renders errors in the dialect's format.
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
    let accept_language = request.headers().get(ACCEPT_LANGUAGE).cloned();
    // Other contracts say what their clients get at an unknown path.
    let is_native = mounted.dialect.name == native::DIALECT.name && service.theme().serves_pages;
    let is_page_load =
        is_native && method == Method::GET && navigation::is_navigation(request.headers(), method.as_str());
    let renderer = ErrorRenderer { service, mounted, id, method, uri, accept_language, is_page_load };
    let result = check_and_call(&renderer, request, next).await;
    let status = match &result {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    renderer.count(status);
    result
}

async fn check_and_call(
    renderer: &ErrorRenderer,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    if let Err(error) = limits::check(request.request()).and_then(|()| renderer.check_origin(&request)) {
        let response = request.into_response(renderer.render(&error.into()));
        return Ok(renderer.set_security_headers(response));
    }
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => Ok(renderer.set_security_headers(renderer.render_if_error(response.map_into_boxed_body()))),
        Ok(Err(error)) => Err(as_error(renderer.render_source(&error_in(&error)))),
        Err(_panic) => {
            let panicked = InternalError::broken("a handler panicked");
            Err(as_error(renderer.render(&panicked.into())))
        }
    }
}

impl ErrorRenderer {
    fn check_origin(&self, request: &ServiceRequest) -> Result<(), RequestError> {
        let has_cookies = self.service.cookies().any(request.headers());
        self.service.origins().check(request.request(), has_cookies)
    }

    fn count(&self, status: StatusCode) {
        let responses = &self.service.core().metrics().responses;
        responses.with_label_values(&[self.mounted.dialect.name, status.as_str()]).inc();
    }

    /// Sets the security headers, also for a mount inside another service's app, which has no outer middleware of doorward.
    fn set_security_headers(&self, mut response: ServiceResponse) -> ServiceResponse {
        set_security_headers(response.headers_mut(), &self.id, self.service.is_https());
        response
    }

    /// Renders the error of a response, if it has one.
    fn render_if_error(&self, response: ServiceResponse) -> ServiceResponse {
        let Some(rendered) = response.response().error().map(|error| self.render_source(&error_in(error))) else {
            return response;
        };
        let request = response.request().clone();
        let rendered = clear_dead_cookies(rendered, &request, &self.service);
        ServiceResponse::new(request, rendered)
    }

    fn render_source(&self, source: &ErrorSource<'_>) -> HttpResponse {
        match source {
            ErrorSource::Ours(error) => self.render(error),
            ErrorSource::Frameworks(StatusCode::PAYLOAD_TOO_LARGE) => self.render(&RequestError::BodyTooLarge.into()),
            ErrorSource::Frameworks(status) if status.is_client_error() => {
                self.render(&RequestError::MalformedBody("the request cannot be read".to_owned()).into())
            }
            ErrorSource::Frameworks(_) => self.render(&InternalError::broken("the framework gave up").into()),
        }
    }

    /// Logs an internal error and renders any error by the dialect.
    fn render(&self, error: &WebError) -> HttpResponse {
        if let Some(internal) = error.internal() {
            log_error(internal, &self.id);
        }
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let at = self.service.core().now();
        let is_page = self.is_page_load && refusals::is_shown_to_browsers(error);
        let refuse = if is_page { refusals::refuse } else { self.mounted.dialect.refuse };
        refuse(&ErrorContext {
            error,
            id: &self.id,
            method: &self.method,
            target,
            at,
            theme: self.service.theme(),
            redirects: self.service.redirects(),
            accept_language: self.accept_language.as_ref(),
        })
    }
}

/// A response as an error. After a panic the request was dropped, and actix accepts a response without its request only as an
/// error that contains it.
pub(in crate::web) fn as_error(response: HttpResponse) -> actix_web::Error {
    ResponseAsError::from_response("answered", response).into()
}

/// The origin of an error that actix passes to the middleware.
enum ErrorSource<'a> {
    Ours(&'a WebError),
    Frameworks(StatusCode),
}

fn error_in(error: &actix_web::Error) -> ErrorSource<'_> {
    match error.as_error::<WebError>() {
        Some(ours) => ErrorSource::Ours(ours),
        None => ErrorSource::Frameworks(error.as_response_error().status_code()),
    }
}

fn clear_dead_cookies(mut response: HttpResponse, request: &HttpRequest, service: &Doorward) -> HttpResponse {
    if request.extensions().get::<ClearCookies>().is_some() {
        let https = service.proxies().is_https(request);
        if let Err(error) = service.cookies().clear(&mut response, https) {
            log::error!("{error}");
        }
    }
    response
}

/// Outermost middleware: request id, security headers, access log, and the connection's in-flight count.
pub async fn security_headers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let (id, started) = (request_id_of(&request), Instant::now());
    let in_flight = request.conn_data::<InFlight>().cloned();
    let guard = in_flight.as_ref().map(InFlight::begin);
    // actix reads a chunked body to its end even after an error response, however long that takes; the connection is closed
    // instead.
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let service = request.app_data::<Data<Doorward>>().cloned();
    let https = service.as_ref().is_some_and(|service| service.is_https());
    let draining = service.as_ref().is_some_and(|service| service.is_draining());
    let mut response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => render_outside_mounts(response.map_into_boxed_body(), &id),
        Ok(Err(error)) => {
            let mut response = error.error_response();
            set_security_headers(response.headers_mut(), &id, https);
            return Err(as_error(response));
        }
        Err(_panic) => {
            let panicked = InternalError::broken("a handler panicked");
            log_error(&panicked, &id);
            let mut response = problem::of(&panicked.into()).answer(Some(&id));
            set_security_headers(response.headers_mut(), &id, https);
            return Err(as_error(response));
        }
    };
    set_security_headers(response.headers_mut(), &id, https);
    strip_cors_headers(response.headers_mut());
    let close = is_chunked && !response.status().is_success();
    if close && let Some(in_flight) = in_flight {
        in_flight.close_after_response();
    }
    if draining || close {
        response.response_mut().head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    log_request(&response, &id, started);
    Ok(response.map_body(|_, body| InFlightBody::new(body, guard)))
}

/// Renders an error of a route outside every mount, with the request's id.
fn render_outside_mounts(response: ServiceResponse, id: &RequestId) -> ServiceResponse {
    let problem = match response.response().error().map(error_in) {
        Some(ErrorSource::Ours(error)) => problem::of(error).answer(Some(id)),
        _ => return response,
    };
    ServiceResponse::new(response.request().clone(), problem)
}
