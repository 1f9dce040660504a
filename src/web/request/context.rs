//! One request as handlers see it: which mount it came to, who its client is, what it presents. Nothing is believed here;
//! tokens are judged by core, cookies are read by session_cookie.rs.

use super::credentials::{Authorization, access_token, bearer, client_of};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};

use super::credentials;
use super::session_cookie::SessionCookies;
use crate::core::account::Account;
use crate::core::caller::{Caller, Client};
use crate::core::credential::sign_in::{NewSession, SignIn, SignedIn};
use crate::core::error::{Error, Refusal};
use crate::core::registration::sign_up::Registration;
use crate::core::session::end::PresentedTokens;
use crate::core::session::{Issued, TokenPolicy};
use crate::secret::{AccessToken, RefreshToken};
use crate::web::mount::Mounted;
use crate::web::response::error::{ClearCookies, HandlerResult, WebError};
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
            _ => Err(Error::from(missing_doorward()).into()),
        })
    }
}

impl RequestContext {
    /// What the mount decides about tokens.
    pub fn policy(&self) -> TokenPolicy {
        self.mounted.policy.clone()
    }

    /// Who asks, for sessions and audit.
    pub fn client(&self) -> Client {
        client_of(&self.service, &self.request)
    }

    /// Whether the client came over https, as far as a trusted proxy says.
    pub fn is_https(&self) -> bool {
        self.service.proxies().says_https(&self.request)
    }

    /// The refresh token in the cookie.
    pub fn refresh_cookie(&self) -> Result<Option<RefreshToken>, Refusal> {
        credentials::refresh_cookie(&self.service, &self.request)
    }

    /// The access token, from the header if there is one, good or bad, else from the cookie.
    pub fn access_token(&self) -> Result<Option<AccessToken>, Refusal> {
        access_token(&self.service, &self.request)
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
        self.service.sign_in(wish, self.policy(), self.client()).await
    }

    /// Signs up with the mount's policy and role.
    pub async fn sign_up(&self, person: Registration, session: NewSession) -> Result<SignedIn, Error> {
        let role = self.mounted.dialect.signup_role;
        self.service.sign_up(person, role, session, self.policy(), self.client()).await
    }

    /// Spends a refresh token under this policy.
    pub async fn refresh(&self, token: RefreshToken, policy: TokenPolicy) -> Result<Issued, Error> {
        self.service.refresh(token, policy, self.client()).await
    }

    /// As `refresh`, with the token of the cookie: when its session is over for good, the answer clears both cookies.
    pub async fn refresh_by_cookie(&self, token: RefreshToken, policy: TokenPolicy) -> Result<Issued, Error> {
        let issued = self.refresh(token, policy).await;
        if let Err(Error::Refusal(refusal)) = &issued
            && refusal.ends_session()
        {
            self.request.extensions_mut().insert(ClearCookies);
        }
        issued
    }

    /// Ends the sessions behind what is presented.
    pub async fn sign_out(&self, presented: PresentedTokens) -> Result<(), Error> {
        let client = self.client();
        self.service.run_blocking(move |core| core.sign_out(&presented, &client)).await
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
        self.service.run_blocking(move |core| core.find_account(id)).await
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
        credentials::access_cookie(&self.service, &self.request)
    }

    /// Who a token speaks for.
    pub async fn resolve(&self, token: Option<AccessToken>) -> Result<Caller, Error> {
        self.service.resolve(token.ok_or(Refusal::TokenMissing)?.expose()).await
    }

    /// As `resolve`, also for one who must change the password first.
    pub async fn resolve_restricted(&self, token: Option<AccessToken>) -> Result<Caller, Error> {
        self.service.resolve_restricted(token.ok_or(Refusal::TokenMissing)?.expose()).await
    }

    /// Sets the access cookie only, on an answer.
    pub fn set_access_cookie(&self, mut answer: HttpResponse, issued: &Issued) -> HandlerResult {
        self.cookies().set_access(&mut answer, issued, self.is_https()).map_err(Error::from)?;
        Ok(answer)
    }

    /// Sets both cookies on an answer, after a sign-in the device's too.
    pub fn set_cookies(&self, mut answer: HttpResponse, issued: &Issued) -> HandlerResult {
        let https = self.is_https();
        self.cookies().set(&mut answer, issued, https).map_err(Error::from)?;
        if let Some(device) = issued.device.as_ref().filter(|_| self.mounted.dialect.issues_trusted_device) {
            self.cookies().set_device(&mut answer, device, https).map_err(Error::from)?;
        }
        Ok(answer)
    }

    /// Clears both cookies on an answer.
    pub fn clear_cookies(&self, mut answer: HttpResponse) -> HandlerResult {
        self.cookies().clear(&mut answer, self.is_https()).map_err(Error::from)?;
        Ok(answer)
    }

    /// Whether a refresh has found that the session behind the cookies is over for good.
    pub(in crate::web) fn should_clear_cookies(&self) -> bool {
        self.request.extensions().get::<ClearCookies>().is_some()
    }

    /// What forms before a sign-in are bound to in this browser.
    pub(in crate::web) fn csrf_cookie(&self) -> Option<String> {
        self.cookies().read_csrf(self.request.headers())
    }

    /// Binds the forms before a sign-in to this value.
    pub(in crate::web) fn set_csrf_cookie(&self, answer: &mut HttpResponse, value: &str) -> Result<(), Error> {
        Ok(self.cookies().set_csrf(answer, value, self.is_https())?)
    }

    /// What this browser notes of redirects.
    pub(in crate::web) fn redirect_loop_cookie(&self) -> Option<String> {
        self.cookies().read_redirect_loop(self.request.headers())
    }

    /// Notes redirects in this browser.
    pub(in crate::web) fn set_redirect_loop_cookie(
        &self,
        answer: &mut HttpResponse,
        value: &str,
        lives: Duration,
    ) -> Result<(), Error> {
        Ok(self.cookies().set_redirect_loop(answer, value, lives, self.is_https())?)
    }

    fn cookies(&self) -> &SessionCookies {
        self.service.cookies()
    }
}
