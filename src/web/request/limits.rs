//! Size limits of a request's head, and the limit of open files of the process. The body's limits are in body.rs, deadlines
//! in server/connection.rs.

use actix_web::HttpRequest;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::session_cookie;
use crate::settings::Settings;
use crate::web::response::error::{RequestError, WebError};

/// The longest path and query.
pub const URI_MAX: usize = 8 * 1024;

/// The largest header section, in bytes on the wire.
const HEADERS_MAX: usize = 32 * 1024;

/// The most bytes of cookies, over all `Cookie` headers.
pub const COOKIES_MAX: usize = 8 * 1024;

/// Refuses a head over the limits, before any work is done for the request.
pub fn check(request: &HttpRequest) -> Result<(), RequestError> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > URI_MAX {
        return Err(RequestError::UriTooLong);
    }
    // A colon, a space and the end of the line.
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    let headers: usize = request.headers().iter().map(line).sum();
    match (headers > HEADERS_MAX, session_cookie::bytes(request.headers()) > COOKIES_MAX) {
        (true, _) => Err(RequestError::HeadersTooLarge),
        (false, true) => Err(RequestError::CookiesTooLarge),
        (false, false) => Ok(()),
    }
}

/// Middleware for endpoints outside every mount.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    match check(request.request()) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(error) => Ok(request.error_response(WebError::from(error))),
    }
}

/// Raises the soft limit of open files to the hard limit, which needs no privilege. Each connection is a file, and most
/// systems start processes with a soft limit of 1024.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // A failure leaves the old limit, about which `too_few_open_files` warns.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The warning for an operator when the limit of open files is too low for MAX_CONNECTIONS.
pub fn too_few_open_files(settings: &Settings) -> Option<String> {
    /// Standard streams, listeners, pollers, the keys file.
    const OTHERS: u64 = 64;
    let limit = getrlimit(Resource::Nofile).current?;
    // A SQLite connection holds three.
    let database = 3 * u64::from(settings.database.database_connections + 3);
    let needed = u64::from(settings.web.max_connections) + database + OTHERS;
    (limit < needed).then(|| {
        format!(
            "{limit} open files are allowed and MAX_CONNECTIONS={} takes {needed}; raise the limit (ulimit -n), or \
             lower the setting to {}",
            settings.web.max_connections,
            limit.saturating_sub(database + OTHERS).max(1)
        )
    })
}
