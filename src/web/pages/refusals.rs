//! Every refusal to a page's words; statuses and headers are native's. A new reason to refuse stops the build here until it
//! is decided.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::layout::{Layout, Message, with_return_url};
use crate::core::error::{Error, FieldRule, InternalError, Refusal};
use crate::web::pages::texts::catalog::{Texts, count};
use crate::web::response::error::{ErrorContext, HandlerResult};
use crate::web::response::problem;
use crate::web::response::redirect::back_in;

/// A refusal that no form has room for, as a page of its own.
pub fn refuse(refused: &ErrorContext<'_>) -> HttpResponse {
    let layout = Layout::new(refused.theme, refused.speaks);
    let (path, query) = refused.target.split_once('?').unwrap_or((refused.target, ""));
    // Where it can be tried again with GET: the form's own page.
    let page = ["/login", "/register", "/logout", "/auth/continue"].into_iter().find(|page| *page == path);
    let back = back_in(query).and_then(|back| refused.redirects.allowed(&back));
    let broken = matches!(refused.error, Error::InternalError(InternalError::Broken(_)));
    let message = Message {
        layout,
        title: layout.t.problem,
        sentences: vec![said(refused.error, layout.t)],
        link: (with_return_url(page.unwrap_or("/account"), back.as_deref()), layout.t.try_again),
        request_id: broken.then_some(refused.id.as_str()),
        is_error: true,
    };
    let status = problem::of(refused.error).status;
    match with_headers(layout.answer(status, &message), refused.error) {
        Ok(answer) => answer,
        Err(_unrendered) => problem::of(refused.error).answer(Some(refused.id)),
    }
}

/// An answer with the headers that its refusal calls for: how long to wait, how to sign in.
pub fn with_headers(answer: HandlerResult, error: &Error) -> HandlerResult {
    let mut answer = answer?;
    for (name, value) in problem::of(error).headers {
        if let Ok(value) = value.parse() {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

/// The status of a refusal.
pub fn status(error: &Error) -> StatusCode {
    problem::of(error).status
}

/// A refusal in words. Whether an account exists is not among them.
pub fn said(error: &Error, t: &Texts) -> String {
    let refusal = match error {
        Error::InternalError(InternalError::Unavailable(_)) => return t.unavailable.to_owned(),
        Error::InternalError(InternalError::Broken(_)) => return t.internal_error.to_owned(),
        Error::Refusal(refusal) => refusal,
    };
    let text = match refusal {
        Refusal::Throttled(wait) => return t.throttled.replace("{}", &t.duration(*wait)),
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
        | Refusal::AuthorizationMalformed
        | Refusal::AccountNotFound
        | Refusal::SessionNotFound => t.session_ended,
        Refusal::DuplicateCookie => t.duplicate_cookie,
        Refusal::OriginNotAllowed => t.origin_not_allowed,
        Refusal::CurrentPasswordWrong => t.current_password_wrong,
        Refusal::PasswordUnchanged => t.password_unchanged,
        Refusal::SignUpClosed => t.sign_up_closed,
        Refusal::IdentifierTaken(_) => t.identifier_taken,
        Refusal::ConfirmationInvalid => t.confirmation_invalid,
        Refusal::InvalidFields(_) => t.invalid_fields,
        Refusal::RouteNotFound => t.page_not_found,
        Refusal::Busy(_) => t.busy,
        Refusal::PasswordChangeRequired => t.password_change_required,
        Refusal::PermissionDenied
        | Refusal::MalformedBody(_)
        | Refusal::UnsupportedMediaType
        | Refusal::BodyTooLarge
        | Refusal::BodyTooSlow
        | Refusal::UriTooLong
        | Refusal::HeadersTooLarge
        | Refusal::CookiesTooLarge
        | Refusal::MethodNotAllowed(_) => t.bad_request,
    };
    text.to_owned()
}

/// What is wrong with a field, in words that stand under it.
pub fn of_field(rule: FieldRule, t: &Texts) -> String {
    let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    match rule {
        FieldRule::TooShort(1) | FieldRule::Missing => t.required.to_owned(),
        FieldRule::TooShort(least) => count(t.too_short, number(least)),
        FieldRule::TooLong(most) => count(t.too_long, number(most)),
        FieldRule::OneOf(_) => t.one_required.to_owned(),
        FieldRule::NotAnEmail => t.invalid_email.to_owned(),
        FieldRule::NotAName => t.invalid_username.to_owned(),
        FieldRule::TooCommon => t.too_common.to_owned(),
        FieldRule::LikeIdentifier => t.like_identifier.to_owned(),
        FieldRule::Type(_) | FieldRule::NotAUrl | FieldRule::NotAPin | FieldRule::Unknown => t.invalid_value.to_owned(),
    }
}
