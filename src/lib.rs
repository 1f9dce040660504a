//! Doorward: cookie-session authentication with immediate revocation, as a service or inside an actix-web service.
//!
//! An embedding service opens a [`Doorward`] with [`Settings`], adds its routes with [`Doorward::configure`], and protects its
//! own with [`require_session`], [`require_role`] and the extractor [`Caller`]; [`Doorward::identity`] gives the caller's email
//! and names. [`Server`] is the standalone server. [`testing`] starts an isolated service in a test, and [`dialect`] is what a
//! wire contract outside this crate is written with. `examples/protected_app.rs` is a complete service.
//!
//! The other modules are internal: visible to this package's tests and benchmarks, without a promise to anyone else.
//! ARCHITECTURE.md describes them.

#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod core;
#[doc(hidden)]
pub mod mail;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod secret;
#[doc(hidden)]
pub mod settings;
#[doc(hidden)]
pub mod store;
pub mod testing;
#[doc(hidden)]
pub mod web;

pub use core::account::identity_cache::Identity;
pub use core::session::caller::Caller;
pub use core::startup::{OpenError, Opened};
pub use settings::builder::SettingsBuilder;
pub use settings::{ConfigErrors, Settings};
pub use store::{AccountUuid, SessionId};
pub use web::request::caller::{bearer_validator, require_session};
pub use web::response::error::WebError;
pub use web::server::serve::{ServeError, Server};
pub use web::service::Doorward;
pub use web::service::embedding::{RequireRole, require_role};

/// What a dialect outside this crate is written with: routes, requests, refusals. `tests/it/external_dialect.rs` is one.
pub mod dialect {
    pub use crate::core::account::Account;
    pub use crate::core::account::identifier::IdentifierKind;
    pub use crate::core::credential::password::GivenSecret;
    pub use crate::core::credential::sign_in::{SignIn, SignedIn};
    pub use crate::core::error::{Error, FieldError, FieldRule, Refusal};
    pub use crate::core::session::presented_tokens::PresentedTokens;
    pub use crate::core::session::{Issued, TokenPolicy};
    pub use crate::secret::{AccessToken, RefreshToken, Secret};
    pub use crate::web::request::body::Fields;
    pub use crate::web::request::context::RequestContext;
    pub use crate::web::response::error::{ErrorContext, HandlerResult, RequestError};
    pub use crate::web::response::problem::{self, Problem};
    pub use crate::web::response::routing::resource;
    pub use crate::web::service::mount::Dialect;
}
