//! Multipart form parser (RFC 7578): the text fields of a body that has been read whole, within body.rs's limits. Files are
//! refused: no route of this service takes one.

use actix_multipart::Multipart;
use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::web::response::error::RequestError;

/// Whether the body is declared as a multipart form.
pub(super) fn is_multipart(request: &HttpRequest) -> bool {
    let mut types = request.headers().get_all(CONTENT_TYPE);
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let essence = one.to_str().ok().and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// Names and values of its fields, in their order.
pub(super) async fn fields(request: &HttpRequest, body: Vec<u8>) -> Result<Vec<(String, String)>, RequestError> {
    let malformed = || RequestError::MalformedBody("the body is not a valid multipart form".to_owned());
    let whole = stream::iter([Ok::<_, PayloadError>(Bytes::from(body))]);
    let mut parts = Multipart::new(request.headers(), whole);
    let mut fields = Vec::new();
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|_unreadable| malformed())?;
        let disposition = part.content_disposition().ok_or_else(malformed)?;
        let name = disposition.get_name().ok_or_else(malformed)?.to_owned();
        if disposition.get_filename().is_some() || disposition.get_filename_ext().is_some() {
            return Err(RequestError::MalformedBody(format!("the form holds a file in {name:?}")));
        }
        let is_utf8 = |charset: &str| charset.eq_ignore_ascii_case("utf-8");
        let charset = part.content_type().and_then(|media_type| media_type.get_param("charset"));
        if charset.is_some_and(|charset| !is_utf8(charset.as_str())) {
            return Err(malformed());
        }
        let read = |mut text: Vec<u8>, chunk: Bytes| async move {
            text.extend_from_slice(&chunk);
            Ok(text)
        };
        let text = part.by_ref().try_fold(Vec::new(), read).await.map_err(|_unreadable| malformed())?;
        fields.push((name, String::from_utf8(text).map_err(|_not_utf8| malformed())?));
    }
    Ok(fields)
}
