//! Who a caller is, as apps behind a proxy are told with every request: the account's names, role and permissions, from
//! memory. How they are written into headers is web/forward_auth's.
//!
//! Every change of an account leaves a row in the table of revocations, at the epoch it has if nothing is to end; so the
//! feed tells every node to forget what it knew, and memory is as old as the view at most.

use std::sync::{Arc, Mutex, PoisonError};

use crate::core::bounded_map::BoundedMap;
use crate::store::AccountId;
use crate::store::tables::accounts::AccountRow;

/// Accounts that a node knows at once: some 400 octets each.
const KNOWN_MAX: usize = 65_536;

/// An account as apps see it. Empty where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// What names it: its username, else its email, else its name.
    pub user: String,
    /// Its email.
    pub email: String,
    /// What a person is called: the name, else first and last name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its permissions.
    pub permissions: Vec<String>,
}

impl From<AccountRow> for Identity {
    fn from(row: AccountRow) -> Self {
        let both = [row.first_name, row.last_name].into_iter().flatten().collect::<Vec<_>>().join(" ");
        Self {
            account: row.id,
            user: row.username.or_else(|| row.email.clone()).or_else(|| row.name.clone()).unwrap_or_default(),
            email: row.email.unwrap_or_default(),
            name: row.name.unwrap_or(both),
            role: row.role,
            permissions: row.permissions.lines().map(ToOwned::to_owned).collect(),
        }
    }
}

/// What one node remembers of accounts. Readers take no lock.
#[derive(Debug)]
pub struct IdentityCache {
    known: BoundedMap<AccountId, Arc<Identity>>,
    changes: Mutex<u64>,
}

impl Default for IdentityCache {
    fn default() -> Self {
        Self { known: BoundedMap::new(KNOWN_MAX), changes: Mutex::new(0) }
    }
}

impl IdentityCache {
    pub(in crate::core) fn get(&self, account: AccountId) -> Option<Arc<Identity>> {
        self.known.get(&account)
    }

    /// Stands for what was heard until now.
    pub(in crate::core) fn heard(&self) -> u64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was read, unless a change was heard of since: the row may be from before it.
    pub(in crate::core) fn keep(&self, identity: &Arc<Identity>, heard: u64) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *changes == heard {
            self.known.insert(identity.account, Arc::clone(identity));
        }
    }

    /// An account changed.
    pub(in crate::core) fn forget(&self, account: AccountId) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes = changes.wrapping_add(1);
        self.known.remove(&account);
    }

    /// Any may have changed.
    pub(in crate::core) fn forget_all(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes = changes.wrapping_add(1);
        self.known.clear();
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
    fn a_row_read_before_a_change_was_heard_is_not_kept() {
        let identity_cache = IdentityCache::default();
        let heard = identity_cache.heard();
        identity_cache.forget(AccountId(1));
        identity_cache.keep(&identity(1, "old"), heard);
        assert_eq!(identity_cache.get(AccountId(1)), None);
        identity_cache.keep(&identity(1, "new"), identity_cache.heard());
        assert_eq!(identity_cache.get(AccountId(1)).map(|known| known.user.clone()), Some("new".to_owned()));
        identity_cache.forget_all();
        assert_eq!(identity_cache.get(AccountId(1)), None);
    }
}
