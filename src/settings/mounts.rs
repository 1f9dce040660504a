//! Mounts in the settings: which dialect stands under which prefix, and the lifetimes of each mount.

use std::collections::BTreeMap;
use std::time::Duration;

use super::values;

/// A dialect that exists, and the prefix it has unless told otherwise.
#[derive(Debug, Clone, Copy)]
pub struct KnownDialect {
    /// Its name in DIALECTS.
    pub name: &'static str,
    /// Where it is mounted by default.
    pub prefix: &'static str,
}

/// A dialect under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The dialect's name.
    pub dialect: String,
    /// `/`, or a path without its last slash.
    pub prefix: String,
    /// `<DIALECT>_ACCESS_TTL`.
    pub access_ttl: Option<Duration>,
    /// `<DIALECT>_REFRESH_TTL`.
    pub refresh_ttl: Option<Duration>,
}

/// A mount's own lifetime, `<DIALECT>_<KIND>`.
pub fn mount_ttl(vars: &BTreeMap<String, String>, dialect: &str, kind: &str) -> Result<Option<Duration>, String> {
    let name = format!("{}_{kind}", dialect.to_uppercase());
    match vars.get(&name).map(|value| value.trim()).filter(|value| !value.is_empty()) {
        Some(value) => values::lifetime(value).map(Some).map_err(|why| format!("{name}: {why}")),
        None => Ok(None),
    }
}
