//! The identity cache: what apps behind a proxy learn of the caller with every request, from memory: the account's names,
//! role and permissions. How they are written into headers is web/forward_auth's.
//!
//! Every change of an account leaves a row in the table of revocations, at the epoch it has if nothing is to end; so the
//! feed makes every node drop what it had cached, and an entry is never older than the revocation cache.

use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;

use crate::store::AccountUuid;
use crate::store::tables::accounts::AccountRow;

/// Accounts in the cache: some 400 bytes each.
const CAPACITY: usize = 65_536;

/// An account as apps see it. Absent values are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountUuid,
    /// The account's username, else its email if that may be disclosed, else its name, else its uuid: never an
    /// unverified address.
    pub user: String,
    /// The email, if it is verified or unverified ones may be disclosed.
    pub email: String,
    /// The display name: the name, else first and last name. Nothing proves it.
    pub name: String,
    /// The role.
    pub role: String,
    /// The permissions.
    pub permissions: Vec<String>,
}

/// Which emails are disclosed to apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailDisclosure {
    /// Those whose owner has proved to read them, or an operator has vouched for.
    Verified,
    /// Also unverified ones.
    All,
}

impl Identity {
    /// The identity of this account.
    pub fn of(row: AccountRow, disclosure: EmailDisclosure) -> Self {
        let full_name = [row.first_name, row.last_name].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let email = row.email.filter(|_| row.email_verified || disclosure == EmailDisclosure::All);
        let user = row.username.or_else(|| email.clone()).or_else(|| row.name.clone());
        Self {
            account: row.uuid,
            user: user.unwrap_or_else(|| row.uuid.to_string()),
            email: email.unwrap_or_default(),
            name: row.name.unwrap_or(full_name),
            role: row.role,
            permissions: row.permissions.lines().map(ToOwned::to_owned).collect(),
        }
    }
}

/// The identities that one node has read of late. A look-up inserts nothing, not even to keep an entry from eviction, so
/// it cannot bring back what `invalidate` removes at the same time.
#[derive(Debug)]
pub struct IdentityCache {
    identities: Cache<AccountUuid, Arc<Identity>>,
    /// How many changes were heard of.
    changes: Mutex<u64>,
}

impl Default for IdentityCache {
    fn default() -> Self {
        Self { identities: Cache::new(CAPACITY), changes: Mutex::new(0) }
    }
}

impl IdentityCache {
    /// The identity, if it is cached.
    pub(in crate::core) fn get(&self, account: AccountUuid) -> Option<Arc<Identity>> {
        self.identities.get(&account)
    }

    /// How many changes of accounts were heard of until now.
    pub(in crate::core) fn change_count(&self) -> u64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Caches what a row said, unless a change was heard of since `change_count` was taken, which was before the row was
    /// read: the row may be older than that change.
    pub(in crate::core) fn insert_if_unchanged(&self, identity: &Arc<Identity>, change_count: u64) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *changes == change_count {
            self.identities.insert(identity.account, Arc::clone(identity));
        }
    }

    /// Drops an account that changed.
    pub(in crate::core) fn invalidate(&self, account: AccountUuid) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes = changes.wrapping_add(1);
        self.identities.remove(&account);
    }

    /// Drops all of them: any account may have changed.
    pub(in crate::core) fn invalidate_all(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes = changes.wrapping_add(1);
        self.identities.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn account(number: u128) -> AccountUuid {
        AccountUuid(Uuid::from_u128(number))
    }

    fn identity(number: u128, user: &str) -> Arc<Identity> {
        Arc::new(Identity {
            account: account(number),
            user: user.to_owned(),
            email: String::new(),
            name: String::new(),
            role: "USER".to_owned(),
            permissions: Vec::new(),
        })
    }

    #[test]
    fn a_row_read_before_a_change_was_heard_of_is_not_cached() {
        let cache = IdentityCache::default();
        let change_count = cache.change_count();
        cache.invalidate(account(1));
        cache.insert_if_unchanged(&identity(1, "old"), change_count);
        assert_eq!(cache.get(account(1)), None);
        cache.insert_if_unchanged(&identity(1, "new"), cache.change_count());
        assert_eq!(cache.get(account(1)).map(|cached| cached.user.clone()), Some("new".to_owned()));
    }

    #[test]
    fn an_invalidated_identity_is_gone() {
        let cache = IdentityCache::default();
        for number in 0..4 {
            cache.insert_if_unchanged(&identity(number, "user"), cache.change_count());
        }
        cache.invalidate(account(0));
        assert!(cache.get(account(0)).is_none() && cache.get(account(1)).is_some());
        cache.invalidate_all();
        assert!((0..4).all(|number| cache.get(account(number)).is_none()));
    }
}
