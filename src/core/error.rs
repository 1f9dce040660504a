//! Errors of the domain: `Refusal`, the closed list of reasons for which an operation is refused, and `InternalError` for
//! what failed on the server. Status, body and words of each reason are decided by each dialect (src/web/dialects), which
//! must decide them for every reason; errors of HTTP itself are web's (src/web/response/error.rs).

use std::borrow::Cow;
use std::time::Duration;

use crate::secret::NoRandomness;
use crate::store::{self, AccountStatus, BoxedError};

/// Why an operation is refused. `code` is stable: clients and logs compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown identifier, wrong secret, or an account without such a secret. One reason for all three, so that a response
    /// does not disclose which accounts exist.
    InvalidCredentials,
    /// The secret was right and the account may not sign in.
    AccountNotActive(AccountStatus),
    /// The operation requires an access token, and none was presented.
    TokenMissing,
    /// A token that this service did not issue, or not for this use, or that a later change of the account replaced.
    TokenInvalid,
    /// A genuine token past its `exp`, or of a session past its end.
    TokenExpired,
    /// A genuine token of a session that was ended.
    SessionEnded,
    /// The operation requires a refresh token, and none was presented.
    RefreshTokenMissing,
    /// As `TokenInvalid`, for a presented refresh token.
    RefreshTokenInvalid,
    /// As `TokenExpired`, for a presented refresh token.
    RefreshTokenExpired,
    /// As `SessionEnded`, for a presented refresh token.
    RefreshSessionEnded,
    /// A rotated refresh token after its successor was used: the token has leaked, and the session was ended.
    RefreshTokenReused,
    /// A live session without the required role or permission.
    PermissionDenied,
    /// A live session of an account that must change its password before any other operation.
    PasswordChangeRequired,
    /// The current password that a password change requires is wrong.
    CurrentPasswordWrong,
    /// The new password equals the current one.
    PasswordUnchanged,
    /// Registration is switched off.
    SignUpClosed,
    /// Another account has the identifier.
    IdentifierTaken(Taken),
    /// The confirmation link of a registration is unknown, used or expired, or the password differs. One reason for all.
    ConfirmationInvalid,
    /// Fields that break a rule, each with its rule.
    InvalidFields(Vec<FieldError>),
    /// No such account; only operators receive this reason.
    AccountNotFound,
    /// No such session of this account.
    SessionNotFound,
    /// The throttle rejected the attempt after too many failures; retry after this time.
    Throttled(Duration),
    /// A rate limit rejected the operation; retry after this time.
    RateLimited(Duration),
    /// Load shedding rejected the operation; retry after this time.
    Busy(Duration),
}

/// Which identifiers of a registration are taken.
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
    /// Whether any of them is taken.
    pub fn any(self) -> bool {
        self.email || self.username || self.name
    }
}

/// A field of a request or of an import. The name on the wire is decided by the caller's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The account's number.
    Id,
    /// The email.
    Email,
    /// The username.
    Username,
    /// The display name, which also identifies the account.
    Name,
    /// The password.
    Password,
    /// The new password of a password change.
    NewPassword,
    /// The PIN.
    Pin,
    /// The first name.
    FirstName,
    /// The last name.
    LastName,
    /// The gender.
    Gender,
    /// The URL of an image.
    Image,
    /// The phone number.
    Phone,
    /// The imported hash of the password.
    PasswordHash,
    /// The imported hash of the PIN.
    PinHash,
    /// Whether the password must be changed.
    MustChangePassword,
    /// When the account was created.
    CreatedAt,
    /// When the account was last changed.
    UpdatedAt,
    /// When the account last signed in.
    LastSignIn,
    /// A field by the name under which the request's own format carries it.
    Named(String),
}

impl From<&str> for Field {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<String> for Field {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

/// A field and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field.
    pub field: Field,
    /// The rule that its value breaks.
    pub rule: FieldRule,
}

impl FieldError {
    /// An error of this field.
    pub fn new(field: impl Into<Field>, rule: FieldRule) -> Self {
        Self { field: field.into(), rule }
    }
}

/// The rules that a field can break. Their texts are written by web and cli.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldRule {
    /// The field is required.
    Missing,
    /// One of several fields is required.
    OneOf(&'static str),
    /// The value must be of this type or one of these values.
    Type(&'static str),
    /// Fewer characters than this.
    TooShort(usize),
    /// More characters than this.
    TooLong(usize),
    /// A control character in a text.
    ControlCharacter,
    /// Not the shape of an email address.
    NotAnEmail,
    /// Letters, digits and a few signs only, of one script.
    NotAName,
    /// A name that only operators give to accounts.
    Reserved,
    /// Not an http or https URL.
    NotAUrl,
    /// Not 4 to 12 digits.
    NotAPin,
    /// On the list of common passwords.
    TooCommon,
    /// The identifier, or the service's name, as a password.
    LikeIdentifier,
    /// The account has no password whose change could be required.
    NoPassword,
    /// An imported account without a password must not require its change.
    WithoutPassword,
    /// An imported account must not have a hash beside the plain secret.
    BesidePlainSecret,
    /// An imported account's number is outside 1 to this.
    IdOutOfRange(i64),
    /// An imported time before 1970 or in the future.
    TimeOutOfRange,
    /// An imported hash of an unsupported scheme.
    UnknownHashFormat,
    /// An imported hash whose cost parameters exceed what one sign-in may spend.
    HashTooExpensive,
    /// The request has no such field.
    Unknown,
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
            Self::PermissionDenied => "permission_denied",
            Self::PasswordChangeRequired => "password_change_required",
            Self::CurrentPasswordWrong => "current_password_wrong",
            Self::PasswordUnchanged => "password_unchanged",
            Self::SignUpClosed => "sign_up_closed",
            Self::IdentifierTaken(_) => "identifier_taken",
            Self::ConfirmationInvalid => "confirmation_invalid",
            Self::InvalidFields(_) => "invalid_fields",
            Self::AccountNotFound => "account_not_found",
            Self::SessionNotFound => "session_not_found",
            Self::Throttled(_) => "throttled",
            Self::RateLimited(_) => "rate_limited",
            Self::Busy(_) => "overloaded",
        }
    }

    /// Whether the session behind a refresh token has ended for good, so that its cookies are useless and can be cleared.
    pub const fn ends_session(&self) -> bool {
        matches!(self, Self::RefreshSessionEnded | Self::RefreshTokenReused | Self::RefreshTokenExpired)
    }

    /// The same reason for a presented refresh token: some dialects word it differently.
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
    /// The same error for a presented refresh token.
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

impl From<store::StoreError> for InternalError {
    fn from(error: store::StoreError) -> Self {
        match error {
            // After a conflict that outlasted its retries the same request may succeed too.
            store::StoreError::Unavailable { .. } | store::StoreError::Conflict { .. } => Self::unavailable(error),
            store::StoreError::Broken(_) | store::StoreError::Taken | store::StoreError::Abandoned => {
                Self::broken(error)
            }
        }
    }
}

impl From<store::StoreError> for Error {
    fn from(error: store::StoreError) -> Self {
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
        let internal = InternalError::from(store::StoreError::broken(driver));
        let of_the_store = internal.source().unwrap();
        assert!(of_the_store.is::<store::StoreError>());
        assert!(of_the_store.source().unwrap().is::<diesel::result::Error>());

        let io = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        let with_context = InternalError::broken_by("the thread cannot be started", io);
        assert!(with_context.to_string().starts_with("internal error: the thread cannot be started: "));
        assert!(with_context.source().unwrap().source().unwrap().is::<std::io::Error>());
    }

    #[test]
    fn outages_and_conflicts_are_unavailable_and_defects_are_not() {
        let outage = store::StoreError::unavailable(store::OutageCause::Locked, "a lock");
        let conflict = store::StoreError::Conflict { source: "a race".into() };
        for error in [outage, conflict] {
            assert!(matches!(InternalError::from(error), InternalError::Unavailable(_)));
        }
        for error in [store::StoreError::broken("a column"), store::StoreError::Taken, store::StoreError::Abandoned] {
            assert!(matches!(InternalError::from(error), InternalError::Broken(_)));
        }
    }
}
