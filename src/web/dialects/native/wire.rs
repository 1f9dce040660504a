//! Wire format of native: parsers of its requests and serialisers of its responses. Requests are closed: a field that is not listed here is refused, so that
//! no key of a request can set a role, a status or an id.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::core::SessionId;
use crate::core::account::identifier::IdentifierKind;
use crate::core::account::{Account, Profile};
use crate::core::credential::password::GivenSecret;
use crate::core::credential::sign_in::{NewSession, SignIn, SignedIn};
use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::core::registration::confirmed_sign_up::SignUpConfirmation;
use crate::core::registration::sign_up::Registration;
use crate::core::session::caller::DEVICE_TEXT_MAX;
use crate::core::session::{Device, Issued, SessionPage};
use crate::secret::{RefreshToken, Secret};
use crate::web::request::body::Fields;
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;

/// How the client receives its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenDelivery {
    /// In HttpOnly cookies.
    Cookies,
    /// In the body: for clients that are not browsers.
    Body,
}

/// `POST /auth/login`
pub struct Login {
    pub sign_in: SignIn,
    pub tokens: TokenDelivery,
}

/// `POST /auth/register`
pub struct Register {
    pub registration: Registration,
    pub session: NewSession,
    pub tokens: TokenDelivery,
}

/// `POST /auth/register/confirm`
pub struct Confirmation {
    pub sign_up: SignUpConfirmation,
    pub session: NewSession,
    pub tokens: TokenDelivery,
}

/// `POST /auth/refresh`, `POST /auth/logout`: all optional.
pub struct Refresh {
    pub token: Option<RefreshToken>,
    pub tokens: Option<TokenDelivery>,
}

/// `POST /auth/change-password`
pub struct ChangePassword {
    pub current: Secret,
    pub new: Secret,
    pub tokens: Option<TokenDelivery>,
}

pub fn login(mut fields: Fields) -> Result<Login, Refusal> {
    let kinds = [
        ("identifier", IdentifierKind::Any),
        ("email", IdentifierKind::Email),
        ("username", IdentifierKind::Username),
        ("name", IdentifierKind::Name),
    ];
    let given = kinds.into_iter().filter_map(|(field, kind)| Some((kind, fields.text(field)?)));
    let identifiers: Vec<_> = given.filter(|(_, text)| !text.is_empty()).collect();
    if identifiers.is_empty() {
        fields.add_error::<()>("identifier", FieldRule::OneOf("identifier, email, username, name"));
    }
    let secret = match (fields.secret("password"), fields.secret("pin")) {
        (Some(password), None) => Some(GivenSecret::Password(password)),
        (None, Some(pin)) => Some(GivenSecret::Pin(pin)),
        (Some(_), Some(_)) => fields.add_error("pin", FieldRule::Unknown),
        (None, None) => fields.add_error("password", FieldRule::OneOf("password, pin")),
    };
    let (device, tokens) = (device(&mut fields), tokens(&mut fields).unwrap_or(TokenDelivery::Cookies));
    fields.deny_unknown_fields()?;
    let secret = secret.unwrap_or_else(|| GivenSecret::Password(Secret::new("")));
    let session = NewSession { device, ..NewSession::default() };
    Ok(Login { sign_in: SignIn { identifiers, secret, session }, tokens })
}

pub fn register(mut fields: Fields) -> Result<Register, Refusal> {
    let (email, username) = (fields.text("email"), fields.text("username"));
    let password = fields.required_secret("password");
    let profile = profile_fields(&mut fields);
    let (device, tokens) = (device(&mut fields), tokens(&mut fields).unwrap_or(TokenDelivery::Cookies));
    fields.deny_unknown_fields()?;
    let name = profile.name.clone().flatten();
    let registration = Registration { email, username, name, password: Some(password), pin: None, profile };
    Ok(Register { registration, session: NewSession { device, ..NewSession::default() }, tokens })
}

pub fn confirmation(mut fields: Fields) -> Result<Confirmation, Refusal> {
    let (token, password) = (fields.required_secret("token"), fields.required_secret("password"));
    let (device, tokens) = (device(&mut fields), tokens(&mut fields).unwrap_or(TokenDelivery::Cookies));
    fields.deny_unknown_fields()?;
    let session = NewSession { device, ..NewSession::default() };
    Ok(Confirmation { sign_up: SignUpConfirmation { token, password }, session, tokens })
}

pub fn refresh(mut fields: Fields) -> Result<Refresh, Refusal> {
    let token = fields.text("refreshToken").filter(|token| !token.is_empty()).map(RefreshToken::new);
    let tokens = tokens(&mut fields);
    fields.deny_unknown_fields()?;
    Ok(Refresh { token, tokens })
}

pub fn change_password(mut fields: Fields) -> Result<ChangePassword, Refusal> {
    let (current, new) = (fields.required_secret("currentPassword"), fields.required_secret("newPassword"));
    let tokens = tokens(&mut fields);
    fields.deny_unknown_fields()?;
    Ok(ChangePassword { current, new, tokens })
}

pub fn profile(mut fields: Fields) -> Result<Profile, Refusal> {
    let profile = profile_fields(&mut fields);
    fields.deny_unknown_fields()?;
    Ok(profile)
}

fn profile_fields(fields: &mut Fields) -> Profile {
    Profile {
        name: fields.text_or_null("name"),
        first_name: fields.text_or_null("firstName"),
        last_name: fields.text_or_null("lastName"),
        gender: fields.text_or_null("gender"),
        image: fields.text_or_null("image"),
        phone: fields.text_or_null("phone"),
        further: fields.object("profile"),
    }
}

fn device(fields: &mut Fields) -> Device {
    Device {
        id: fields.short_text("deviceId", DEVICE_TEXT_MAX),
        name: fields.short_text("deviceName", DEVICE_TEXT_MAX),
        persistent: fields.bool("remember").unwrap_or(true),
    }
}

/// `PATCH /auth/sessions/{id}`: the name, or `None` to remove it.
pub fn device_name(mut fields: Fields) -> Result<Option<String>, Refusal> {
    let is_null = fields.is_null("deviceName");
    let name = fields.short_text("deviceName", DEVICE_TEXT_MAX);
    if name.is_none() && !is_null && !fields.has_errors() {
        fields.add_error::<()>("deviceName", FieldRule::Missing);
    }
    fields.deny_unknown_fields()?;
    Ok(name)
}

fn tokens(fields: &mut Fields) -> Option<TokenDelivery> {
    match fields.text("tokens")?.as_str() {
        "body" => Some(TokenDelivery::Body),
        "cookies" => Some(TokenDelivery::Cookies),
        _ => fields.add_error("tokens", FieldRule::Type("\"cookies\" or \"body\"")),
    }
}

/// The account as shown to its owner: every key is always present, and none is a secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User<'a> {
    id: i64,
    uuid: String,
    email: Option<&'a str>,
    email_verified: bool,
    username: Option<&'a str>,
    name: Option<&'a str>,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    gender: Option<&'a str>,
    image: Option<&'a str>,
    phone: Option<&'a str>,
    role: &'a str,
    permissions: &'a [String],
    stats: &'a RawValue,
    profile: &'a RawValue,
    status: &'static str,
    last_sign_in: Option<String>,
    created_at: String,
    updated_at: String,
}

impl<'a> From<&'a Account> for User<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            id: account.id.0,
            uuid: account.uuid.to_string(),
            email: account.email.as_deref(),
            email_verified: account.email_verified,
            username: account.username.as_deref(),
            name: account.name.as_deref(),
            first_name: account.first_name.as_deref(),
            last_name: account.last_name.as_deref(),
            gender: account.gender.as_deref(),
            image: account.image.as_deref(),
            phone: account.phone.as_deref(),
            role: &account.role,
            permissions: &account.permissions,
            stats: object(&account.stats),
            profile: object(&account.profile),
            status: account.status.as_str(),
            last_sign_in: account.last_sign_in_at.map(Timestamp::rfc3339),
            created_at: account.created_at.rfc3339(),
            updated_at: account.updated_at.rfc3339(),
        }
    }
}

/// `GET /auth/session` of a signed-in caller.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CurrentSession<'a> {
    user: User<'a>,
    session: SessionReference,
    expires_in: u64,
}

#[derive(Serialize)]
struct SessionReference {
    id: String,
}

/// The account, its session, and the time until the access token expires, in whole seconds.
pub fn current_session(account: &Account, session: SessionId, expires_in: Duration) -> HttpResponse {
    let session = SessionReference { id: session.to_string() };
    HttpResponse::Ok().json(CurrentSession { user: account.into(), session, expires_in: expires_in.as_secs() })
}

/// `GET /auth/session` without a live access token: `null`, or that a refresh may succeed.
pub fn no_session(is_refreshable: bool) -> HttpResponse {
    HttpResponse::Ok().json(is_refreshable.then(|| serde_json::json!({ "refreshable": true })))
}

/// The stored JSON text, unchanged.
fn object(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap_or(RawValue::NULL)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenResponse<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'a str>,
}

/// A new session: cookies, or tokens in the body and no cookie.
pub fn signed_in(
    context: &RequestContext,
    status: StatusCode,
    message: &str,
    signed_in: &SignedIn,
    tokens: TokenDelivery,
) -> HandlerResult {
    let user = Some(User::from(&signed_in.account));
    issued(context, status, message, user, &signed_in.issued, tokens)
}

/// New tokens of a refreshed session.
pub fn refreshed(context: &RequestContext, issued_tokens: &Issued, tokens: TokenDelivery) -> HandlerResult {
    issued(context, StatusCode::OK, "Access token refreshed successfully", None, issued_tokens, tokens)
}

/// New tokens after a change of password.
pub fn password_changed(
    context: &RequestContext,
    issued_tokens: Option<&Issued>,
    tokens: TokenDelivery,
) -> HandlerResult {
    match issued_tokens {
        Some(made) => issued(context, StatusCode::OK, "Password changed", None, made, tokens),
        None => Ok(message("Password changed")),
    }
}

fn issued(
    context: &RequestContext,
    status: StatusCode,
    message: &str,
    user: Option<User<'_>>,
    issued_tokens: &Issued,
    tokens: TokenDelivery,
) -> HandlerResult {
    let in_body = tokens == TokenDelivery::Body;
    let body = TokenResponse {
        message,
        user,
        expires_in: issued_tokens.access_ttl.as_secs(),
        access_token: in_body.then(|| issued_tokens.access.expose()),
        refresh_token: in_body.then(|| issued_tokens.refresh.expose()),
        token_type: in_body.then_some("Bearer"),
    };
    let answer = HttpResponse::build(status).json(body);
    if in_body { Ok(answer) } else { context.set_cookies(answer, issued_tokens) }
}

/// A plain `{"message": …}`.
pub fn message(text: &str) -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "message": text }))
}

/// As `message`, for an operation that completes later.
pub fn accepted(text: &str) -> HttpResponse {
    HttpResponse::Accepted().json(serde_json::json!({ "message": text }))
}

/// One device of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionEntry<'a> {
    id: String,
    current: bool,
    dialect: &'a str,
    device_id: Option<&'a str>,
    device_name: Option<&'a str>,
    user_agent: Option<&'a str>,
    address: Option<&'a str>,
    created_at: String,
    last_seen_at: String,
    expires_at: String,
}

/// Which page of the list of devices a query asks for.
pub struct PageQuery {
    pub after: Option<SessionId>,
    pub limit: i64,
}

/// `?limit=50&after=ID`. Unknown parameters are ignored, as in every query.
pub fn page(query: &str) -> Result<PageQuery, Refusal> {
    let mut page = PageQuery { after: None, limit: 50 };
    let mut errors = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => match value.parse() {
                Ok(limit @ 1..=100) => page.limit = limit,
                _ => errors.push(FieldError::new("limit", FieldRule::Type("a number from 1 to 100"))),
            },
            "after" => match uuid::Uuid::try_parse(&value) {
                Ok(id) => page.after = Some(SessionId(id)),
                Err(_not_an_id) => errors.push(FieldError::new("after", FieldRule::Type("the id of a session"))),
            },
            _ => {}
        }
    }
    if errors.is_empty() { Ok(page) } else { Err(Refusal::InvalidFields(errors)) }
}

/// One page of the list of devices; `current` marks the session of the request, `next` is the `after` of the next page.
pub fn sessions(page: &SessionPage, current: SessionId) -> HttpResponse {
    let shown = page.sessions.iter().map(|session| SessionEntry {
        id: session.id.to_string(),
        current: session.id == current,
        dialect: &session.dialect,
        device_id: session.device_id.as_deref(),
        device_name: session.device_name.as_deref(),
        user_agent: session.user_agent.as_deref(),
        address: session.address.as_deref(),
        created_at: session.created_at.rfc3339(),
        last_seen_at: session.last_seen_at.rfc3339(),
        expires_at: session.expires_at.rfc3339(),
    });
    let sessions = shown.collect::<Vec<_>>();
    let next = page.next.map(|id| id.to_string());
    HttpResponse::Ok().json(match next {
        Some(next) => serde_json::json!({ "sessions": sessions, "next": next }),
        None => serde_json::json!({ "sessions": sessions }),
    })
}
