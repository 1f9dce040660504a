//! Identity cache: an account's names, role and permissions, which forward-auth sends to apps with every request. How they
//! are rendered as headers is decided by web/forward_auth/identity_headers.rs.
//!
//! Invalidation: every change of an account writes a row to the revocation table, with the account's current epoch if no
//! session is to end. The revocation feed delivers it to every node, which removes the entry; so an entry is at most as stale
//! as the revocation cache.

use std::sync::{Arc, Mutex, PoisonError};

use crate::core::bounded_map::BoundedMap;
use crate::store::AccountId;
use crate::store::tables::accounts::AccountRow;

/// Entries of a node's cache: about 400 bytes each.
const IDENTITIES_MAX: usize = 65_536;

/// An account as apps see it. Absent values are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// The account's username, else its email, else its name.
    pub user: String,
    /// The email.
    pub email: String,
    /// The display name: the name, else first and last name.
    pub name: String,
    /// The role.
    pub role: String,
    /// The permissions.
    pub permissions: Vec<String>,
}

impl From<AccountRow> for Identity {
    fn from(row: AccountRow) -> Self {
        let full_name = [row.first_name, row.last_name].into_iter().flatten().collect::<Vec<_>>().join(" ");
        Self {
            account: row.id,
            user: row.username.or_else(|| row.email.clone()).or_else(|| row.name.clone()).unwrap_or_default(),
            email: row.email.unwrap_or_default(),
            name: row.name.unwrap_or(full_name),
            role: row.role,
            permissions: row.permissions.lines().map(ToOwned::to_owned).collect(),
        }
    }
}

/// The cache of one node. Readers take no lock.
#[derive(Debug)]
pub struct IdentityCache {
    entries: BoundedMap<AccountId, Arc<Identity>>,
    /// Counts invalidations.
    version: Mutex<u64>,
}

impl Default for IdentityCache {
    fn default() -> Self {
        Self { entries: BoundedMap::new(IDENTITIES_MAX), version: Mutex::new(0) }
    }
}

impl IdentityCache {
    pub(in crate::core) fn get(&self, account: AccountId) -> Option<Arc<Identity>> {
        self.entries.get(&account)
    }

    /// The current version. Take it before the row is read, and pass it to `insert_if_unchanged`.
    pub(in crate::core) fn version(&self) -> u64 {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inserts an identity, unless an invalidation has arrived since `version`: the row may have been read before the change,
    /// and would then stay in the cache with nothing left to remove it.
    pub(in crate::core) fn insert_if_unchanged(&self, identity: &Arc<Identity>, version: u64) {
        let current = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == version {
            self.entries.insert(identity.account, Arc::clone(identity));
        }
    }

    /// Removes one account's entry.
    pub(in crate::core) fn invalidate(&self, account: AccountId) {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        *version = version.wrapping_add(1);
        self.entries.remove(&account);
    }

    /// Removes all entries, after a resync that may have missed changes.
    pub(in crate::core) fn clear(&self) {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        *version = version.wrapping_add(1);
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(account: i64, user: &str) -> Arc<Identity> {
        Arc::new(Identity {
            account: AccountId(account),
            user: user.to_owned(),
            email: String::new(),
            name: String::new(),
            role: "USER".to_owned(),
            permissions: Vec::new(),
        })
    }

    #[test]
    fn identity_cache_rejects_a_row_read_before_an_invalidation() {
        let identity_cache = IdentityCache::default();
        let version = identity_cache.version();
        identity_cache.invalidate(AccountId(1));
        identity_cache.insert_if_unchanged(&identity(1, "old"), version);
        assert_eq!(identity_cache.get(AccountId(1)), None);
        identity_cache.insert_if_unchanged(&identity(1, "new"), identity_cache.version());
        assert_eq!(identity_cache.get(AccountId(1)).map(|identity| identity.user.clone()), Some("new".to_owned()));
        identity_cache.clear();
        assert_eq!(identity_cache.get(AccountId(1)), None);
    }
}
