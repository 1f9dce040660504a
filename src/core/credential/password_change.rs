//! Password change by the account's owner, in three steps like a sign-in: policy, hashing, write. All other sessions end in
//! the same transaction (ASVS 7.4.3), in constant work; the caller's continues with new tokens, and its old ones are invalid
//! without grace.
//! A password set by an operator is account.rs's; the threads are decided by web/blocking/operations.rs.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::credential::password::{NewSecret, SecretCheck};
use crate::core::defence::rate_limit::Writer;
use crate::core::defence::throttle_policy::{ThrottleKeys, ThrottleSubject};
use crate::core::error::{Error, FieldError, Refusal};
use crate::core::revocation::write::revoke_account;
use crate::core::session::caller::{Caller, Client};
use crate::core::session::refresh::MAX_ATTEMPTS;
use crate::core::session::{Issued, MountPolicies};
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, SecretColumn};
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, SessionRow, rotation};
use crate::store::{self, AccountId, Db};

/// A request to change the caller's password.
#[derive(Debug, Clone)]
pub struct PasswordChange {
    /// The caller, whose session continues.
    pub caller: Caller,
    /// The current password.
    pub current: Secret,
    /// The new password.
    pub new: Secret,
    /// Whether the session keeps its tokens, for a dialect whose response cannot carry new ones. An access token with the claim
    /// that the password must be changed is invalidated all the same; the refresh token gets another.
    pub keeps_tokens: bool,
}

/// Result of step one: the new password complies with the policy.
#[derive(Debug)]
pub struct PreparedChange {
    request: PasswordChange,
    account: AccountRow,
    new: NewSecret,
    throttle_keys: ThrottleKeys,
}

/// Result of step two: the current password matches, the new one is hashed.
#[derive(Debug)]
pub struct CheckedChange {
    request: PasswordChange,
    account: AccountRow,
    /// The stored form of the new password.
    stored: String,
    unchanged: bool,
    throttle_keys: ThrottleKeys,
}

impl Core {
    /// Step one: the throttle, which counts a wrong current password as a failed sign-in, and the policy.
    pub fn prepare_password_change(&self, request: PasswordChange, client: &Client) -> Result<PreparedChange, Error> {
        self.check_write_rate(Writer::Session(request.caller.session))?;
        let found = self.store.read(|db| accounts::find_by_uuid(db, request.caller.account))?;
        let account = found.ok_or(Refusal::SessionEnded)?;
        // Counted by session, so that guesses at the account's sign-in do not keep its owner from changing the password.
        let subject = ThrottleSubject::OwnSession(account.uuid, request.caller.session);
        let throttle_keys = ThrottleKeys::new(self.hasher.digest_key(), &subject, SecretColumn::Password, client);
        let blocked = self.store.read(|db| self.check_throttle(db, &throttle_keys))?;
        blocked.map_or(Ok(()), Err)?;
        let names = [&account.email, &account.username, &account.name].map(|name| name.as_deref().unwrap_or_default());
        let complies = self.apply_password_policy(&request.new, &names);
        let new = complies.map_err(|rule| Refusal::InvalidFields(vec![FieldError::new("newPassword", rule)]))?;
        Ok(PreparedChange { request, account, new, throttle_keys })
    }

    /// Step two: takes two bcrypts; run it on a hashing thread. A wrong current password is recorded before the client can
    /// know of it.
    pub fn check_password_change(&self, prepared: PreparedChange, client: &Client) -> Result<CheckedChange, Error> {
        let PreparedChange { request, account, new, throttle_keys } = prepared;
        // Guesses of the same session may have failed while this one waited for a hashing thread.
        self.store.read(|db| self.check_throttle(db, &throttle_keys))?.map_or(Ok(()), Err)?;
        if self.hasher.check(&request.current, account.password.as_deref()) == SecretCheck::Mismatch {
            let caller = &request.caller;
            let refused =
                AuditEvent::new(EventKind::SecretChangeRefused, client).account(account.id).session(caller.session);
            let wait = self.record_failure(|db| {
                refused.write(db, self.now())?;
                self.count_failure(db, &throttle_keys)
            })?;
            self.log_event(&refused);
            return Err(wait.map_or(Refusal::CurrentPasswordWrong, Refusal::Throttled).into());
        }
        let (unchanged, stored) = (new.equals(&request.current), self.hasher.hash(&new)?);
        Ok(CheckedChange { request, account, stored, unchanged, throttle_keys })
    }

    /// Step three: writes the change, and issues the session's new tokens unless it keeps its own.
    pub fn change_password(
        &self,
        checked: &CheckedChange,
        policies: &MountPolicies,
        client: &Client,
    ) -> Result<Option<Issued>, Error> {
        let (caller, now) = (&checked.request.caller, self.now());
        if checked.unchanged {
            return Err(Refusal::PasswordUnchanged.into());
        }
        let account = checked.account.id;
        let changed = AuditEvent::new(EventKind::SecretChange, client).account(account).session(caller.session);
        let written = self.store.write(|db| {
            let old = checked.account.password.as_deref();
            if !accounts::replace_password(db, account, old, &checked.stored, now)? {
                return Err(store::StoreError::Abandoned);
            }
            changed.write(db, now)?;
            self.reset_failures(db, &checked.throttle_keys)?;
            self.continue_session(db, &checked.request, account, policies, now)
        });
        let Continued { rotated, revoked } = match written {
            Err(store::StoreError::Abandoned) => return Err(self.abandoned_reason(caller)?.into()),
            other => other?,
        };
        self.revocation_cache.apply(&revoked);
        self.log_event(&changed);
        let issue = |(row, state): (SessionRow, AccountState)| {
            self.issue_of_rotation(&row, &state, policies.of_dialect(&row.dialect))
        };
        rotated.map(issue).transpose()
    }

    /// The transaction was abandoned because, while the current password was verified, the session ended or the password
    /// changed.
    fn abandoned_reason(&self, caller: &Caller) -> Result<Refusal, Error> {
        let found = self.store.read(|db| sessions::find(db, caller.session))?;
        let is_live = found.is_some_and(|(row, account)| row.is_live_for(&account));
        Ok(if is_live { Refusal::Busy(Duration::from_secs(1)) } else { Refusal::SessionEnded })
    }

    /// Raises the account's epoch, which ends its other sessions in constant work, and takes the caller's session along: with
    /// new tokens, or with the ones that it has.
    fn continue_session(
        &self,
        db: &mut Db,
        request: &PasswordChange,
        account: AccountId,
        policies: &MountPolicies,
        now: Timestamp,
    ) -> Result<Continued, store::StoreError> {
        let session = request.caller.session;
        let former = accounts::lock_epoch(db, account)?.ok_or(store::StoreError::Abandoned)?;
        let raised = accounts::raise_epoch(db, account, former, now)?;
        let (uuid, epoch) = raised.ok_or(store::StoreError::Abandoned)?;
        let until = self.last_access_expiry(db, account, now)?;
        if !rotation::continue_in_epoch(db, session, (former, epoch), now)? {
            return Err(store::StoreError::Abandoned);
        }
        if request.keeps_tokens {
            // An access token with the claim that the password must be changed would keep its bearer restricted, so it is not
            // excepted; the refresh token gets another.
            let except = (!request.caller.must_change_password).then_some(session);
            let revoked = revoke_account(db, (uuid, epoch), except, now, until)?;
            return Ok(Continued { rotated: None, revoked });
        }
        // A refresh from another tab may rotate the row between the two statements; the next attempt sees its generation.
        for _ in 0..MAX_ATTEMPTS {
            let Some((row, state)) = sessions::find(db, session)? else { break };
            let policy = policies.of_dialect(&row.dialect);
            let to = self.rotation(policy, now);
            if let Some(rotated) = rotation::rotate_without_parent(db, row.id, row.generation, &to)? {
                self.record_opaque_token(db, &rotated, policy)?;
                let revoked = revoke_account(db, (uuid, epoch), None, now, until)?;
                return Ok(Continued { rotated: Some((rotated, state)), revoked });
            }
        }
        Err(store::StoreError::Abandoned)
    }
}

/// The caller's session after the change.
struct Continued {
    /// The row with a new generation, unless the session keeps its tokens.
    rotated: Option<(SessionRow, AccountState)>,
    /// The revocation of everything else.
    revoked: RevocationRow,
}
