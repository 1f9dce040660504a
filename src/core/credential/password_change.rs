//! Password change by the account's owner, in three steps like a sign-in: policy, hashing, write. All other sessions end in
//! the same transaction (ASVS 7.4.3); the caller's continues with new tokens, and its old ones are invalid without grace.
//! A password set by an operator is account.rs's; the threads are decided by web/blocking/operations.rs.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::credential::password::{NewSecret, SecretCheck};
use crate::core::defence::throttle_policy::{ThrottleKeys, ThrottleSubject};
use crate::core::error::{Error, FieldError, Refusal};
use crate::core::session::caller::{Caller, Client};
use crate::core::session::end::revoke_ended;
use crate::core::session::end_reason::EndReason;
use crate::core::session::refresh::MAX_ATTEMPTS;
use crate::core::session::{Issued, TokenPolicy};
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, SecretColumn};
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, EndScope, SessionRow};
use crate::store::{self, Db};

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
        // Counted by session, so that guesses at the account's sign-in do not keep its owner from changing the password.
        let subject = ThrottleSubject::OwnSession(request.caller.account, request.caller.session);
        let throttle_keys = ThrottleKeys::new(self.hasher.digest_key(), &subject, SecretColumn::Password, client);
        let (found, blocked) = self
            .store
            .read(|db| Ok((accounts::find(db, request.caller.account)?, self.check_throttle(db, &throttle_keys)?)))?;
        let account = found.ok_or(Refusal::SessionEnded)?;
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
        if self.hasher.check(&request.current, account.password.as_deref()) == SecretCheck::Mismatch {
            let caller = &request.caller;
            let refused =
                AuditEvent::new(EventKind::SecretChangeRefused, client).account(caller.account).session(caller.session);
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
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Option<Issued>, Error> {
        let (caller, now) = (&checked.request.caller, self.now());
        if checked.unchanged {
            return Err(Refusal::PasswordUnchanged.into());
        }
        let changed = AuditEvent::new(EventKind::SecretChange, client).account(caller.account).session(caller.session);
        let written = self.store.write(|db| {
            let old = checked.account.password.as_deref();
            if !accounts::replace_password(db, caller.account, old, &checked.stored, now)? {
                return Err(store::StoreError::Abandoned);
            }
            changed.write(db, now)?;
            self.reset_failures(db, &checked.throttle_keys)?;
            let mut revoked = end_other_sessions(db, caller, now)?;
            // An access token with the claim that the password must be changed would keep its bearer restricted.
            if checked.request.keeps_tokens && !caller.must_change_password {
                let alive = sessions::touch_live(db, caller.session, now)?;
                return if alive { Ok((None, revoked)) } else { Err(store::StoreError::Abandoned) };
            }
            let (row, state, revocation) = self.rotate_and_invalidate_older(db, &checked.request, policy, now)?;
            revoked.push(revocation);
            Ok((Some((row, state)).filter(|_| !checked.request.keeps_tokens), revoked))
        });
        let (rotated, revoked) = match written {
            Err(store::StoreError::Abandoned) => return Err(self.abandoned_reason(caller)?.into()),
            other => other?,
        };
        revoked.iter().for_each(|row| self.revocation_cache.apply(row));
        self.log_event(&changed);
        rotated.map(|(row, state)| self.issue_of_rotation(&row, &state, policy)).transpose()
    }

    /// The transaction was abandoned because, while the current password was verified, the session ended or the password
    /// changed.
    fn abandoned_reason(&self, caller: &Caller) -> Result<Refusal, Error> {
        let found = self.store.read(|db| sessions::find(db, caller.session))?;
        let is_live = found.is_some_and(|(row, _)| row.ended_at.is_none());
        Ok(if is_live { Refusal::Busy(Duration::from_secs(1)) } else { Refusal::SessionEnded })
    }

    /// Rotates the caller's session and invalidates its older tokens. A kept refresh token is then the predecessor of the
    /// current generation, whose delivery was not confirmed: presenting it replays that generation.
    fn rotate_and_invalidate_older(
        &self,
        db: &mut Db,
        request: &PasswordChange,
        policy: &TokenPolicy,
        now: Timestamp,
    ) -> Result<(SessionRow, AccountState, RevocationRow), store::StoreError> {
        // A refresh from another tab may rotate the row between the two statements; the next attempt sees its generation.
        for _ in 0..MAX_ATTEMPTS {
            let Some((row, state)) = sessions::find(db, request.caller.session)? else { break };
            let to = self.rotation(policy, now);
            if let Some(rotated) = sessions::rotate(db, row.id, row.generation, &to)? {
                self.record_opaque_token(db, &rotated, policy)?;
                let kept = i64::from(request.keeps_tokens);
                sessions::invalidate_older_generations(db, row.id, rotated.generation - kept)?;
                let (below, until) = (Some(rotated.generation), rotated.access_expires_at);
                let revocation = crate::core::revocation::write::revoke_session(db, row.id, below, now, until)?;
                return Ok((rotated, state, revocation));
            }
        }
        Err(store::StoreError::Abandoned)
    }
}

fn end_other_sessions(db: &mut Db, caller: &Caller, now: Timestamp) -> Result<Vec<RevocationRow>, store::StoreError> {
    let reason = EndReason::SecretChange;
    let others = sessions::end_many(db, caller.account, EndScope::AllExcept(caller.session), now, reason)?;
    revoke_ended(db, &others, now)
}
