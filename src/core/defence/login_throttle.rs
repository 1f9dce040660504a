//! Login throttle: counts consecutive failed sign-ins by account and by client address, in rows that all nodes share and that
//! survive a restart. A few failures are free, then each adds a longer wait in which no secret is verified; beyond a hard
//! limit only trusted devices may try. Those have a counter of their own, so that an attacker who floods an account with
//! guesses does not lock its owner out.
//!
//! An unknown identifier is counted like an account, so that the throttle does not reveal which exist. Keys, waits and limits
//! are decided by throttle_policy.rs.

use std::time::Duration;

use super::throttle_policy::{ThrottleKeys, ThrottleSubject};
use crate::core::Core;
use crate::core::error::{Error, Refusal};
use crate::core::session::caller::Client;
use crate::store::tables::accounts::SecretColumn;
use crate::store::tables::throttles;
use crate::store::{self, AccountId, Db};

/// Retries after a unique violation: two transactions that record the first failure of a key both insert its row. Each retry
/// finds one row more, and an attempt has at most three keys.
const INSERT_RETRIES: usize = 3;

impl Core {
    /// The refusal of an attempt while one of its keys is blocked.
    pub(in crate::core) fn check_throttle(
        &self,
        db: &mut Db,
        throttle_keys: &ThrottleKeys,
    ) -> Result<Option<Refusal>, store::StoreError> {
        let rows = throttles::find(db, &throttle_keys.keys())?;
        Ok(self.rules.throttle.remaining_block(throttle_keys, &rows, self.now()).map(Refusal::Throttled))
    }

    /// Counts a failure under all keys; returns the wait that it causes, if any.
    pub(in crate::core) fn count_failure(
        &self,
        db: &mut Db,
        throttle_keys: &ThrottleKeys,
    ) -> Result<Option<Duration>, store::StoreError> {
        let (now, rules) = (self.now(), &self.rules.throttle);
        if rules.free.is_none() {
            return Ok(None);
        }
        let mut longest = None;
        for key in throttle_keys.keys() {
            let failures = throttles::count_failure(db, &key, now)?;
            // A key that has a hard limit alone starts no wait: the subject's and the address's keys do.
            let waits = key == throttle_keys.subject || Some(&key) == throttle_keys.address.as_ref();
            let Some(wait) = rules.wait_after(failures).filter(|_| waits) else { continue };
            throttles::block(db, &key, now.plus(wait))?;
            longest = longest.max(Some(wait));
        }
        Ok(longest)
    }

    /// Resets the account's failures after a success. The address's counter is reduced by these alone: otherwise an attacker
    /// could reset it between guesses at other accounts, by signing in to an account of their own.
    pub(in crate::core) fn reset_failures(
        &self,
        db: &mut Db,
        throttle_keys: &ThrottleKeys,
    ) -> Result<(), store::StoreError> {
        if self.rules.throttle.free.is_none() {
            return Ok(());
        }
        let mut forgiven = 0;
        for key in &throttle_keys.reset_on_success {
            let failures = throttles::reset(db, key)?;
            forgiven += if *key == throttle_keys.subject { failures } else { 0 };
        }
        match &throttle_keys.address {
            Some(address) if forgiven > 0 => throttles::subtract_failures(db, address, forgiven),
            _ => Ok(()),
        }
    }

    /// Resets the failures of untrusted devices, at password and PIN, for an operator.
    pub(in crate::core) fn unlock_account(&self, db: &mut Db, account: AccountId) -> Result<(), store::StoreError> {
        let key = self.hasher.digest_key();
        let throttle_keys =
            ThrottleKeys::new(key, &ThrottleSubject::Account(account), SecretColumn::Password, &Client::operator());
        throttle_keys.reset_on_success.iter().try_for_each(|key| throttles::reset(db, key).map(|_| ()))
    }

    /// Runs `record`, and again if another transaction has inserted the row of the same key.
    pub(in crate::core) fn record_failure<T>(
        &self,
        record: impl Fn(&mut Db) -> Result<T, store::StoreError>,
    ) -> Result<T, Error> {
        for _ in 0..INSERT_RETRIES {
            match self.store.write(&record) {
                Err(store::StoreError::Taken) => {}
                other => return Ok(other?),
            }
        }
        Ok(self.store.write(&record)?)
    }
}
