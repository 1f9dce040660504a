//! Error table of the pages: the text of every error, as a page of its own or in a form. Status and headers are native's. A
//! new reason does not compile until it is decided here.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};

use super::layout::{Layout, Message, with_return_url};
use crate::core::error::{Error, FieldRule, InternalError, Refusal};
use crate::web::pages::layout::texts::catalog::{Texts, count};
use crate::web::pages::layout::theme::Theme;
use crate::web::response::error::{ErrorContext, HandlerResult, RequestError, WebError};
use crate::web::response::problem;
use crate::web::response::redirect::back_in;

/// An error that no form can show, as a page of its own.
pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let layout = Layout::new(refused.theme, refused.accept_language);
    let (path, query) = refused.target.split_once('?').unwrap_or((refused.target, ""));
    let is_unknown = matches!(refused.error, WebError::Request(RequestError::RouteNotFound));
    // The link to try again leads to the form's own page, which is a GET.
    let page = ["/login", "/register", "/logout", "/auth/continue"].into_iter().find(|page| *page == path);
    let back = back_in(query).and_then(|back| refused.redirects.allowed(&back));
    let is_defect = matches!(refused.error.internal(), Some(InternalError::Broken(_)));
    let message = Message {
        layout,
        title: layout.t.problem,
        sentences: vec![error_text(refused.error, layout.t)],
        link: (
            with_return_url(page.unwrap_or("/account"), back.as_deref()),
            if is_unknown { layout.t.account } else { layout.t.try_again },
        ),
        request_id: is_defect.then_some(refused.id.as_str()),
        is_error: true,
    };
    let status = problem::of(refused.error).status;
    match insert_headers(layout.answer(status, &message), problem::headers_of(status, refused.error)) {
        Ok(response) => response,
        Err(_unrendered) => problem::of(refused.error).answer(Some(refused.id)),
    }
}

/// An error that passes, as the page under an app's own URL, which the link loads again.
pub fn try_later(theme: &Theme, accept_language: Option<&HeaderValue>, error: &WebError, url: String) -> HandlerResult {
    let layout = Layout::new(theme, accept_language);
    let message = Message {
        layout,
        title: layout.t.problem,
        sentences: vec![error_text(error, layout.t)],
        link: (url, layout.t.try_again),
        request_id: None,
        is_error: true,
    };
    let status = StatusCode::SERVICE_UNAVAILABLE;
    insert_headers(layout.answer(status, &message), problem::headers_of(status, error))
}

/// Whether a browser that loads a page from this error gets a page, also on a path of the API: an unknown path, or an error
/// that says nothing about the API.
pub fn is_shown_to_browsers(error: &WebError) -> bool {
    use RequestError::{CookiesTooLarge, HeadersTooLarge, RouteNotFound, UriTooLong};
    let is_of_http = matches!(error, WebError::Request(RouteNotFound | CookiesTooLarge | HeadersTooLarge | UriTooLong));
    is_of_http || matches!(error.refusal(), Some(Refusal::Busy(_))) || error.internal().is_some()
}

/// A form's response to a refusal, with the headers that its status requires: how long to wait, how to sign in.
pub fn with_headers(response: HandlerResult, error: &WebError) -> HandlerResult {
    insert_headers(response, problem::of(error).headers)
}

fn insert_headers(response: HandlerResult, headers: Vec<(HeaderName, String)>) -> HandlerResult {
    let mut response = response?;
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The status of an error.
pub fn status(error: &WebError) -> StatusCode {
    problem::of(error).status
}

/// The text of an error. It does not disclose whether an account exists.
pub fn error_text(error: &WebError, t: &Texts) -> String {
    match error {
        WebError::Core(Error::Refusal(refusal)) => refusal_text(refusal, t),
        WebError::Core(Error::InternalError(InternalError::Unavailable(_))) => t.unavailable.to_owned(),
        WebError::Core(Error::InternalError(InternalError::Broken(_))) => t.internal_error.to_owned(),
        WebError::Request(error) => request_error_text(error, t).to_owned(),
    }
}

const fn request_error_text(error: &RequestError, t: &Texts) -> &'static str {
    match error {
        RequestError::AuthorizationMalformed => t.session_ended,
        RequestError::DuplicateCookie => t.duplicate_cookie,
        RequestError::OriginNotAllowed => t.origin_not_allowed,
        RequestError::RouteNotFound => t.page_not_found,
        RequestError::CookiesTooLarge | RequestError::HeadersTooLarge => t.cookies_too_large,
        _ => t.bad_request,
    }
}

fn refusal_text(refusal: &Refusal, t: &Texts) -> String {
    let text = match refusal {
        Refusal::Throttled(wait) => return t.throttled.replace("{}", &t.duration(*wait)),
        Refusal::RateLimited(wait) => return t.rate_limited.replace("{}", &t.duration(*wait)),
        Refusal::InvalidCredentials => t.invalid_credentials,
        Refusal::AccountNotActive(_) => t.not_active,
        Refusal::TokenMissing
        | Refusal::TokenInvalid
        | Refusal::TokenExpired
        | Refusal::SessionEnded
        | Refusal::RefreshTokenMissing
        | Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenReused
        | Refusal::AccountNotFound
        | Refusal::SessionNotFound => t.session_ended,
        Refusal::CurrentPasswordWrong => t.current_password_wrong,
        Refusal::PasswordUnchanged => t.password_unchanged,
        Refusal::SignUpClosed => t.sign_up_closed,
        Refusal::IdentifierTaken(_) => t.identifier_taken,
        Refusal::ConfirmationInvalid => t.confirmation_invalid,
        Refusal::InvalidFields(_) => t.invalid_fields,
        Refusal::Busy(_) => t.busy,
        Refusal::PasswordChangeRequired => t.password_change_required,
        Refusal::PermissionDenied => t.access_denied,
    };
    text.to_owned()
}

/// The text of a broken rule, below its field.
pub fn field_text(rule: FieldRule, t: &Texts) -> String {
    let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    match rule {
        FieldRule::TooShort(1) | FieldRule::Missing => t.required.to_owned(),
        FieldRule::TooShort(min) => count(t.too_short, number(min)),
        FieldRule::TooLong(max) => count(t.too_long, number(max)),
        FieldRule::OneOf(_) => t.one_required.to_owned(),
        FieldRule::NotAnEmail => t.invalid_email.to_owned(),
        FieldRule::NotAName => t.invalid_username.to_owned(),
        FieldRule::Reserved => t.reserved_name.to_owned(),
        FieldRule::TooCommon => t.too_common.to_owned(),
        FieldRule::LikeIdentifier => t.like_identifier.to_owned(),
        FieldRule::Type(_)
        | FieldRule::ControlCharacter
        | FieldRule::NotAUrl
        | FieldRule::NotAPin
        | FieldRule::NoPassword
        | FieldRule::WithoutPassword
        | FieldRule::BesidePlainSecret
        | FieldRule::IdOutOfRange(_)
        | FieldRule::TimeOutOfRange
        | FieldRule::UnknownHashFormat
        | FieldRule::HashTooExpensive
        | FieldRule::Unknown => t.invalid_value.to_owned(),
    }
}
