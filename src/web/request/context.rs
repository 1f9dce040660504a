//! Request context: the mount, the client and the credentials of a request, and the operations that a dialect's handlers run
//! with them. Nothing is verified here: tokens are verified by core, cookies are parsed by session_cookie.rs.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};

use super::bearer::{AuthorizationHeader, BearerToken, strict_bearer};
use super::credentials;
use super::credentials::{access_token, client_of};
use super::session_cookie::SessionCookies;
use crate::core::account::Account;
use crate::core::credential::sign_in::{NewSession, SignIn, SignedIn};
use crate::core::error::{Error, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::core::session::caller::{Caller, Client};
use crate::core::session::presented_tokens::PresentedTokens;
use crate::core::session::refresh::request::RefreshRequest;
use crate::core::session::{Issued, TokenPolicy};
use crate::secret::{AccessToken, RefreshToken};
use crate::web::response::error::{ClearCookies, HandlerResult, RequestError, WebError};
use crate::web::service::mount::Mounted;
use crate::web::service::{Doorward, missing_doorward};

/// One request to a mount.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The service.
    pub service: Doorward,
    /// The mount, with its dialect and policy.
    pub mounted: Arc<Mounted>,
    /// The request.
    pub request: HttpRequest,
}

impl FromRequest for RequestContext {
    type Error = WebError;
    type Future = Ready<Result<Self, WebError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let service = request.app_data::<Data<Doorward>>();
        let mounted = request.app_data::<Data<Mounted>>();
        ready(match (service, mounted) {
            (Some(service), Some(mounted)) => {
                Ok(Self { service: service.get_ref().clone(), mounted: Arc::clone(mounted), request: request.clone() })
            }
            _ => Err(missing_doorward().into()),
        })
    }
}

impl RequestContext {
    /// The mount's token policy.
    pub fn policy(&self) -> TokenPolicy {
        self.mounted.policy.clone()
    }

    /// The client, for sessions and audit.
    pub fn client(&self) -> Client {
        client_of(&self.service, &self.request)
    }

    /// Whether a trusted proxy reports that the client came over https.
    pub fn is_https(&self) -> bool {
        self.service.proxies().is_https(&self.request)
    }

    /// The refresh token in the cookie.
    pub fn refresh_cookie(&self) -> Result<Option<RefreshToken>, RequestError> {
        credentials::refresh_cookie(&self.service, &self.request)
    }

    /// The access token of the header, valid or not, or without a header of the cookie.
    pub fn access_token(&self) -> Result<Option<AccessToken>, WebError> {
        access_token(&self.service, &self.request)
    }

    /// The access token of the header.
    pub fn bearer(&self) -> Result<Option<AccessToken>, WebError> {
        Ok(strict_bearer(self.request.headers())?.map(BearerToken::into_access_token))
    }

    /// Both tokens, for a sign-out; a refresh token in the body has precedence over the cookie.
    pub fn presented(&self, in_body: Option<RefreshToken>) -> Result<PresentedTokens, WebError> {
        let refresh = match in_body {
            Some(refresh) => Some(refresh),
            None => self.refresh_cookie()?,
        };
        Ok(PresentedTokens { access: self.access_token()?, refresh })
    }

    /// Both tokens of the cookies.
    pub fn presented_cookies(&self) -> Result<PresentedTokens, RequestError> {
        Ok(PresentedTokens { access: self.access_cookie()?, refresh: self.refresh_cookie()? })
    }

    /// As `presented_cookies`, for a sign-in that replaces their session. Cookies of one name with different values name no
    /// session; the sign-in clears them, which is the browser's way out of them.
    pub fn replaced_by_sign_in(&self) -> PresentedTokens {
        self.presented_cookies().unwrap_or_default()
    }

    /// Whether cookies of one name have different values. Such a request is refused, but for a sign-in and a sign-out, which
    /// clear them: a browser that has them can do nothing about it.
    pub fn has_duplicate_cookies(&self) -> bool {
        matches!(self.presented_cookies(), Err(RequestError::DuplicateCookie))
    }

    /// Each token of the cookies, of several of one name all.
    pub fn tokens_of_duplicates(&self) -> Vec<PresentedTokens> {
        let [access, refresh] = self.cookies().read_all(self.request.headers());
        let access = access.into_iter().map(|token| (Some(AccessToken::new(token)), None));
        let refresh = refresh.into_iter().map(|token| (None, Some(RefreshToken::new(token))));
        access.chain(refresh).map(|(access, refresh)| PresentedTokens { access, refresh }).collect()
    }

    /// Whether the request authenticates with a bearer token.
    pub fn uses_bearer(&self) -> bool {
        matches!(strict_bearer(self.request.headers()), Ok(Some(_)))
    }

    /// Signs in with the mount's policy.
    pub async fn sign_in(&self, request: SignIn) -> Result<SignedIn, Error> {
        self.service.sign_in(request, self.policy(), self.client()).await
    }

    /// Signs up with the mount's policy and role.
    pub async fn sign_up(&self, registration: Registration, session: NewSession) -> Result<SignedIn, Error> {
        let role = self.mounted.dialect.signup_role;
        self.service.sign_up(registration, role, session, self.policy(), self.client()).await
    }

    /// Exchanges a refresh token for new tokens; a mount whose clients may ask for a lifetime of the access token passes it.
    pub async fn refresh(&self, token: RefreshToken, access_ttl: Option<Duration>) -> Result<Issued, Error> {
        self.service.refresh(self.refresh_request(token, access_ttl)).await
    }

    fn refresh_request(&self, token: RefreshToken, access_ttl: Option<Duration>) -> RefreshRequest {
        let policies = Arc::clone(self.service.policies());
        RefreshRequest { token, asked: self.policy(), access_ttl, policies, client: self.client() }
    }

    /// As `refresh`, with the token of the cookie: if its session has ended for good, the response clears both cookies.
    pub async fn refresh_by_cookie(&self, token: RefreshToken, access_ttl: Option<Duration>) -> Result<Issued, Error> {
        let issued = self.refresh(token, access_ttl).await;
        if let Err(Error::Refusal(refusal)) = &issued
            && refusal.ends_session()
        {
            self.request.extensions_mut().insert(ClearCookies);
        }
        issued
    }

    /// Ends the sessions of the presented tokens.
    pub async fn sign_out(&self, presented: PresentedTokens) -> Result<(), Error> {
        let (client, longest) = (self.client(), self.service.policies().longest_access_ttl());
        self.service.run_blocking(move |core| core.sign_out(&presented, longest, &client)).await
    }

    /// A sign-out with cookies of one name and different values: ends the session of each, and of the tokens that the request
    /// names otherwise. A token that names none is no error: its cookie is cleared.
    pub async fn sign_out_duplicates(&self, named: PresentedTokens) -> Result<(), Error> {
        for presented in self.tokens_of_duplicates().into_iter().chain([named]) {
            if let Err(error @ Error::InternalError(_)) = self.sign_out(presented).await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends every session of the account that the presented tokens belong to.
    pub async fn sign_out_everywhere(&self, presented: PresentedTokens) -> Result<(), Error> {
        let (client, longest) = (self.client(), self.service.policies().longest_access_ttl());
        self.service.run_blocking(move |core| core.sign_out_everywhere(&presented, longest, &client)).await
    }

    /// As `sign_out`, for dialects in which an access token alone ends a session only while it is valid.
    pub async fn sign_out_live(&self, mut presented: PresentedTokens) -> Result<(), Error> {
        if presented.access.is_some()
            && let Err(error) = self.resolve_restricted(presented.access.clone()).await
        {
            if presented.refresh.is_none() {
                return Err(error);
            }
            presented.access = None;
        }
        self.sign_out(presented).await
    }

    /// Whether the request has a session cookie.
    pub fn has_session_cookies(&self) -> bool {
        self.cookies().any(self.request.headers())
    }

    /// The account of a caller.
    pub async fn account_of(&self, caller: &Caller) -> Result<Account, Error> {
        let id = caller.account;
        self.service.run_blocking(move |core| core.find_account(id)).await
    }

    /// The content of the Authorization header.
    pub fn authorization(&self) -> AuthorizationHeader {
        AuthorizationHeader::read(self.request.headers())
    }

    /// The bearer token, for dialects that read no cookie: another scheme counts as none, a malformed header as an invalid token.
    pub fn bearer_only(&self) -> Result<Option<AccessToken>, Refusal> {
        match self.authorization() {
            AuthorizationHeader::Absent | AuthorizationHeader::OtherScheme(_) => Ok(None),
            AuthorizationHeader::Bearer(token) => Ok(Some(BearerToken::into_access_token(token))),
            AuthorizationHeader::MissingToken | AuthorizationHeader::Malformed => Err(Refusal::TokenInvalid),
        }
    }

    /// The token of the access cookie, for dialects that read no header.
    pub fn access_cookie(&self) -> Result<Option<AccessToken>, RequestError> {
        credentials::access_cookie(&self.service, &self.request)
    }

    /// The caller of a token.
    pub async fn resolve(&self, token: Option<AccessToken>) -> Result<Caller, Error> {
        self.service.resolve(token.ok_or(Refusal::TokenMissing)?.expose()).await
    }

    /// As `resolve`, but accepts an account that must change its password.
    pub async fn resolve_restricted(&self, token: Option<AccessToken>) -> Result<Caller, Error> {
        self.service.resolve_restricted(token.ok_or(Refusal::TokenMissing)?.expose()).await
    }

    /// Sets only the access cookie on a response.
    pub fn set_access_cookie(&self, mut response: HttpResponse, issued: &Issued) -> HandlerResult {
        self.cookies().set_access(&mut response, issued, self.is_https()).map_err(Error::from)?;
        Ok(response)
    }

    /// Sets both cookies on a response; after a sign-in also the trusted device's.
    pub fn set_cookies(&self, mut response: HttpResponse, issued: &Issued) -> HandlerResult {
        let https = self.is_https();
        // A sign-in; other responses go to browsers whose cookies agree.
        if issued.device.is_some() && self.has_session_cookies() {
            self.cookies().clear_other_domains(&mut response, https).map_err(Error::from)?;
        }
        self.cookies().set(&mut response, issued, https).map_err(Error::from)?;
        if let Some(device) = &issued.device {
            self.cookies().set_device(&mut response, device, issued.persistent, https).map_err(Error::from)?;
        }
        Ok(response)
    }

    /// Clears both cookies on a response, of every domain that they may have.
    pub fn clear_cookies(&self, mut response: HttpResponse) -> HandlerResult {
        self.cookies().clear_other_domains(&mut response, self.is_https()).map_err(Error::from)?;
        self.cookies().clear(&mut response, self.is_https()).map_err(Error::from)?;
        Ok(response)
    }

    /// Whether a refresh by cookie found that its session has ended for good.
    pub(in crate::web) fn should_clear_cookies(&self) -> bool {
        self.request.extensions().get::<ClearCookies>().is_some()
    }

    /// The value that this browser's CSRF tokens before a sign-in are bound to.
    pub(in crate::web) fn csrf_cookie(&self) -> Option<String> {
        self.cookies().read_csrf(self.request.headers())
    }

    /// Binds this browser's CSRF tokens before a sign-in to a value.
    pub(in crate::web) fn set_csrf_cookie(&self, response: &mut HttpResponse, value: &str) -> Result<(), Error> {
        Ok(self.cookies().set_csrf(response, value, self.is_https())?)
    }

    /// The redirect-loop guard's record in this browser.
    pub(in crate::web) fn redirect_loop_cookie(&self) -> Option<String> {
        self.cookies().read_redirect_loop(self.request.headers())
    }

    /// Sets the redirect-loop guard's record in this browser.
    pub(in crate::web) fn set_redirect_loop_cookie(
        &self,
        response: &mut HttpResponse,
        value: &str,
        max_age: Duration,
    ) -> Result<(), Error> {
        Ok(self.cookies().set_redirect_loop(response, value, max_age, self.is_https())?)
    }

    fn cookies(&self) -> &SessionCookies {
        self.service.cookies()
    }
}
