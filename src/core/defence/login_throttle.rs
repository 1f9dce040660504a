//! How often a secret may be tried: failures in a row, by account and by client address. A few are free, then each costs
//! a longer wait, and while it lasts no secret is looked at; far more than anybody mistypes, and only a device that the
//! account has signed in from may go on. Such a device is counted by itself, so that a stranger who hammers an account
//! does not keep its owner out. The rows are shared by nodes and survive a restart.
//!
//! An identifier that names nobody is counted as an account is, so that the throttle tells nothing.

use std::time::Duration;

use super::throttle_policy::{Target, ThrottleKeys};
use crate::core::Core;
use crate::core::caller::Client;
use crate::core::error::{Error, Refusal};
use crate::store::tables::accounts::SecretColumn;
use crate::store::tables::throttles;
use crate::store::{self, AccountId, Db};

/// How often first failures may meet: each time one of them makes the row of one key, and a try has three.
const INSERT_RETRIES: usize = 3;

impl Core {
    /// Refuses while a block lasts.
    pub(in crate::core) fn check_throttle(
        &self,
        db: &mut Db,
        tried: &ThrottleKeys,
    ) -> Result<Option<Refusal>, store::Error> {
        let rows = throttles::find(db, &tried.keys())?;
        Ok(self.rules.throttle.block_left(tried, &rows, self.now()).map(Refusal::Throttled))
    }

    /// Counts a failure; the wait that it costs, if it was not free.
    pub(in crate::core) fn count_failure(
        &self,
        db: &mut Db,
        tried: &ThrottleKeys,
    ) -> Result<Option<Duration>, store::Error> {
        let (now, rules) = (self.now(), &self.rules.throttle);
        if rules.free.is_none() {
            return Ok(None);
        }
        let mut longest = None;
        for key in tried.keys() {
            let failures = throttles::count_failure(db, &key, now)?;
            // Under the key of a limit of its own no wait begins: the other keys see to that.
            let waits = key == tried.target || Some(&key) == tried.address.as_ref();
            let Some(wait) = rules.wait_after(failures).filter(|_| waits) else { continue };
            throttles::block(db, &key, now.plus(wait))?;
            longest = longest.max(Some(wait));
        }
        Ok(longest)
    }

    /// Forgets the account's failures: the secret was right. The address is forgiven these and no more, so that nobody pays
    /// for guesses at others with a sign-in of his own.
    pub(in crate::core) fn reset_failures(&self, db: &mut Db, tried: &ThrottleKeys) -> Result<(), store::Error> {
        if self.rules.throttle.free.is_none() {
            return Ok(());
        }
        let mut forgiven = 0;
        for key in &tried.forgotten {
            let failures = throttles::reset(db, key)?;
            forgiven += if *key == tried.target { failures } else { 0 };
        }
        match &tried.address {
            Some(address) if forgiven > 0 => throttles::subtract_failures(db, address, forgiven),
            _ => Ok(()),
        }
    }

    /// Forgets what strangers failed at, at password and PIN: an operator's act.
    pub(in crate::core) fn unlock_account(&self, db: &mut Db, account: AccountId) -> Result<(), store::Error> {
        let key = self.hasher.digest_key();
        let tried = ThrottleKeys::new(key, &Target::Account(account), SecretColumn::Password, &Client::operator());
        tried.forgotten.iter().try_for_each(|key| throttles::reset(db, key).map(|_| ()))
    }

    /// Runs `record`, and again when two first failures met on a key.
    pub(in crate::core) fn record_failure<T>(
        &self,
        record: impl Fn(&mut Db) -> Result<T, store::Error>,
    ) -> Result<T, Error> {
        for _ in 0..INSERT_RETRIES {
            match self.store.write(&record) {
                Err(store::Error::Taken) => {}
                other => return Ok(other?),
            }
        }
        Ok(self.store.write(&record)?)
    }
}
