//! Doorward: cookie-session authentication whose logout is a logout, at once, on every node.
//!
//! What lives where, and who may use whom:
//!
//! - [`clock`], [`metrics`], [`secret`], [`settings`]: what everybody may use.
//! - [`mail`]: letters on their way out. Knows settings.
//! - [`store`]: rows. Knows diesel and nothing above it.
//! - [`core`]: rules. Knows store; knows no actix, no JSON, no cookie, no status code.
//! - [`web`]: wires. Knows core, never store. A dialect knows core and web's helpers, never another dialect.
//! - [`cli`]: operators. Knows core, and starts web.
//! - [`testing`]: an isolated service for a test.
//!
//! The life of a request: `web::answer` gives it an id and guards its origin; a dialect's handler parses it into a
//! command of core; `web::blocking` carries the command to a thread that may wait; core decides, store writes; the dialect
//! renders the outcome or the refusal. A check of an access token stays on its web worker: it reads memory only.
//!
//! Another actix service protects its routes with [`Doorward`], [`require_session`] and [`Caller`]: see
//! `examples/protected_app.rs`.

pub mod cli;
pub mod clock;
pub mod core;
pub mod mail;
pub mod metrics;
pub mod secret;
pub mod settings;
pub mod store;
pub mod testing;
pub mod web;

pub use crate::web::service::Doorward;
pub use core::caller::Caller;
pub use settings::Settings;
pub use web::require_session;
