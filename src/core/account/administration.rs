//! Account administration: the operator's changes of role, permissions, status, email and secret, and deletion. A change that a
//! token's claims or a secret's holder would outlive ends every session; the others end none. What an owner may change is
//! account.rs's.

use super::Account;
use super::identifier::{self, Identifier};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::credential::password::{GivenSecret, new_pin};
use crate::core::error::{Error, Field, FieldError, FieldRule, Refusal, Taken};
use crate::core::revocation::write::announce_change;
use crate::core::session::caller::Client;
use crate::store::tables::accounts::{self, IdentifierColumn, SecretColumn};
use crate::store::tables::sessions;
use crate::store::{self, AccountId, AccountStatus, Db};

/// Sessions whose rows are deleted in one transaction.
const DELETE_BATCH: i64 = 500;

impl Core {
    /// Replaces the email, as an operator, who vouches for it unless `verified` is false. No session ends.
    pub fn set_email(&self, account: &Account, email: &str, verified: bool) -> Result<(), Error> {
        let refused = |rule| Refusal::InvalidFields(vec![FieldError::new(Field::Email, rule)]);
        let Identifier { shown, canonical } = identifier::email(email).map_err(refused)?;
        let set = |db: &mut Db, now| accounts::set_email(db, account.id, &shown, &canonical, verified, now);
        match self.change_identity(account, "email", set) {
            Err(Error::InternalError(_)) if self.is_held_by_another(account.id, &canonical)? => {
                Err(Refusal::IdentifierTaken(Taken { email: true, ..Taken::default() }).into())
            }
            other => other,
        }
    }

    fn is_held_by_another(&self, id: AccountId, email: &str) -> Result<bool, Error> {
        let holder = self.store.read(|db| accounts::find_by(db, IdentifierColumn::Email, email))?;
        Ok(holder.is_some_and(|holder| holder.id != id))
    }

    /// Replaces the permissions. No session ends: no token carries them.
    pub fn set_permissions(&self, account: &Account, permissions: &[String]) -> Result<(), Error> {
        let joined = permissions.join("\n");
        self.change_identity(account, "permissions", |db, now| accounts::set_permissions(db, account.id, &joined, now))
    }

    /// Ends every session of the account and deletes it with them. Its audit events stay, by its number. The sessions go in
    /// batches, so that requests go on beside it; if it is interrupted, the account is inactive, and another run completes it.
    pub fn delete_account(&self, account: &Account) -> Result<(), Error> {
        let (id, client) = (account.id, Client::operator());
        let now = self.now();
        let ended = AuditEvent::new(EventKind::StatusChange, &client).account(id).detail("deleting");
        self.end_all_sessions(id, &ended, |db| accounts::set_status(db, id, AccountStatus::Inactive, now))?;
        while self.store.write(|db| sessions::delete_of_account(db, id, DELETE_BATCH))? > 0 {}
        let deleted = AuditEvent::new(EventKind::AccountDeletion, &client);
        self.change_and_announce(account, deleted, |db, _now| accounts::delete(db, id))
    }

    /// A change of the identity that apps receive, which the next check shows.
    fn change_identity(
        &self,
        account: &Account,
        detail: &str,
        set: impl Fn(&mut Db, Timestamp) -> Result<bool, store::StoreError>,
    ) -> Result<(), Error> {
        let event = AuditEvent::new(EventKind::ProfileChange, &Client::operator()).detail(detail);
        self.change_and_announce(account, event, set)
    }

    /// Makes a change with its event, and has every node drop what it has cached of the account.
    fn change_and_announce(
        &self,
        account: &Account,
        event: AuditEvent,
        set: impl Fn(&mut Db, Timestamp) -> Result<bool, store::StoreError>,
    ) -> Result<(), Error> {
        let (now, event) = (self.now(), event.account(account.id));
        let notice = self.store.write(|db| {
            if !set(db, now)? {
                return Ok(None);
            }
            event.write(db, now)?;
            announce_change(db, account.uuid, now).map(Some)
        })?;
        self.revocation_cache.apply(&notice.ok_or(Refusal::AccountNotFound)?);
        self.log_event(&event);
        Ok(())
    }

    /// Sets, as an operator, whether the account's owner reads its email. No session ends; the next check tells it.
    pub fn set_email_verified(&self, account: &Account, verified: bool) -> Result<(), Error> {
        if account.email.is_none() {
            return Err(Refusal::InvalidFields(vec![FieldError::new(Field::Email, FieldRule::Missing)]).into());
        }
        let detail = if verified { "email_verified" } else { "email_unverified" };
        self.change_identity(account, detail, |db, now| accounts::set_email_verified(db, account.id, verified, now))
    }

    /// Sets the role; every session ends, so that no valid token carries the old one.
    pub fn set_role(&self, id: AccountId, role: &str) -> Result<(), Error> {
        let event = AuditEvent::new(EventKind::RoleChange, &Client::operator()).account(id).detail(role);
        let now = self.now();
        self.end_all_sessions(id, &event, |db| accounts::set_role(db, id, role, now))
    }

    /// Sets the status; every session ends.
    pub fn set_status(&self, id: AccountId, status: AccountStatus) -> Result<(), Error> {
        let event = AuditEvent::new(EventKind::StatusChange, &Client::operator()).account(id).detail(status.as_str());
        let now = self.now();
        self.end_all_sessions(id, &event, |db| accounts::set_status(db, id, status, now))
    }

    /// Sets whether the account must change its password before anything else (SP 800-63B-4 section 3.1.1.2, on compromise).
    /// Every session ends either way, so that a token's claim about it is right for the token's lifetime.
    pub fn require_password_change(&self, account: &Account, required: bool) -> Result<(), Error> {
        if required && !account.has_password {
            return Err(Refusal::InvalidFields(vec![FieldError::new(Field::Password, FieldRule::NoPassword)]).into());
        }
        let (id, now) = (account.id, self.now());
        let event = AuditEvent::new(EventKind::PasswordChangeRequired, &Client::operator()).account(id);
        let event = event.detail(if required { "required" } else { "lifted" });
        self.end_all_sessions(id, &event, |db| accounts::set_must_change_password(db, id, required, now))
    }

    /// Sets a secret as an operator; every session ends. Takes one bcrypt. A required password change stays required: the
    /// operator knows the new password too, so the order of the two commands must not matter.
    pub fn set_secret(&self, account: &Account, secret: &GivenSecret) -> Result<(), Error> {
        let names = [&account.email, &account.username, &account.name].map(|name| name.as_deref().unwrap_or_default());
        let (column, field, new) = match secret {
            GivenSecret::Password(secret) => {
                (SecretColumn::Password, "password", self.apply_password_policy(secret, &names))
            }
            GivenSecret::Pin(secret) => (SecretColumn::Pin, "pin", new_pin(secret)),
        };
        let new = new.map_err(|rule| Refusal::InvalidFields(vec![FieldError::new(field, rule)]))?;
        let stored = self.hasher.hash(&new)?;
        let now = self.now();
        let event = AuditEvent::new(EventKind::SecretChange, &Client::operator()).account(account.id).detail(field);
        let id = account.id;
        self.end_all_sessions(id, &event, |db| {
            accounts::set_secret(db, id, column, &stored, now)?;
            self.unlock_account(db, account.uuid)
        })
    }

    /// Resets the account's failed sign-in counters: the free attempts start again. Counters of client addresses remain.
    pub fn unlock(&self, id: AccountId) -> Result<(), Error> {
        let event = AuditEvent::new(EventKind::ThrottleLifted, &Client::operator()).account(id);
        let found = self.store.write(|db| {
            let Some(account) = accounts::find(db, id)? else { return Ok(None) };
            self.unlock_account(db, account.uuid)?;
            event.write(db, self.now()).map(Some)
        })?;
        found.ok_or(Refusal::AccountNotFound)?;
        self.log_event(&event);
        Ok(())
    }
}
