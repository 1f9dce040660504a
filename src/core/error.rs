//! Every reason for a no, in one closed list, and `InternalError` for what broke. How a reason is said (status, body, words)
//! is each dialect's to decide, and each must decide it for every reason.

use std::borrow::Cow;
use std::time::Duration;

use crate::secret::NoRandomness;
use crate::store::{self, AccountStatus, BoxedError};

/// Why a request is refused. `code` is stable: clients and logs compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown identifier, wrong secret, or an account without such a secret: one answer for all.
    InvalidCredentials,
    /// The secret was right and the account may not sign in.
    AccountNotActive(AccountStatus),
    /// No access token where one is needed.
    TokenMissing,
    /// A token that this service did not make, or not for this use, or that a later act replaced.
    TokenInvalid,
    /// A genuine token past its `exp`, or of a session past its end.
    TokenExpired,
    /// A genuine token of a session that was ended.
    SessionEnded,
    /// No refresh token where one is needed.
    RefreshTokenMissing,
    /// As `TokenInvalid`, of a refresh token that was to be spent.
    RefreshTokenInvalid,
    /// As `TokenExpired`, of a refresh token that was to be spent.
    RefreshTokenExpired,
    /// As `SessionEnded`, of a refresh token that was to be spent.
    RefreshSessionEnded,
    /// A spent refresh token after its successor was used: it has leaked, and the session is dead.
    RefreshTokenReused,
    /// A bearer header that is none: several, or of an impossible shape.
    AuthorizationMalformed,
    /// Two cookies of ours that differ.
    DuplicateCookie,
    /// A request that changes state and comes from a page of another origin.
    OriginNotAllowed,
    /// A live session without the right.
    PermissionDenied,
    /// A live session of an account that must change its password before it does anything else.
    PasswordChangeRequired,
    /// The current password that a change needs is wrong.
    CurrentPasswordWrong,
    /// The new password is the old one.
    PasswordUnchanged,
    /// Registration is switched off.
    SignUpClosed,
    /// Another account has the identifier.
    IdentifierTaken(Taken),
    /// The confirmation of a sign-up whose link is unknown, spent or over, or whose password is another: one answer for all.
    ConfirmationInvalid,
    /// Fields that break a rule, each with its rule.
    InvalidFields(Vec<FieldError>),
    /// A body that cannot be read at all; says where.
    MalformedBody(String),
    /// A body in another format than the route takes.
    UnsupportedMediaType,
    /// A body over the limit.
    BodyTooLarge,
    /// A body that did not arrive in time.
    BodyTooSlow,
    /// A path and query over the limit.
    UriTooLong,
    /// Headers over the limit, all together.
    HeadersTooLarge,
    /// Cookies over the limit, all together.
    CookiesTooLarge,
    /// No such path.
    RouteNotFound,
    /// The path exists and the method is none of these.
    MethodNotAllowed(&'static str),
    /// No such account: for operators only.
    AccountNotFound,
    /// No such session, or not theirs.
    SessionNotFound,
    /// Too many tries; come back after this long.
    Throttled(Duration),
    /// Too much to do right now; come back after this long.
    Busy(Duration),
}

/// Which identifiers of a sign-up are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// The email.
    pub email: bool,
    /// The username.
    pub username: bool,
    /// The name.
    pub name: bool,
}

impl Taken {
    /// Whether any is.
    pub fn any(self) -> bool {
        self.email || self.username || self.name
    }
}

/// A field and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: String,
    /// What is wrong with it.
    pub rule: FieldRule,
}

impl FieldError {
    /// A fault of this field.
    pub fn new(field: impl Into<String>, rule: FieldRule) -> Self {
        Self { field: field.into(), rule }
    }
}

/// The rules a field can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldRule {
    /// It must be there.
    Missing,
    /// One of several must be there.
    OneOf(&'static str),
    /// Another type is expected.
    Type(&'static str),
    /// Fewer characters than this.
    TooShort(usize),
    /// More characters than this.
    TooLong(usize),
    /// Not the shape of an email address.
    NotAnEmail,
    /// Letters, digits and a few signs only, of one script.
    NotAName,
    /// Not an http or https URL.
    NotAUrl,
    /// Not 4 to 12 digits.
    NotAPin,
    /// On the list of common passwords.
    TooCommon,
    /// The identifier, or the service's name, as a password.
    LikeIdentifier,
    /// No such field.
    Unknown,
}

impl FieldRule {
    /// The rule in words that follow the field's name.
    pub fn message(self) -> String {
        match self {
            Self::Missing => "is required".to_owned(),
            Self::OneOf(which) => format!("or another of {which} is required"),
            Self::Type(expected) => format!("must be {expected}"),
            Self::TooShort(1) => "must not be empty".to_owned(),
            Self::TooShort(least) => format!("must have at least {least} characters"),
            Self::TooLong(most) => format!("must have at most {most} characters"),
            Self::NotAnEmail => "must be an email address".to_owned(),
            Self::NotAName => "may hold letters of one script, digits and . _ - only".to_owned(),
            Self::NotAUrl => "must be an http or https URL".to_owned(),
            Self::NotAPin => "must be 4 to 12 digits".to_owned(),
            Self::TooCommon => "is on the list of common passwords; choose another".to_owned(),
            Self::LikeIdentifier => "must not be like the name it protects".to_owned(),
            Self::Unknown => "is not a field of this request".to_owned(),
        }
    }
}

impl Refusal {
    /// The stable name of the reason.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidCredentials => "invalid_credentials",
            Self::AccountNotActive(_) => "account_not_active",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid | Self::RefreshTokenInvalid => "token_invalid",
            Self::TokenExpired | Self::RefreshTokenExpired => "token_expired",
            Self::SessionEnded | Self::RefreshSessionEnded => "session_ended",
            Self::RefreshTokenMissing => "refresh_token_missing",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::AuthorizationMalformed => "authorization_malformed",
            Self::DuplicateCookie => "duplicate_cookie",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::PermissionDenied => "permission_denied",
            Self::PasswordChangeRequired => "password_change_required",
            Self::CurrentPasswordWrong => "current_password_wrong",
            Self::PasswordUnchanged => "password_unchanged",
            Self::SignUpClosed => "sign_up_closed",
            Self::IdentifierTaken(_) => "identifier_taken",
            Self::ConfirmationInvalid => "confirmation_invalid",
            Self::InvalidFields(_) => "invalid_fields",
            Self::MalformedBody(_) => "malformed_body",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::CookiesTooLarge => "cookies_too_large",
            Self::RouteNotFound => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::AccountNotFound => "account_not_found",
            Self::SessionNotFound => "session_not_found",
            Self::Throttled(_) => "throttled",
            Self::Busy(_) => "overloaded",
        }
    }

    /// Whether it says that the session behind a refresh token is over for good, so that its cookies are of no more use.
    pub const fn ends_session(&self) -> bool {
        matches!(self, Self::RefreshSessionEnded | Self::RefreshTokenReused | Self::RefreshTokenExpired)
    }

    /// The same reason, said of a refresh token that was to be spent: some wires say it in other words.
    #[must_use]
    pub fn of_refresh(self) -> Self {
        match self {
            Self::TokenInvalid => Self::RefreshTokenInvalid,
            Self::TokenExpired => Self::RefreshTokenExpired,
            Self::SessionEnded | Self::AccountNotActive(_) => Self::RefreshSessionEnded,
            other => other,
        }
    }
}

/// What kept the service from deciding. It is logged once, with its causes; the client gets the kind only.
///
/// The text of each is complete on its own, with that of its source in it; `source` is for callers that need the type.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// A dependency, or the service itself, is unavailable; the same request may succeed later.
    #[error("unavailable: {0}")]
    Unavailable(#[source] BoxedError),
    /// A defect.
    #[error("internal error: {0}")]
    Broken(#[source] BoxedError),
}

/// An error with what failed because of it.
#[derive(Debug, thiserror::Error)]
#[error("{failed}: {source}")]
struct WithContext {
    failed: Cow<'static, str>,
    source: BoxedError,
}

impl InternalError {
    /// From an error or a message.
    pub fn unavailable(source: impl Into<BoxedError>) -> Self {
        Self::Unavailable(source.into())
    }

    /// From an error or a message.
    pub fn broken(source: impl Into<BoxedError>) -> Self {
        Self::Broken(source.into())
    }

    /// From a message that says what failed, and the error that made it fail.
    pub fn broken_by(failed: impl Into<Cow<'static, str>>, source: impl Into<BoxedError>) -> Self {
        Self::broken(WithContext { failed: failed.into(), source: source.into() })
    }
}

/// Why an operation has no result: a refusal, which is a decision, or an internal error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A decision against the request.
    #[error("refused: {}", .0.code())]
    Refusal(Refusal),
    /// Something failed before the service could decide.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

impl Error {
    /// The same error, said of a refresh token.
    #[must_use]
    pub fn of_refresh(self) -> Self {
        match self {
            Self::Refusal(refusal) => refusal.of_refresh().into(),
            error @ Self::InternalError(_) => error,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<store::Error> for InternalError {
    fn from(error: store::Error) -> Self {
        match error {
            // After a conflict that outlasted its retries the same request may succeed too.
            store::Error::Unavailable { .. } | store::Error::Conflict { .. } => Self::unavailable(error),
            store::Error::Broken(_) | store::Error::Taken | store::Error::Abandoned => Self::broken(error),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::InternalError(error.into())
    }
}

impl From<NoRandomness> for Error {
    fn from(error: NoRandomness) -> Self {
        Self::InternalError(InternalError::broken(error))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn internal_errors_keep_the_chain_of_their_sources() {
        let driver = diesel::result::Error::NotFound;
        let internal = InternalError::from(store::Error::broken(driver));
        let of_the_store = internal.source().unwrap();
        assert!(of_the_store.is::<store::Error>());
        assert!(of_the_store.source().unwrap().is::<diesel::result::Error>());

        let io = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        let with_context = InternalError::broken_by("the thread cannot be started", io);
        assert!(with_context.to_string().starts_with("internal error: the thread cannot be started: "));
        assert!(with_context.source().unwrap().source().unwrap().is::<std::io::Error>());
    }

    #[test]
    fn outages_and_conflicts_are_unavailable_and_defects_are_not() {
        let outage = store::Error::unavailable(store::OutageCause::Locked, "a lock");
        let conflict = store::Error::Conflict { source: "a race".into() };
        for error in [outage, conflict] {
            assert!(matches!(InternalError::from(error), InternalError::Unavailable(_)));
        }
        for error in [store::Error::broken("a column"), store::Error::Taken, store::Error::Abandoned] {
            assert!(matches!(InternalError::from(error), InternalError::Broken(_)));
        }
    }
}
