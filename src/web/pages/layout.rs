//! A page on its way out: the language, the headers that make a browser strict, and the way back that its links carry.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, REFERRER_POLICY, VARY,
};
use askama::Template;
use url::form_urlencoded::byte_serialize;

use super::site::Site;
use super::texts;
use crate::core::error::{Error, Fault};
use crate::web::http::context::Call;
use crate::web::http::error::Answered;
use crate::web::http::redirect::{BACK, back_in};
use crate::web::pages::texts::catalog::Texts;

/// What every page is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The language's sentences.
    pub t: &'static Texts,
    /// What all pages have in common.
    pub site: &'a Site,
}

impl<'a> Frame<'a> {
    /// For whoever speaks this.
    pub fn new(site: &'a Site, speaks: Option<&HeaderValue>) -> Self {
        Self { t: texts::spoken(speaks), site }
    }

    /// For the client of a call.
    pub fn of(call: &'a Call) -> Self {
        Self::new(call.door.site(), call.request.headers().get(ACCEPT_LANGUAGE))
    }

    /// The page as an answer. Forms name their origin in `Origin`, which a policy of `no-referrer` would take away.
    pub fn answer(&self, status: StatusCode, page: &impl Template) -> Answered {
        let html = page.render().map_err(|why| Error::from(Fault::Broken(format!("a page: {why}"))))?;
        Ok(HttpResponse::build(status)
            .insert_header((CONTENT_SECURITY_POLICY, self.site.policy.as_str()))
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
    pub frame: Frame<'a>,
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
pub fn way_back(call: &Call) -> Option<String> {
    back_in(call.request.query_string()).and_then(|back| call.door.redirects().allowed(&back))
}

/// A page of ours, with a way back that was allowed.
pub fn with_back(page: &str, back: Option<&str>) -> String {
    match back {
        Some(back) => format!("{page}?{BACK}={}", byte_serialize(back.as_bytes()).collect::<String>()),
        None => page.to_owned(),
    }
}

/// The host of a way back that leads elsewhere.
pub fn host_of(back: Option<&str>) -> Option<String> {
    url::Url::parse(back?).ok()?.host_str().map(ToOwned::to_owned)
}
