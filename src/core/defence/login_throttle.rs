//! Login throttle: counts failed sign-ins in rows that all nodes share and that survive a restart. Consecutive failures are
//! counted by each identifier that an attempt presents: a few are free, then each adds a longer wait in which no secret is
//! verified. The account has a hard limit, beyond which only trusted devices may try; those have a counter of their own, so
//! that an attacker who floods an account with guesses does not lock its owner out. An address has a token bucket.
//!
//! The bucket is a row like the others, and not in a node's memory like the rates of rate_limit.rs: a failure is a
//! transaction anyway, and an attacker gets one bucket from any number of nodes and through their restarts.
//!
//! An unknown identifier is counted like an account, so that the throttle does not reveal which exist. Keys, waits and limits
//! are decided by throttle_policy.rs.

use std::time::Duration;

use super::throttle_policy::{KEPT_FAILURES, RUN_RETENTION, ThrottleKeys, ThrottleSubject, identifier_key};
use crate::core::Core;
use crate::core::error::{Error, Refusal};
use crate::core::session::caller::Client;
use crate::store::tables::accounts;
use crate::store::tables::accounts::SecretColumn;
use crate::store::tables::throttles;
use crate::store::{self, AccountUuid, Db};

/// Retries after a unique violation: two transactions that record the first failure of a key both insert its row. Each retry
/// finds one row more, and an attempt has at most seven keys: four identifiers, two limits and a bucket.
const INSERT_RETRIES: usize = 7;

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
        let mut longest = None;
        for key in throttle_keys.keys() {
            if Some(&key) == throttle_keys.bucket.as_ref() {
                if let Some(bucket) = rules.address {
                    throttles::take_token(db, &key, bucket.interval, bucket.period, now)?;
                }
                continue;
            }
            if rules.free.is_none() {
                continue;
            }
            let failures = throttles::count_failure(db, &key, now, now.plus(RUN_RETENTION))?;
            if failures >= KEPT_FAILURES {
                throttles::keep(db, &key)?;
            }
            // A run that has a hard limit alone starts no wait.
            let Some(wait) = rules.wait_after(failures).filter(|_| throttle_keys.waits.contains(&key)) else {
                continue;
            };
            throttles::block(db, &key, now.plus(wait))?;
            longest = longest.max(Some(wait));
        }
        Ok(longest)
    }

    /// Resets the account's failures after a success, by whichever of its identifiers they were counted. The bucket of the
    /// address stays as it is: otherwise an attacker could fill it between guesses at other accounts, by signing in to an
    /// account of their own.
    pub(in crate::core) fn reset_failures(
        &self,
        db: &mut Db,
        throttle_keys: &ThrottleKeys,
    ) -> Result<(), store::StoreError> {
        if self.rules.throttle.free.is_none() {
            return Ok(());
        }
        let account = throttle_keys.account.map_or(Ok(None), |id| accounts::find_by_uuid(db, id))?;
        let identifiers = account.map(|row| [row.email_canonical, row.username_canonical, row.name_canonical]);
        let identifiers = identifiers.into_iter().flatten().flatten();
        let keys = identifiers.map(|canonical| identifier_key(self.hasher.digest_key(), &canonical));
        let keys: Vec<String> = keys.chain(throttle_keys.reset_on_success.iter().cloned()).collect();
        throttles::reset(db, &keys)
    }

    /// Resets the failures of untrusted devices, at password and PIN, for an operator.
    pub(in crate::core) fn unlock_account(&self, db: &mut Db, account: AccountUuid) -> Result<(), store::StoreError> {
        let (key, subject) = (self.hasher.digest_key(), ThrottleSubject::Stranger(&[], Some(account)));
        self.reset_failures(db, &ThrottleKeys::new(key, &subject, SecretColumn::Password, &Client::operator()))
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
