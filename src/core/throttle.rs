//! How often a secret may be tried: failures in a row, by account and by client address. A few are free, then each costs
//! a longer wait, and while it lasts no secret is looked at. The rows are shared by nodes and survive a restart.
//!
//! An identifier that names nobody is counted as an account is, so that the throttle tells nothing.

use std::net::IpAddr;
use std::time::Duration;

use super::Core;
use super::caller::Client;
use super::refusal::{Error, Refusal};
use crate::clock::Timestamp;
use crate::secret::{MacKey, base64url};
use crate::store::throttles::{self, ThrottleRow};
use crate::store::{self, AccountId, Db};

/// More than the clocks of nodes differ by; what is further ahead was written by a clock that was wrong.
const CLOCKS_DIFFER: Duration = Duration::from_mins(1);

/// The settings of the throttle.
#[derive(Debug, Clone, Copy)]
pub struct ThrottleRules {
    /// Failures in a row that cost nothing; `None`: the throttle is lifted.
    pub free: Option<u32>,
    /// The wait after the first failure that is not free.
    pub first_wait: Duration,
    /// The wait that is not exceeded.
    pub longest_wait: Duration,
}

impl ThrottleRules {
    /// The wait that a failure costs, given how many there are now in a row.
    pub fn wait_after(&self, failures: i64) -> Option<Duration> {
        let costly = failures.checked_sub(i64::from(self.free?))?;
        let doublings = u32::try_from(costly.checked_sub(1)?.min(20)).ok()?;
        Some(self.first_wait.saturating_mul(1 << doublings).min(self.longest_wait))
    }

    /// What is left of a block.
    fn block_left(&self, rows: &[ThrottleRow], now: Timestamp) -> Option<Duration> {
        self.free?;
        // A block from ahead was made under a clock that has been set back since. Until that time comes once more it would
        // lock a person out for longer than any wait is; the failures stay counted, so it frees one try, not many.
        let begun = rows.iter().filter(|row| row.updated_at <= now.plus(CLOCKS_DIFFER));
        let until = begun.filter_map(|row| row.blocked_until).max()?;
        (until > now).then(|| until.since(now).min(self.longest_wait))
    }
}

/// The keys under which a try is counted.
#[derive(Debug, Clone)]
pub struct Tried {
    target: String,
    address: Option<String>,
}

/// Who a try aims at.
pub enum Target<'a> {
    /// An account that exists.
    Account(AccountId),
    /// An identifier in canonical form that names nobody.
    Nobody(&'a str),
}

impl Tried {
    /// Under the target and the client's address, or the network that one client owns: /32, and /64 of IPv6.
    pub fn new(key: &MacKey, target: &Target<'_>, client: &Client) -> Self {
        let target = match target {
            Target::Account(id) => format!("account {id}"),
            Target::Nobody(canonical) => format!("nobody {canonical}"),
        };
        let address = client.address.map(|address| format!("address {}", network(address)));
        let digest = |text: String| base64url(&key.sign(format!("throttle {text}").as_bytes()));
        Self { target: digest(target), address: address.map(digest) }
    }

    fn keys(&self) -> Vec<String> {
        [Some(&self.target), self.address.as_ref()].into_iter().flatten().cloned().collect()
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() & (u128::MAX << 64)).into()),
    }
}

impl Core {
    /// Refuses while a block lasts.
    pub(super) fn refuse_blocked(&self, db: &mut Db, tried: &Tried) -> Result<Option<Refusal>, store::Error> {
        let rows = throttles::find(db, &tried.keys())?;
        Ok(self.rules.throttle.block_left(&rows, self.now()).map(Refusal::Throttled))
    }

    /// Counts a failure; the wait that it costs, if it was not free.
    pub(super) fn count_failure(&self, db: &mut Db, tried: &Tried) -> Result<Option<Duration>, store::Error> {
        let (now, rules) = (self.now(), &self.rules.throttle);
        if rules.free.is_none() {
            return Ok(None);
        }
        let mut longest = None;
        for key in tried.keys() {
            let Some(wait) = rules.wait_after(throttles::count_failure(db, &key, now)?) else { continue };
            throttles::block(db, &key, now.plus(wait))?;
            longest = longest.max(Some(wait));
        }
        Ok(longest)
    }

    /// Forgets the account's failures: the secret was right. The address is forgiven these and no more, so that nobody pays
    /// for guesses at others with a sign-in of his own.
    pub(super) fn forget_failures(&self, db: &mut Db, tried: &Tried) -> Result<(), store::Error> {
        if self.rules.throttle.free.is_none() {
            return Ok(());
        }
        let forgiven = throttles::reset(db, &tried.target)?;
        match &tried.address {
            Some(address) if forgiven > 0 => throttles::forgive(db, address, forgiven),
            _ => Ok(()),
        }
    }

    /// Runs `record`, and again when two first failures met on one key.
    pub(super) fn record_failure<T>(&self, record: impl Fn(&mut Db) -> Result<T, store::Error>) -> Result<T, Error> {
        match self.store.write(&record) {
            Err(store::Error::Taken) => Ok(self.store.write(&record)?),
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ThrottleRules =
        ThrottleRules { free: Some(5), first_wait: Duration::from_secs(60), longest_wait: Duration::from_secs(3600) };

    #[test]
    fn five_are_free_then_the_wait_doubles_to_an_hour() {
        let waits: Vec<u64> = (1..=14).map(|n| RULES.wait_after(n).map_or(0, |wait| wait.as_secs())).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(RULES.wait_after(i64::MAX), Some(Duration::from_secs(3600)));
        assert_eq!(ThrottleRules { free: None, ..RULES }.wait_after(99), None);
    }

    #[test]
    fn a_block_ends_and_never_lasts_longer_than_the_longest_wait() {
        let until = |seconds| Some(Timestamp::from_seconds(seconds));
        let row = |blocked_until| ThrottleRow {
            key: "k".into(),
            failures: 6,
            blocked_until,
            updated_at: Timestamp::from_seconds(0),
        };
        let left = |now| RULES.block_left(&[row(until(100)), row(None)], Timestamp::from_seconds(now));
        assert_eq!(left(40), Some(Duration::from_secs(60)));
        assert_eq!(left(100), None);
        assert_eq!(left(-60), Some(Duration::from_secs(160)), "clocks of nodes differ");
        assert_eq!((left(-61), left(-100_000)), (None, None), "a clock was set back");
        let far = RULES.block_left(&[row(until(100_000))], Timestamp::from_seconds(0));
        assert_eq!(far, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn one_client_owns_a_whole_ipv6_network() {
        let key = MacKey::new(b"k");
        let tried = |address: &str| {
            let client = Client { address: Some(address.parse().unwrap()), ..Client::default() };
            Tried::new(&key, &Target::Nobody("x"), &client).address
        };
        assert_eq!(tried("2001:db8::1"), tried("2001:db8::ffff"));
        assert_ne!(tried("2001:db8::1"), tried("2001:db8:0:1::1"));
        assert_ne!(tried("192.0.2.1"), tried("192.0.2.2"));
    }
}
