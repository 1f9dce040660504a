//! One request as handlers see it: which mount it came to, who its client is, what it presents. Nothing is believed here;
//! tokens are judged by core, cookies are read by session_cookie.rs.

use std::future::{Ready, ready};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, USER_AGENT};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::answer::{Answered, ForgetCookies, WebError};
use super::dialects::Mounted;
use super::session_cookie::SessionCookies;
use super::{Doorward, missing_doorward, presented_cookies};
use crate::core::account::Account;
use crate::core::caller::{Caller, Client};
use crate::core::refusal::{Error, Refusal};
use crate::core::session::{Issued, TokenPolicy};
use crate::core::sign_in::{SignIn, SignedIn};
use crate::core::sign_out::PresentedTokens;
use crate::core::sign_up::NewPerson;
use crate::secret::{AccessToken, RefreshToken};

/// The header that carries the request's id to the client.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id: in the answer, in every log line about it, in its audit events.
#[derive(Debug, Clone, Copy)]
pub struct RequestId([u8; 12]);

/// Makes ids that no two requests share. They name, and open nothing, so each is a keyed digest of a counter and not
/// the system's randomness, which would cost every check more than its signature does.
#[derive(Debug, Default)]
pub struct RequestIds {
    key: RandomState,
    made: AtomicU64,
}

impl RequestIds {
    /// The next one.
    pub fn next(&self) -> RequestId {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let made = self.key.hash_one(number).to_be_bytes().into_iter().chain(number.to_le_bytes());
        let mut octets = [0; 9];
        octets.iter_mut().zip(made).for_each(|(octet, made)| *octet = made);
        let mut text = [b'-'; 12];
        // Nine octets are twelve characters, so this always fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(octets, &mut text);
        RequestId(text)
    }
}

impl RequestId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("-")
    }

    /// The request's, made when it has none yet.
    pub fn of(request: &HttpRequest) -> Self {
        if let Some(id) = request.extensions().get::<Self>() {
            return *id;
        }
        let door = request.app_data::<Data<Doorward>>();
        let id = door.map_or_else(|| RequestIds::default().next(), |door| door.request_ids().next());
        request.extensions_mut().insert(id);
        id
    }
}

/// One request to a mount.
#[derive(Debug, Clone)]
pub struct Call {
    /// The service.
    pub door: Doorward,
    /// The mount, with its dialect and policy.
    pub mounted: Arc<Mounted>,
    /// The request.
    pub request: HttpRequest,
}

impl FromRequest for Call {
    type Error = WebError;
    type Future = Ready<Result<Self, WebError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let door = request.app_data::<Data<Doorward>>();
        let mounted = request.app_data::<Data<Mounted>>();
        ready(match (door, mounted) {
            (Some(door), Some(mounted)) => {
                Ok(Self { door: door.get_ref().clone(), mounted: Arc::clone(mounted), request: request.clone() })
            }
            _ => Err(Error::from(missing_doorward()).into()),
        })
    }
}

impl Call {
    /// What the mount decides about tokens.
    pub fn policy(&self) -> TokenPolicy {
        self.mounted.policy.clone()
    }

    /// Who asks, for sessions and audit.
    pub fn client(&self) -> Client {
        client_of(&self.door, &self.request)
    }

    /// Whether the client came over https, as far as a trusted proxy says.
    pub fn is_https(&self) -> bool {
        self.door.proxies().says_https(&self.request)
    }

    /// The refresh token in the cookie.
    pub fn refresh_cookie(&self) -> Result<Option<RefreshToken>, Refusal> {
        presented_cookies::refresh_cookie(&self.door, &self.request)
    }

    /// The access token, from the header if there is one, good or bad, else from the cookie.
    pub fn access_token(&self) -> Result<Option<AccessToken>, Refusal> {
        access_token(&self.door, &self.request)
    }

    /// Both, for a sign-out; a refresh token in the body comes before the cookie's.
    pub fn presented(&self, in_body: Option<RefreshToken>) -> Result<PresentedTokens, Refusal> {
        let refresh = match in_body {
            Some(refresh) => Some(refresh),
            None => self.refresh_cookie()?,
        };
        Ok(PresentedTokens { access: self.access_token()?, refresh })
    }

    /// Both as this browser's cookies hold them, for a sign-in that takes their place.
    pub fn presented_cookies(&self) -> Result<PresentedTokens, Refusal> {
        Ok(PresentedTokens { access: self.access_cookie()?, refresh: self.refresh_cookie()? })
    }

    /// Whether the request names its caller in the Authorization header.
    pub fn uses_bearer(&self) -> bool {
        matches!(bearer(self.request.headers()), Ok(Some(_)))
    }

    /// Signs in with the mount's policy.
    pub async fn sign_in(&self, wish: SignIn) -> Result<SignedIn, Error> {
        self.door.sign_in(wish, self.policy(), self.client()).await
    }

    /// Signs up with the mount's policy and role.
    pub async fn sign_up(&self, person: NewPerson, wish: SignIn) -> Result<SignedIn, Error> {
        let role = self.mounted.dialect.signup_role;
        self.door.sign_up(person, role, wish, self.policy(), self.client()).await
    }

    /// Spends a refresh token under this policy.
    pub async fn refresh(&self, token: RefreshToken, policy: TokenPolicy) -> Result<Issued, Error> {
        self.door.refresh(token, policy, self.client()).await
    }

    /// As `refresh`, with the token of the cookie: when its session is over for good, the answer clears both cookies.
    pub async fn refresh_by_cookie(&self, token: RefreshToken, policy: TokenPolicy) -> Result<Issued, Error> {
        let issued = self.refresh(token, policy).await;
        if let Err(Error::Refusal(refusal)) = &issued
            && refusal.ends_session()
        {
            self.request.extensions_mut().insert(ForgetCookies);
        }
        issued
    }

    /// Ends the sessions behind what is presented.
    pub async fn sign_out(&self, presented: PresentedTokens) -> Result<(), Error> {
        let client = self.client();
        self.door.run_blocking(move |core| core.sign_out(&presented, &client)).await
    }

    /// As `sign_out`, for wires where only a live access token ends a session by itself.
    pub async fn sign_out_live(&self, mut presented: PresentedTokens) -> Result<(), Error> {
        if presented.access.is_some()
            && let Err(refusal) = self.resolve_restricted(presented.access.clone()).await
        {
            if presented.refresh.is_none() {
                return Err(refusal);
            }
            presented.access = None;
        }
        self.sign_out(presented).await
    }

    /// Whether a cookie of ours came with the request.
    pub fn brings_cookies(&self) -> bool {
        self.cookies().any(self.request.headers())
    }

    /// The account of a caller.
    pub async fn account_of(&self, caller: &Caller) -> Result<Account, Error> {
        let id = caller.account;
        self.door.run_blocking(move |core| core.find_account(id)).await
    }

    /// What the Authorization header holds.
    pub fn authorization(&self) -> Authorization {
        Authorization::read(self.request.headers())
    }

    /// The token of a bearer header, for wires that read no cookie: another scheme is none, junk is a bad one.
    pub fn bearer_only(&self) -> Result<Option<AccessToken>, Refusal> {
        match self.authorization() {
            Authorization::Absent | Authorization::Other(_) => Ok(None),
            Authorization::Bearer(token) => Ok(Some(AccessToken::new(token))),
            Authorization::BearerAlone | Authorization::Malformed => Err(Refusal::TokenInvalid),
        }
    }

    /// The token of the access cookie, for wires that read no header.
    pub fn access_cookie(&self) -> Result<Option<AccessToken>, Refusal> {
        presented_cookies::access_cookie(&self.door, &self.request)
    }

    /// Who a token speaks for.
    pub async fn resolve(&self, token: Option<AccessToken>) -> Result<Caller, Error> {
        self.door.resolve(token.ok_or(Refusal::TokenMissing)?.expose()).await
    }

    /// As `resolve`, also for one who must change the password first.
    pub async fn resolve_restricted(&self, token: Option<AccessToken>) -> Result<Caller, Error> {
        self.door.resolve_restricted(token.ok_or(Refusal::TokenMissing)?.expose()).await
    }

    /// Sets the access cookie only, on an answer.
    pub fn set_access_cookie(&self, mut answer: HttpResponse, issued: &Issued) -> Answered {
        self.cookies().set_access(&mut answer, issued, self.is_https()).map_err(Error::from)?;
        Ok(answer)
    }

    /// Sets both cookies on an answer, after a sign-in the device's too.
    pub fn set_cookies(&self, mut answer: HttpResponse, issued: &Issued) -> Answered {
        let https = self.is_https();
        self.cookies().set(&mut answer, issued, https).map_err(Error::from)?;
        if let Some(device) = issued.device.as_ref().filter(|_| self.mounted.dialect.knows_devices) {
            self.cookies().set_device(&mut answer, device, https).map_err(Error::from)?;
        }
        Ok(answer)
    }

    /// Clears both cookies on an answer.
    pub fn clear_cookies(&self, mut answer: HttpResponse) -> Answered {
        self.cookies().clear(&mut answer, self.is_https()).map_err(Error::from)?;
        Ok(answer)
    }

    /// Whether a refresh has found that the session behind the cookies is over for good.
    pub(super) fn should_forget(&self) -> bool {
        self.request.extensions().get::<ForgetCookies>().is_some()
    }

    /// What forms before a sign-in are bound to in this browser.
    pub(super) fn form_cookie(&self) -> Option<String> {
        self.cookies().read_form(self.request.headers())
    }

    /// Binds the forms before a sign-in to this value.
    pub(super) fn set_form_cookie(&self, answer: &mut HttpResponse, value: &str) -> Result<(), Error> {
        Ok(self.cookies().set_form(answer, value, self.is_https())?)
    }

    /// What this browser notes of redirects.
    pub(super) fn bounce_cookie(&self) -> Option<String> {
        self.cookies().read_bounces(self.request.headers())
    }

    /// Notes redirects in this browser.
    pub(super) fn set_bounce_cookie(
        &self,
        answer: &mut HttpResponse,
        value: &str,
        lives: Duration,
    ) -> Result<(), Error> {
        Ok(self.cookies().set_bounces(answer, value, lives, self.is_https())?)
    }

    fn cookies(&self) -> &SessionCookies {
        self.door.cookies()
    }
}

/// Who asks, for sessions and audit.
pub fn client_of(door: &Doorward, request: &HttpRequest) -> Client {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Client {
        address: door.proxies().client_address(request),
        user_agent: agent.map(ToOwned::to_owned),
        request_id: Some(RequestId::of(request).as_str().to_owned()),
        device: door.cookies().read_device(request.headers()),
    }
}

/// The one rule of precedence: a header, good or bad, and only without one the cookie (RFC 6750 section 2).
pub fn access_token(door: &Doorward, request: &HttpRequest) -> Result<Option<AccessToken>, Refusal> {
    match bearer(request.headers())? {
        Some(token) => Ok(Some(AccessToken::new(token))),
        None => presented_cookies::access_cookie(door, request),
    }
}

/// What an Authorization header holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// No header, or an empty one, which counts as none.
    Absent,
    /// `Bearer TOKEN`: the scheme in any case, one space, one token (RFC 6750 section 2.1, RFC 9110 section 11.1).
    Bearer(String),
    /// The scheme without a token.
    BearerAlone,
    /// Another scheme, or a text without one.
    Other(String),
    /// Several headers, or octets that no token has.
    Malformed,
}

impl Authorization {
    fn read(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(AUTHORIZATION);
        let line = match (lines.next(), lines.next()) {
            (None, _) => return Self::Absent,
            (Some(line), None) => line.to_str().unwrap_or("\0"),
            (Some(_), Some(_)) => return Self::Malformed,
        };
        if line.trim().is_empty() {
            return Self::Absent;
        }
        let (scheme, token) = line.split_once(' ').unwrap_or((line, ""));
        let in_token = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(&octet);
        match (scheme.eq_ignore_ascii_case("bearer"), token) {
            (true, "") => Self::BearerAlone,
            (true, token) if token.bytes().all(in_token) => Self::Bearer(token.to_owned()),
            (true, _) => Self::Malformed,
            (false, _) if line.contains('\0') => Self::Malformed,
            (false, _) => Self::Other(line.to_owned()),
        }
    }
}

/// native's reading: only a bearer token is one, and junk is an error of the request.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    match Authorization::read(headers) {
        Authorization::Absent => Ok(None),
        Authorization::Bearer(token) => Ok(Some(token)),
        Authorization::BearerAlone | Authorization::Other(_) => Err(Refusal::TokenInvalid),
        Authorization::Malformed => Err(Refusal::AuthorizationMalformed),
    }
}

/// The id of a request that no handler has seen yet.
pub fn request_id_of(request: &ServiceRequest) -> RequestId {
    RequestId::of(request.request())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn read(lines: &[&str]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap()));
        bearer(&headers)
    }

    #[test]
    fn the_scheme_has_any_case_and_the_token_one_space() {
        for line in ["Bearer a.b-c_d", "bearer a.b-c_d", "BEARER a.b-c_d"] {
            assert_eq!(read(&[line]), Ok(Some("a.b-c_d".to_owned())), "{line}");
        }
        for line in ["Bearer  a", "Bearer a b", "Bearer a,b", "Bearer a\tb"] {
            assert_eq!(read(&[line]), Err(Refusal::AuthorizationMalformed), "{line}");
        }
        for line in ["Bearer", "Bearer ", "Basic eDp5", "Token a", "a.b.c"] {
            assert_eq!(read(&[line]), Err(Refusal::TokenInvalid), "{line}");
        }
    }

    #[test]
    fn none_is_none_and_two_are_too_many() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[""]), Ok(None));
        assert_eq!(read(&["Bearer a", "Bearer a"]), Err(Refusal::AuthorizationMalformed));
    }
}
