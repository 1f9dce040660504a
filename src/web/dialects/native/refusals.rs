//! Errors of native: problem documents, whose table of status and text is response/problem.rs.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;

use crate::web::response::error::ErrorContext;
use crate::web::response::problem;

/// The error as a problem document.
pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let mut response = problem::of(refused.error).answer(Some(refused.id));
    // The media types of a PATCH have a header of their own (RFC 5789 section 3.1).
    if refused.method == Method::PATCH
        && let Some(types) = response.headers_mut().remove("accept-post").next()
    {
        response.headers_mut().insert(HeaderName::from_static("accept-patch"), types);
    }
    response
}
