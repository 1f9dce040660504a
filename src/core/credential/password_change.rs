//! A person's change of password, in three steps as a sign-in: look up, hash, write. Every other session ends in the same
//! transaction; the one that asked goes on with new tokens, and its old ones are dead without grace (ASVS 7.4.3).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{Event, Kind};
use crate::core::caller::{Caller, Client};
use crate::core::credential::password::{NewSecret, SecretCheck};
use crate::core::defence::throttle_policy::{Target, ThrottleKeys};
use crate::core::error::{Error, Field, FieldError, Refusal};
use crate::core::session::end::revoke_ended;
use crate::core::session::end_reason::EndReason;
use crate::core::session::refresh::ROUNDS;
use crate::core::session::{Issued, TokenPolicy};
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, SecretColumn};
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, SessionRow, Which};
use crate::store::{self, Db};

/// The caller wants another password.
#[derive(Debug, Clone)]
pub struct PasswordChange {
    /// The session that stays.
    pub caller: Caller,
    /// What the password is now.
    pub current: Secret,
    /// What it shall be.
    pub new: Secret,
    /// Whether the session keeps the tokens it has: for a wire whose answer has no room for new ones. An access token that
    /// says the password must be changed is dead all the same, and the refresh token makes another.
    pub keeps_tokens: bool,
}

/// Step one done: the new password fits the policy.
#[derive(Debug)]
pub struct PreparedChange {
    wish: PasswordChange,
    account: AccountRow,
    new: NewSecret,
    tried: ThrottleKeys,
}

/// Step two done: the current one is right, the new one hashed.
#[derive(Debug)]
pub struct CheckedChange {
    wish: PasswordChange,
    account: AccountRow,
    /// The new stored form.
    stored: String,
    unchanged: bool,
    tried: ThrottleKeys,
}

impl Core {
    /// Step one: the throttle, which counts a wrong current password as it does a failed sign-in, and the policy.
    pub fn prepare_password_change(&self, wish: PasswordChange, client: &Client) -> Result<PreparedChange, Error> {
        // Counted by session: who hammers the account's sign-in does not keep its owner from changing the password.
        let target = Target::FromSession(wish.caller.account, wish.caller.session);
        let tried = ThrottleKeys::new(self.hasher.digest_key(), &target, SecretColumn::Password, client);
        let (found, blocked) =
            self.store.read(|db| Ok((accounts::find(db, wish.caller.account)?, self.check_throttle(db, &tried)?)))?;
        let account = found.ok_or(Refusal::SessionEnded)?;
        blocked.map_or(Ok(()), Err)?;
        let names = [&account.email, &account.username, &account.name].map(|name| name.as_deref().unwrap_or_default());
        let judged = self.judge_password(&wish.new, &names);
        let new = judged.map_err(|rule| Refusal::InvalidFields(vec![FieldError::new(Field::NewPassword, rule)]))?;
        Ok(PreparedChange { wish, account, new, tried })
    }

    /// Step two: takes two bcrypts; run it on a hashing thread. A wrong current password is counted before it is told.
    pub fn check_password_change(&self, prepared: PreparedChange, client: &Client) -> Result<CheckedChange, Error> {
        let PreparedChange { wish, account, new, tried } = prepared;
        if self.hasher.check(&wish.current, account.password.as_deref()) == SecretCheck::Wrong {
            let caller = &wish.caller;
            let refused = Event::new(Kind::SecretChangeRefused, client).account(caller.account).session(caller.session);
            let wait = self.record_failure(|db| {
                refused.write(db, self.now())?;
                self.count_failure(db, &tried)
            })?;
            self.tell(&refused);
            return Err(wait.map_or(Refusal::CurrentPasswordWrong, Refusal::Throttled).into());
        }
        let (unchanged, stored) = (new.is(&wish.current), self.hasher.hash(&new)?);
        Ok(CheckedChange { wish, account, stored, unchanged, tried })
    }

    /// Step three: the change, and the new tokens of the session that goes on, unless it keeps those it has.
    pub fn change_password(
        &self,
        checked: &CheckedChange,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Option<Issued>, Error> {
        let (caller, now) = (&checked.wish.caller, self.now());
        if checked.unchanged {
            return Err(Refusal::PasswordUnchanged.into());
        }
        let changed = Event::new(Kind::SecretChange, client).account(caller.account).session(caller.session);
        let written = self.store.write(|db| {
            let old = checked.account.password.as_deref();
            if !accounts::replace_password(db, caller.account, old, &checked.stored, now)? {
                return Err(store::Error::Abandoned);
            }
            changed.write(db, now)?;
            self.reset_failures(db, &checked.tried)?;
            let mut revoked = end_other_sessions(db, caller, now)?;
            // A token that says the password must be changed is of no use any more, wherever it is kept.
            if checked.wish.keeps_tokens && !caller.must_change_password {
                let alive = sessions::touch_live(db, caller.session, now)?;
                return if alive { Ok((None, revoked)) } else { Err(store::Error::Abandoned) };
            }
            let (row, state, barred) = self.go_on(db, &checked.wish, policy, now)?;
            revoked.push(barred);
            Ok((Some((row, state)).filter(|_| !checked.wish.keeps_tokens), revoked))
        });
        let (gone_on, revoked) = match written {
            Err(store::Error::Abandoned) => return Err(self.why_abandoned(caller)?.into()),
            other => other?,
        };
        revoked.iter().for_each(|row| self.view.apply(row));
        self.tell(&changed);
        gone_on.map(|(row, state)| self.issue_of_rotation(&row, &state, policy)).transpose()
    }

    /// Somebody ended the session, or changed the password, while the old one was checked.
    fn why_abandoned(&self, caller: &Caller) -> Result<Refusal, Error> {
        let found = self.store.read(|db| sessions::find(db, caller.session))?;
        let lives = found.is_some_and(|(row, _)| row.ended_at.is_none());
        Ok(if lives { Refusal::Busy(Duration::from_secs(1)) } else { Refusal::SessionEnded })
    }

    /// Moves the caller's session on and bars what it had before. A refresh token that is kept is the one before the current
    /// then, whose successor has not arrived: it opens that.
    fn go_on(
        &self,
        db: &mut Db,
        wish: &PasswordChange,
        policy: &TokenPolicy,
        now: Timestamp,
    ) -> Result<(SessionRow, AccountState, RevocationRow), store::Error> {
        // A refresh from another tab may move the row between the two statements; then the next look decides.
        for _ in 0..ROUNDS {
            let Some((row, state)) = sessions::find(db, wish.caller.session)? else { break };
            let to = self.rotation(policy, now);
            if let Some(rotated) = sessions::rotate(db, row.id, row.generation, &to)? {
                self.note_opaque(db, &rotated, policy)?;
                let kept = i64::from(wish.keeps_tokens);
                sessions::bar_older_generations(db, row.id, rotated.generation - kept)?;
                let barred = Some(rotated.generation);
                let barred =
                    crate::core::revocation::write::revoke_session(db, row.id, barred, now, rotated.access_expires_at)?;
                return Ok((rotated, state, barred));
            }
        }
        Err(store::Error::Abandoned)
    }
}

fn end_other_sessions(db: &mut Db, caller: &Caller, now: Timestamp) -> Result<Vec<RevocationRow>, store::Error> {
    let why = EndReason::SecretChange.as_str();
    let others = sessions::end_many(db, caller.account, Which::AllBut(caller.session), now, why)?;
    revoke_ended(db, &others, now)
}
