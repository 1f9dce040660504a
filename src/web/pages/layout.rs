//! Layout of the pages: renders a template with the theme and the client's language, sets the page's security headers, and
//! builds links that carry the return URL. Which return URLs are allowed is decided by response/redirect.rs.

pub(crate) mod static_files;
pub(crate) mod texts;
pub(in crate::web) mod theme;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, REFERRER_POLICY, VARY,
};
use askama::Template;
use url::form_urlencoded::byte_serialize;

use super::layout::theme::Theme;
use crate::core::error::{Error, InternalError};
use crate::web::pages::layout::texts::catalog::Texts;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::redirect::{RETURN_PARAMETER, back_in};

/// What every page's template gets.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The texts in the client's language.
    pub t: &'static Texts,
    /// Name, stylesheet and logo.
    pub theme: &'a Theme,
}

impl<'a> Layout<'a> {
    /// For a client with this `Accept-Language`.
    pub fn new(theme: &'a Theme, accept_language: Option<&HeaderValue>) -> Self {
        Self { t: texts::negotiate_language(accept_language), theme }
    }

    /// For the client of a request.
    pub fn of(context: &'a RequestContext) -> Self {
        Self::new(context.service.theme(), context.request.headers().get(ACCEPT_LANGUAGE))
    }

    /// Renders a page as a response. With the referrer policy `no-referrer` browsers would send `Origin: null` with the page's
    /// forms, and the origin check would reject them.
    pub fn answer(&self, status: StatusCode, page: &impl Template) -> HandlerResult {
        let html =
            page.render().map_err(|why| Error::from(InternalError::broken_by("a page cannot be rendered", why)))?;
        Ok(HttpResponse::build(status)
            .insert_header((CONTENT_SECURITY_POLICY, self.theme.policy.as_str()))
            .insert_header((REFERRER_POLICY, "same-origin"))
            .insert_header((CONTENT_LANGUAGE, self.t.lang))
            .insert_header((VARY, "Accept-Language"))
            .content_type("text/html; charset=utf-8")
            .body(html))
    }
}

/// A page with a message and a single link.
#[derive(Debug, Template)]
#[template(path = "message.html")]
pub struct Message<'a> {
    /// The layout.
    pub layout: Layout<'a>,
    /// The title.
    pub title: &'a str,
    /// The paragraphs.
    pub sentences: Vec<String>,
    /// The target of the link, and its text.
    pub link: (String, &'a str),
    /// The request ID of an internal error.
    pub request_id: Option<&'a str>,
    /// Whether it is an error, which screen readers announce immediately.
    pub is_error: bool,
}

/// A redirect that the browser follows with GET.
pub fn redirect(target: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, target)).finish()
}

/// The return URL in a request's query, if it is allowed.
pub fn return_url(context: &RequestContext) -> Option<String> {
    back_in(context.request.query_string()).and_then(|url| context.service.redirects().allowed(&url))
}

/// A page's path with a return URL that has been found to be allowed.
pub fn with_return_url(page: &str, return_url: Option<&str>) -> String {
    match return_url {
        Some(url) => format!("{page}?{RETURN_PARAMETER}={}", byte_serialize(url.as_bytes()).collect::<String>()),
        None => page.to_owned(),
    }
}

/// The host of a return URL, if it is an absolute one.
pub fn host_of(return_url: Option<&str>) -> Option<String> {
    url::Url::parse(return_url?).ok()?.host_str().map(ToOwned::to_owned)
}
