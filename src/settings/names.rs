//! Detects misspelt setting names among the environment variables (edit distance): a misspelt setting must not silently keep
//! its default. The names are defined by the clap structs in this folder.

use std::collections::BTreeMap;

use strsim::levenshtein;

use super::server::mounts::KnownDialect;

/// Settings have no prefix, so a variable with this one is an error.
const PREFIX: &str = "DOORWARD_";

/// A variable of the test suite, not a setting.
const TEST_SUITE: &str = "DOORWARD_TEST_BACKENDS";

/// An error for each variable that is not a setting and looks like one.
pub fn unknown_names(vars: &BTreeMap<String, String>, names: &[String], known: &[KnownDialect]) -> Vec<String> {
    let of_mounts = |dialect: &KnownDialect| {
        ["ACCESS_TTL", "REFRESH_TTL", "ROTATES"].map(|kind| format!("{}_{kind}", dialect.name.to_uppercase()))
    };
    let all: Vec<String> = names.iter().cloned().chain(known.iter().flat_map(of_mounts)).collect();
    let unknown = vars.keys().filter(|name| !all.contains(name) && *name != TEST_SUITE);
    unknown.filter_map(|name| explain_unknown(name, &all)).collect()
}

fn explain_unknown(name: &str, all: &[String]) -> Option<String> {
    if let Some(rest) = name.strip_prefix(PREFIX) {
        return Some(match similar_setting(rest, all) {
            Some(setting) => format!("{name}: settings have no prefix; use {setting}"),
            None => format!("{name}: not a setting; `doorward serve --help` lists them"),
        });
    }
    let setting = similar_setting(name, all)?;
    Some(format!("{name}: not a setting; did you mean {setting}?"))
}

/// The setting within an edit distance of 2. A name of a single word must be closer, and a short one must be exact: an
/// environment is full of short names of other programs.
fn similar_setting<'a>(name: &str, all: &'a [String]) -> Option<&'a String> {
    let max_distance =
        |known: &str| if known.contains('_') { 2 } else { usize::from(known.len() >= 6 && name.len() >= 6) };
    all.iter().find(|known| levenshtein(name, known) <= max_distance(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_decides_by_the_shape_of_the_name() {
        let all = ["REFRESH_TTL", "ISSUER", "BIND"].map(str::to_owned);
        let similar = |name| similar_setting(name, &all).map(String::as_str);
        assert_eq!(["REFRESH_TTL", "REFRSH_TLL"].map(similar), [Some("REFRESH_TTL"); 2]);
        assert_eq!(
            ["ISSUER", "ISSUERS", "ISUER", "ISSUE_RS"].map(similar),
            [Some("ISSUER"), Some("ISSUER"), None, None]
        );
        assert_eq!(["BIND", "BINDS", "FIND", "REFRSH_TLS_"].map(similar), [Some("BIND"), None, None, None]);
    }
}
