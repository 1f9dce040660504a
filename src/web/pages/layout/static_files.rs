//! Static files of the pages: stylesheet and logo. Clients may cache them for ever, since theme.rs gives a file with other
//! content another path.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;

use crate::web::request::context::RequestContext;
use crate::web::response::error::{HandlerResult, RequestError};

/// `GET /pages/…`
pub async fn file(context: RequestContext) -> HandlerResult {
    let files = context.service.theme().files();
    let file = files.into_iter().find(|file| file.path == context.request.path()).ok_or(RequestError::RouteNotFound)?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .content_type(file.media_type)
        .body(file.bytes.clone()))
}
