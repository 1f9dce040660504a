//! Which dialects exist and under which prefix each stands by default. A dialect is a folder of three files: mod.rs
//! (routes and handlers), wire.rs (shapes), refusals.rs (every refusal to this wire's status and body).

pub mod envelope;
pub mod flat;
pub mod native;
pub mod pin;
pub mod signin;
pub mod store;

use super::mount::Dialect;
use crate::settings::KnownDialect;

/// Every dialect there is.
pub const ALL: &[Dialect] =
    &[native::DIALECT, flat::DIALECT, store::DIALECT, signin::DIALECT, pin::DIALECT, envelope::DIALECT];

/// Names and default prefixes, for the settings to check against.
pub fn known() -> Vec<KnownDialect> {
    ALL.iter().map(|dialect| KnownDialect { name: dialect.name, prefix: dialect.prefix }).collect()
}
