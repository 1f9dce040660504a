//! Every refusal to native's status and words. A new reason to refuse stops the build here until it is decided.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;

use crate::web::http::error::ErrorContext;
use crate::web::http::problem;

/// The answer in native's shape.
pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let mut answer = problem::of(refused.error).answer(Some(refused.id));
    // What a PATCH takes has a header of its own (RFC 5789 section 3.1).
    if refused.method == Method::PATCH
        && let Some(takes) = answer.headers_mut().remove("accept-post").next()
    {
        answer.headers_mut().insert(HeaderName::from_static("accept-patch"), takes);
    }
    answer
}
