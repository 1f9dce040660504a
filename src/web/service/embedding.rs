//! Embedding API: settings with the built-in dialects, the role guard, and the identity of a caller, for actix services that
//! use doorward as a library. The session guard and the extractor are request/caller.rs's.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpMessage;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};

use super::Doorward;
use crate::core::account::identity_cache::Identity;
use crate::core::error::Refusal;
use crate::core::session::caller::Caller;
use crate::settings::builder::SettingsBuilder;
use crate::settings::{ConfigErrors, Settings};
use crate::web::dialects;
use crate::web::request::caller::{authenticate, rejection};
use crate::web::response::error::WebError;

impl Settings {
    /// Settings in code, for a service with the built-in dialects.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::new(dialects::known())
    }

    /// Settings from `.env` and the environment, as the binary reads them.
    pub fn load() -> Result<Self, ConfigErrors> {
        Self::from_environment(&dialects::known(), None)
    }
}

impl Doorward {
    /// Username, email, name, role and permissions of a caller: from memory, or from the database the first time. It is
    /// current: a change of the account reaches every node's memory with its revocations.
    pub async fn identity(&self, caller: &Caller) -> Result<Arc<Identity>, WebError> {
        if let Some(cached) = self.core().cached_identity(caller.account) {
            return Ok(cached);
        }
        let account = caller.account;
        Ok(self.run_blocking(move |core| core.find_identity(account)).await?)
    }
}

/// Middleware for routes that only callers with this role may reach: `.wrap(require_role("ADMIN"))`. It includes
/// `require_session`; another role is 403 `permission_denied`. The role is the token's: a change of role ends its sessions.
pub fn require_role(role: impl Into<String>) -> RequireRole {
    RequireRole(role.into())
}

/// What `require_role` returns.
#[derive(Debug, Clone)]
pub struct RequireRole(String);

/// The guard around one service.
#[derive(Debug)]
pub struct RoleGuard<S> {
    role: Rc<str>,
    service: Rc<S>,
}

impl<S, B> Transform<S, ServiceRequest> for RequireRole
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = actix_web::Error;
    type Transform = RoleGuard<S>;
    type InitError = ();
    type Future = Ready<Result<RoleGuard<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(RoleGuard { role: self.0.as_str().into(), service: Rc::new(service) }))
    }
}

impl<S, B> Service<ServiceRequest> for RoleGuard<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (role, service) = (Rc::clone(&self.role), Rc::clone(&self.service));
        Box::pin(async move {
            let admitted = authenticate(&request).await.and_then(|caller| {
                if caller.role == *role { Ok(caller) } else { Err(Refusal::PermissionDenied.into()) }
            });
            match admitted {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    service.call(request).await.map(ServiceResponse::map_into_boxed_body)
                }
                Err(error) => Ok(rejection(request, &error)),
            }
        })
    }
}
