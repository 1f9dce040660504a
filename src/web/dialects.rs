//! List of the dialects. A dialect is a folder of three files: mod.rs (routes and handlers), wire.rs (formats of requests and
//! responses), refusals.rs (status and body of every error).

pub mod envelope;
pub mod flat;
pub mod native;
pub mod pin;
pub mod signin;
pub mod store;

use super::service::mount::Dialect;
use crate::settings::KnownDialect;

/// Every dialect of the service.
pub const ALL: &[Dialect] =
    &[native::DIALECT, flat::DIALECT, store::DIALECT, signin::DIALECT, pin::DIALECT, envelope::DIALECT];

/// Names and default prefixes, against which the settings are checked.
pub fn known() -> Vec<KnownDialect> {
    ALL.iter().map(Dialect::known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::startup::BUILT_IN_ACCESS_TTL_MAX;

    /// A command that revokes opens no mounts, and covers what they may have issued by this constant.
    #[test]
    fn no_dialect_issues_access_tokens_for_longer_than_revocations_cover() {
        for dialect in ALL {
            assert!(dialect.access_ttl.is_none_or(|ttl| ttl <= BUILT_IN_ACCESS_TTL_MAX), "{}", dialect.name);
        }
    }
}
