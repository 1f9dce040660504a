//! A page on its way out: the language, the headers that make a browser strict, and the way back that its links carry.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, REFERRER_POLICY, VARY,
};
use askama::Template;
use url::form_urlencoded::byte_serialize;

use super::texts;
use super::theme::Theme;
use crate::core::error::{Error, InternalError};
use crate::web::pages::texts::catalog::Texts;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;
use crate::web::response::redirect::{RETURN_PARAMETER, back_in};

/// What every page is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The language's sentences.
    pub t: &'static Texts,
    /// What all pages have in common.
    pub theme: &'a Theme,
}

impl<'a> Layout<'a> {
    /// For whoever speaks this.
    pub fn new(theme: &'a Theme, speaks: Option<&HeaderValue>) -> Self {
        Self { t: texts::spoken(speaks), theme }
    }

    /// For the client of a call.
    pub fn of(context: &'a RequestContext) -> Self {
        Self::new(context.service.theme(), context.request.headers().get(ACCEPT_LANGUAGE))
    }

    /// The page as an answer. Forms name their origin in `Origin`, which a policy of `no-referrer` would take away.
    pub fn answer(&self, status: StatusCode, page: &impl Template) -> HandlerResult {
        let html = page.render().map_err(|why| Error::from(InternalError::Broken(format!("a page: {why}"))))?;
        Ok(HttpResponse::build(status)
            .insert_header((CONTENT_SECURITY_POLICY, self.theme.policy.as_str()))
            .insert_header((REFERRER_POLICY, "same-origin"))
            .insert_header((CONTENT_LANGUAGE, self.t.lang))
            .insert_header((VARY, "Accept-Language"))
            .content_type("text/html; charset=utf-8")
            .body(html))
    }
}

/// A page that says one thing.
#[derive(Debug, Template)]
#[template(path = "message.html")]
pub struct Message<'a> {
    /// What surrounds it.
    pub layout: Layout<'a>,
    /// Its title.
    pub title: &'a str,
    /// Its sentences.
    pub sentences: Vec<String>,
    /// Where its button leads, and what it says.
    pub link: (String, &'a str),
    /// The request's id, where somebody should look into it.
    pub id: Option<&'a str>,
    /// Whether it is about something that went wrong.
    pub alarming: bool,
}

/// Sends the browser on, with GET.
pub fn redirect(target: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, target)).finish()
}

/// The way back of a request's query, as far as it may be one.
pub fn way_back(context: &RequestContext) -> Option<String> {
    back_in(context.request.query_string()).and_then(|back| context.service.redirects().allowed(&back))
}

/// A page of ours, with a way back that was allowed.
pub fn with_back(page: &str, back: Option<&str>) -> String {
    match back {
        Some(back) => format!("{page}?{RETURN_PARAMETER}={}", byte_serialize(back.as_bytes()).collect::<String>()),
        None => page.to_owned(),
    }
}

/// The host of a way back that leads elsewhere.
pub fn host_of(back: Option<&str>) -> Option<String> {
    url::Url::parse(back?).ok()?.host_str().map(ToOwned::to_owned)
}
