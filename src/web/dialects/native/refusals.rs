//! Every refusal to native's status and words. A new reason to refuse stops the build here until it is decided.

use actix_web::HttpResponse;
use actix_web::http::header::HeaderName;
use actix_web::http::{Method, StatusCode as Status};

use crate::core::error::{Error, Fault, Refusal, Taken};
use crate::web::http::middleware::Refused;
use crate::web::http::problem::{Problem, headers_of};

/// The answer in native's shape.
pub fn refuse(refused: &Refused<'_>) -> HttpResponse {
    let mut answer = of(refused.error).answer(Some(refused.id));
    // What a PATCH takes has a header of its own (RFC 5789 section 3.1).
    if refused.method == Method::PATCH
        && let Some(takes) = answer.headers_mut().remove("accept-post").next()
    {
        answer.headers_mut().insert(HeaderName::from_static("accept-patch"), takes);
    }
    answer
}

/// The problem that an error is.
pub fn of(error: &Error) -> Problem {
    let (status, title, detail) = match error {
        Error::Refusal(refusal) => said(refusal),
        Error::Fault(Fault::Unavailable(_)) => (
            Status::SERVICE_UNAVAILABLE,
            "Not available now",
            "Something this service needs does not answer; try again.".into(),
        ),
        Error::Fault(Fault::Broken(_)) => (
            Status::INTERNAL_SERVER_ERROR,
            "Something broke",
            "This is our fault; the log has the request's id.".into(),
        ),
    };
    let (code, errors) = match error {
        Error::Refusal(refusal @ Refusal::InvalidFields(faults)) => (refusal.code(), faults.clone()),
        Error::Refusal(refusal) => (refusal.code(), Vec::new()),
        Error::Fault(Fault::Unavailable(_)) => ("unavailable", Vec::new()),
        Error::Fault(Fault::Broken(_)) => ("broken", Vec::new()),
    };
    Problem { status, code, title, detail, errors, headers: headers_of(status, error) }
}

type Said = (Status, &'static str, String);

fn said(refusal: &Refusal) -> Said {
    match refusal {
        Refusal::InvalidCredentials
        | Refusal::AccountNotActive(_)
        | Refusal::CurrentPasswordWrong
        | Refusal::PasswordUnchanged
        | Refusal::SignUpClosed
        | Refusal::IdentifierTaken(_)
        | Refusal::ConfirmationInvalid => of_account(refusal),
        Refusal::TokenMissing
        | Refusal::TokenInvalid
        | Refusal::TokenExpired
        | Refusal::SessionEnded
        | Refusal::RefreshTokenInvalid
        | Refusal::RefreshTokenExpired
        | Refusal::RefreshSessionEnded
        | Refusal::RefreshTokenMissing
        | Refusal::RefreshTokenReused => of_token(refusal),
        Refusal::PermissionDenied
        | Refusal::PasswordChangeRequired
        | Refusal::OriginNotAllowed
        | Refusal::DuplicateCookie
        | Refusal::AuthorizationMalformed
        | Refusal::AccountNotFound
        | Refusal::SessionNotFound
        | Refusal::Throttled(_)
        | Refusal::Busy(_) => of_access(refusal),
        Refusal::InvalidFields(_)
        | Refusal::MalformedBody(_)
        | Refusal::UnsupportedMediaType
        | Refusal::BodyTooLarge
        | Refusal::BodyTooSlow
        | Refusal::UriTooLong
        | Refusal::HeadersTooLarge
        | Refusal::CookiesTooLarge
        | Refusal::RouteNotFound
        | Refusal::MethodNotAllowed(_) => of_request(refusal),
    }
}

fn of_account(refusal: &Refusal) -> Said {
    match refusal {
        Refusal::AccountNotActive(status) => {
            (Status::FORBIDDEN, "Account not active", format!("The account is {}. Ask its operator.", status.as_str()))
        }
        Refusal::CurrentPasswordWrong => {
            (Status::FORBIDDEN, "Current password wrong", "The current password is not the one given.".into())
        }
        Refusal::PasswordUnchanged => (
            Status::UNPROCESSABLE_ENTITY,
            "Password unchanged",
            "The new password is the old one; choose another.".into(),
        ),
        Refusal::SignUpClosed => {
            (Status::FORBIDDEN, "Registration closed", "Accounts are added by an operator here.".into())
        }
        Refusal::ConfirmationInvalid => (
            Status::UNAUTHORIZED,
            "Not confirmed",
            "The link is spent or past its time, or the password is not the one that was chosen; sign up again.".into(),
        ),
        Refusal::IdentifierTaken(taken) => (Status::CONFLICT, "Already registered", taken_words(*taken)),
        _ => (Status::UNAUTHORIZED, "Invalid credentials", "No account has this identifier and secret.".into()),
    }
}

fn taken_words(taken: Taken) -> String {
    let names = [(taken.email, "email"), (taken.username, "username"), (taken.name, "name")];
    let names: Vec<&str> = names.into_iter().filter_map(|(taken, name)| taken.then_some(name)).collect();
    match names.as_slice() {
        [] => "The identifier is taken.".to_owned(),
        names => format!("Taken: {}.", names.join(", ")),
    }
}

fn of_token(refusal: &Refusal) -> Said {
    let detail = match refusal {
        Refusal::TokenMissing => "Sign in first, and send the access token as a cookie or a bearer token.",
        Refusal::TokenExpired | Refusal::RefreshTokenExpired => "The token's time is over; refresh, or sign in again.",
        Refusal::SessionEnded | Refusal::RefreshSessionEnded => "The session has ended; sign in again.",
        Refusal::RefreshTokenMissing => "Send the refresh token as a cookie, or as refreshToken in the body.",
        Refusal::RefreshTokenReused => "This token was used before, so the session has been ended; sign in again.",
        _ => "The token is not one of ours, or not for this use.",
    };
    let title = match refusal {
        Refusal::TokenMissing => "Not signed in",
        Refusal::TokenExpired | Refusal::RefreshTokenExpired => "Token expired",
        Refusal::SessionEnded | Refusal::RefreshSessionEnded => "Session ended",
        Refusal::RefreshTokenMissing => "Refresh token missing",
        Refusal::RefreshTokenReused => "Refresh token reused",
        _ => "Token invalid",
    };
    (Status::UNAUTHORIZED, title, detail.to_owned())
}

fn of_access(refusal: &Refusal) -> Said {
    match refusal {
        Refusal::OriginNotAllowed => (
            Status::FORBIDDEN,
            "Origin not allowed",
            "A page of another origin may not do this; its origin belongs into CORS_ORIGINS.".into(),
        ),
        Refusal::PasswordChangeRequired => (
            Status::FORBIDDEN,
            "Password change required",
            "The password must be changed before anything else; change it, or sign out.".into(),
        ),
        Refusal::DuplicateCookie => (
            Status::BAD_REQUEST,
            "Duplicate cookie",
            "Two cookies of the same name differ, and there is no telling which is ours; clear the site's cookies."
                .into(),
        ),
        Refusal::AuthorizationMalformed => {
            (Status::BAD_REQUEST, "Authorization malformed", "Send one header: Authorization: Bearer TOKEN.".into())
        }
        Refusal::AccountNotFound => (Status::NOT_FOUND, "No such account", "There is no such account.".into()),
        Refusal::SessionNotFound => (Status::NOT_FOUND, "No such session", "You have no such session.".into()),
        Refusal::Throttled(wait) => {
            (Status::TOO_MANY_REQUESTS, "Too many tries", format!("Try again in {} seconds.", wait.as_secs().max(1)))
        }
        Refusal::Busy(wait) => {
            (Status::SERVICE_UNAVAILABLE, "Busy", format!("Try again in {} seconds.", wait.as_secs().max(1)))
        }
        _ => (Status::FORBIDDEN, "Permission denied", "The session is live and has not this right.".into()),
    }
}

fn of_request(refusal: &Refusal) -> Said {
    match refusal {
        Refusal::InvalidFields(faults) => {
            let first = faults.first().map(|fault| format!("{} {}.", fault.field, fault.rule.says()));
            (Status::UNPROCESSABLE_ENTITY, "Invalid fields", first.unwrap_or_default())
        }
        Refusal::MalformedBody(place) => (Status::BAD_REQUEST, "Malformed body", format!("Cannot be read: {place}.")),
        Refusal::UnsupportedMediaType => {
            (Status::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", "Send Content-Type: application/json.".into())
        }
        Refusal::BodyTooLarge => (Status::PAYLOAD_TOO_LARGE, "Body too large", "At most 16 KiB are read.".into()),
        Refusal::BodyTooSlow => (Status::REQUEST_TIMEOUT, "Body too slow", "The body did not arrive in time.".into()),
        Refusal::UriTooLong => {
            (Status::URI_TOO_LONG, "URI too long", "At most 8 KiB of path and query are read.".into())
        }
        Refusal::HeadersTooLarge => {
            (Status::REQUEST_HEADER_FIELDS_TOO_LARGE, "Headers too large", "At most 32 KiB of headers are read.".into())
        }
        Refusal::CookiesTooLarge => (
            Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Cookies too large",
            "At most 8 KiB of cookies are read; clear the site's cookies.".into(),
        ),
        Refusal::MethodNotAllowed(allow) => {
            (Status::METHOD_NOT_ALLOWED, "Method not allowed", format!("This path takes: {allow}."))
        }
        _ => (Status::NOT_FOUND, "No such path", "There is nothing here.".into()),
    }
}
