//! Mounts: which dialect is served under which path prefix, the token lifetimes of each mount, and whether it rotates.

use std::collections::BTreeMap;
use std::time::Duration;

use super::web::MountText;
use crate::settings::values::{boolean, lifetime};

/// A dialect of this service and its default prefix.
#[derive(Debug, Clone, Copy)]
pub struct KnownDialect {
    /// The name in DIALECTS.
    pub name: &'static str,
    /// The default prefix.
    pub prefix: &'static str,
    /// Whether its contract has a place for a new refresh token in the response to a refresh.
    pub rotates: bool,
}

/// A dialect served under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The dialect's name.
    pub dialect: String,
    /// `/`, or a path without a trailing slash.
    pub prefix: String,
    /// `<DIALECT>_ACCESS_TTL`.
    pub access_ttl: Option<Duration>,
    /// `<DIALECT>_REFRESH_TTL`.
    pub refresh_ttl: Option<Duration>,
    /// Whether a refresh rotates the refresh token: `<DIALECT>_ROTATES`, if the contract allows it.
    pub rotates: bool,
}

/// The mounts of DIALECTS, or every known dialect when it is empty; and an error for each entry that is not valid.
pub fn resolve_mounts(
    entries: &[MountText],
    vars: &BTreeMap<String, String>,
    known: &[KnownDialect],
) -> (Vec<Mount>, Vec<String>) {
    let (mut mounts, mut errors) = (Vec::<Mount>::new(), Vec::new());
    let every_dialect =
        || known.iter().map(|dialect| MountText { name: dialect.name.to_owned(), prefix: None }).collect();
    let entries: Vec<MountText> = if entries.is_empty() { every_dialect() } else { entries.to_vec() };
    for MountText { name, prefix } in entries {
        let Some(dialect) = known.iter().find(|dialect| dialect.name == name) else {
            let names: Vec<&str> = known.iter().map(|dialect| dialect.name).collect();
            errors.push(format!("DIALECTS: {name:?} is not a dialect; use {}", names.join(", ")));
            continue;
        };
        let prefix = prefix.unwrap_or_else(|| dialect.prefix.to_owned());
        if let Some(Mount { dialect: other, .. }) = mounts.iter().find(|mount| mount.prefix == prefix) {
            errors.push(format!(
                "DIALECTS: {other} and {name} have the same prefix {prefix}; choose another one, as in {name}=/{name}"
            ));
        }
        let mut ttl = |kind: &str| mount_ttl(vars, &name, kind).map_err(|error| errors.push(error)).ok().flatten();
        let (access_ttl, refresh_ttl) = (ttl("ACCESS_TTL"), ttl("REFRESH_TTL"));
        let rotates = mount_rotates(vars, dialect).unwrap_or_else(|error| {
            errors.push(error);
            dialect.rotates
        });
        mounts.push(Mount { dialect: name, prefix, access_ttl, refresh_ttl, rotates });
    }
    (mounts, errors)
}

/// A mount's own lifetime, `<DIALECT>_<KIND>`, or the error to report about it.
fn mount_ttl(vars: &BTreeMap<String, String>, dialect: &str, kind: &str) -> Result<Option<Duration>, String> {
    let (name, value) = of_mount(vars, dialect, kind);
    value.map(|value| lifetime(value).map_err(|error| format!("{name}: {error}"))).transpose()
}

/// Whether a mount rotates, or the error to report about `<DIALECT>_ROTATES`.
fn mount_rotates(vars: &BTreeMap<String, String>, dialect: &KnownDialect) -> Result<bool, String> {
    let (name, value) = of_mount(vars, dialect.name, "ROTATES");
    let Some(value) = value else { return Ok(dialect.rotates) };
    let rotates = boolean(value).map_err(|error| format!("{name}: {error}"))?;
    if rotates && !dialect.rotates {
        return Err(format!("{name}: the {} contract has no place for a new refresh token; remove it", dialect.name));
    }
    Ok(rotates)
}

/// The name of a mount's own setting, and its value if it is not empty.
fn of_mount<'a>(vars: &'a BTreeMap<String, String>, dialect: &str, kind: &str) -> (String, Option<&'a str>) {
    let name = format!("{}_{kind}", dialect.to_uppercase());
    let value = vars.get(&name).map(|value| value.trim()).filter(|value| !value.is_empty());
    (name, value)
}
