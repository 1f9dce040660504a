//! Reserved names (deny-list): usernames and names that an operator may assign and registration refuses, because apps
//! behind a proxy and people who read mail take their holder for somebody with authority. Who is an operator is decided by the
//! callers: registration/sign_up.rs and account.rs.

use std::collections::HashSet;

use super::identifier::canonical;

/// The length of a uuid as identity headers write it.
const UUID_LENGTH: usize = 36;

/// The reserved names, in canonical form.
#[derive(Debug, Clone, Default)]
pub struct ReservedNames(HashSet<String>);

impl ReservedNames {
    /// From the setting, in any spelling.
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| canonical(name)).collect())
    }

    /// Whether a username or name, in canonical form, is reserved. Uuids are, whatever the setting says: the uuid is what
    /// `Remote-User` says of an account without a name, and no account may have another's UUID as its name.
    pub fn contains(&self, canonical: &str) -> bool {
        self.0.contains(canonical) || is_uuid(canonical)
    }
}

fn is_uuid(name: &str) -> bool {
    name.len() == UUID_LENGTH && uuid::Uuid::try_parse(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_canonical_form() {
        let reserved = ReservedNames::new(&["Admin".to_owned(), "Straße".to_owned(), "help desk".to_owned()]);
        for name in ["admin", "ADMIN", "ａｄｍｉｎ", "strasse", "STRAẞE", "Help Desk"] {
            assert!(reserved.contains(&canonical(name)), "{name}");
        }
        for name in ["admin2", "administrator", "adm", "help", "a.dmin"] {
            assert!(!reserved.contains(&canonical(name)), "{name}");
        }
    }

    #[test]
    fn a_uuid_is_reserved_whatever_the_setting_says() {
        let none = ReservedNames::new(&[String::new()]);
        assert!(none.contains("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"));
        assert!(none.contains(&canonical("0190A1B2-C3D4-7E5F-8A9B-0C1D2E3F4A5B")));
        for name in ["0190a1b2c3d47e5f8a9b0c1d2e3f4a5b", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5g", "admin"] {
            assert!(!none.contains(name), "{name}");
        }
    }
}
