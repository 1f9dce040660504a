//! How often a secret may be tried: failures in a row, by account and by client address. A few are free, then each costs
//! a longer wait, and while it lasts no secret is looked at; far more than anybody mistypes, and only a device that the
//! account has signed in from may go on. Such a device is counted by itself, so that a stranger who hammers an account
//! does not keep its owner out. The rows are shared by nodes and survive a restart.
//!
//! An identifier that names nobody is counted as an account is, so that the throttle tells nothing.

use std::net::IpAddr;
use std::time::Duration;

use super::Core;
use super::caller::Client;
use super::known_device::KnownDevice;
use super::refusal::{Error, Refusal};
use crate::clock::Timestamp;
use crate::secret::{MacKey, base64url};
use crate::store::accounts::SecretColumn;
use crate::store::throttles::{self, KEPT, ThrottleRow};
use crate::store::{self, AccountId, Db, SessionId};

/// Failures in a row after which a stranger's password is not looked at any more, until a success or an operator lifts
/// it: under the 100 of NIST SP 800-63B-4 section 3.2.2, also when several nodes let the last ones in at once.
const PASSWORD_FAILURES_MAX: i64 = 90;

/// The same for a PIN, which is sooner guessed.
const PIN_FAILURES_MAX: i64 = 50;

/// How often first failures may meet: each time one of them makes the row of one key, and a try has three.
const MEETINGS: usize = 3;

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

    /// What is left of a block, by the rows of a try.
    fn block_left(&self, tried: &Tried, rows: &[ThrottleRow], now: Timestamp) -> Option<Duration> {
        self.free?;
        let spent = |row: &ThrottleRow| tried.limits.iter().any(|(key, most)| row.key == *key && row.failures >= *most);
        if rows.iter().any(spent) {
            return Some(self.longest_wait);
        }
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
    /// What it aims at, or the known device that it comes from.
    target: String,
    /// A stranger's address.
    address: Option<String>,
    /// Keys whose failures end in a block that no wait lifts.
    limits: Vec<(String, i64)>,
    /// What a success forgets.
    forgotten: Vec<String>,
}

/// Who a try aims at, and from where as far as that matters.
pub enum Target<'a> {
    /// An account that exists, by a stranger.
    Account(AccountId),
    /// An account that exists, by a device that it has signed in from.
    FromDevice(AccountId, &'a KnownDevice),
    /// An account that exists, by a session of its own.
    FromSession(AccountId, SessionId),
    /// An identifier in canonical form that names nobody.
    Nobody(&'a str),
}

impl Tried {
    /// Under the target and, for a stranger, the client's address, or the network that one client owns: /32, and /64 of
    /// IPv6.
    pub fn new(key: &MacKey, target: &Target<'_>, secret: SecretColumn, client: &Client) -> Self {
        let digest = |text: &str| base64url(&key.sign(format!("throttle {text}").as_bytes()));
        let of_account = |text: String| format!("{KEPT}{}", digest(&text));
        let stranger = |id: &AccountId| of_account(format!("account {id}"));
        let pins = |id: &AccountId| of_account(format!("pins of {id}"));
        let (target, account, known) = match target {
            Target::Account(id) => (stranger(id), Some(id), false),
            Target::FromDevice(id, device) => (of_account(format!("device {} {id}", device.as_str())), Some(id), true),
            Target::FromSession(id, session) => (of_account(format!("session {session} {id}")), Some(id), true),
            Target::Nobody(canonical) => (digest(&format!("nobody {canonical}")), None, false),
        };
        let mut limits = vec![(target.clone(), PASSWORD_FAILURES_MAX)];
        let mut forgotten = vec![target.clone()];
        if let Some(id) = account {
            forgotten.push(stranger(id));
            match secret {
                // The owner's password says that the PIN is safe with him.
                SecretColumn::Password => forgotten.push(pins(id)),
                SecretColumn::Pin if !known => {
                    limits.push((pins(id), PIN_FAILURES_MAX));
                    forgotten.push(pins(id));
                }
                SecretColumn::Pin => {}
            }
            forgotten.sort();
            forgotten.dedup();
        }
        let address = client.address.filter(|_| !known).map(|address| digest(&format!("address {}", network(address))));
        Self { target, address, limits, forgotten }
    }

    /// Every key that a failure counts under.
    fn keys(&self) -> Vec<String> {
        let limits = self.limits.iter().map(|(key, _)| key);
        let mut keys: Vec<String> = limits.chain(self.address.as_ref()).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() & (u128::MAX << 64)).into()),
    }
}

impl Core {
    /// Refuses while a block lasts.
    pub(super) fn refuse_blocked(&self, db: &mut Db, tried: &Tried) -> Result<Option<Refusal>, store::Error> {
        let rows = throttles::find(db, &tried.keys())?;
        Ok(self.rules.throttle.block_left(tried, &rows, self.now()).map(Refusal::Throttled))
    }

    /// Counts a failure; the wait that it costs, if it was not free.
    pub(super) fn count_failure(&self, db: &mut Db, tried: &Tried) -> Result<Option<Duration>, store::Error> {
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
    pub(super) fn forget_failures(&self, db: &mut Db, tried: &Tried) -> Result<(), store::Error> {
        if self.rules.throttle.free.is_none() {
            return Ok(());
        }
        let mut forgiven = 0;
        for key in &tried.forgotten {
            let failures = throttles::reset(db, key)?;
            forgiven += if *key == tried.target { failures } else { 0 };
        }
        match &tried.address {
            Some(address) if forgiven > 0 => throttles::forgive(db, address, forgiven),
            _ => Ok(()),
        }
    }

    /// Forgets what strangers failed at, at password and PIN: an operator's act.
    pub(super) fn lift_blocks(&self, db: &mut Db, account: AccountId) -> Result<(), store::Error> {
        let key = self.hasher.digest_key();
        let tried = Tried::new(key, &Target::Account(account), SecretColumn::Password, &Client::operator());
        tried.forgotten.iter().try_for_each(|key| throttles::reset(db, key).map(|_| ()))
    }

    /// Runs `record`, and again when two first failures met on a key.
    pub(super) fn record_failure<T>(&self, record: impl Fn(&mut Db) -> Result<T, store::Error>) -> Result<T, Error> {
        for _ in 0..MEETINGS {
            match self.store.write(&record) {
                Err(store::Error::Taken) => {}
                other => return Ok(other?),
            }
        }
        Ok(self.store.write(&record)?)
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

    fn tried(target: &Target<'_>, secret: SecretColumn, address: &str) -> Tried {
        let client = Client { address: Some(address.parse().unwrap()), ..Client::default() };
        Tried::new(&MacKey::new(b"k"), target, secret, &client)
    }

    fn row(key: &str, failures: i64, blocked_until: Option<Timestamp>) -> ThrottleRow {
        ThrottleRow { key: key.to_owned(), failures, blocked_until, updated_at: Timestamp::from_seconds(0) }
    }

    #[test]
    fn a_block_ends_and_never_lasts_longer_than_the_longest_wait() {
        let until = |seconds| Some(Timestamp::from_seconds(seconds));
        let rows = [row("k", 6, until(100)), row("l", 6, None)];
        let tried = tried(&Target::Nobody("x"), SecretColumn::Password, "192.0.2.1");
        let left = |now| RULES.block_left(&tried, &rows, Timestamp::from_seconds(now));
        assert_eq!(left(40), Some(Duration::from_secs(60)));
        assert_eq!(left(100), None);
        assert_eq!(left(-60), Some(Duration::from_secs(160)), "clocks of nodes differ");
        assert_eq!((left(-61), left(-100_000)), (None, None), "a clock was set back");
        let far = RULES.block_left(&tried, &[row("k", 6, until(100_000))], Timestamp::from_seconds(0));
        assert_eq!(far, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn far_too_many_failures_block_strangers_and_no_known_device() {
        let account = AccountId(7);
        let device = KnownDevice::for_test("d");
        let (now, address) = (Timestamp::from_seconds(0), "192.0.2.1");
        let password = tried(&Target::Account(account), SecretColumn::Password, address);
        let pin = tried(&Target::Account(account), SecretColumn::Pin, address);
        let known = tried(&Target::FromDevice(account, &device), SecretColumn::Pin, address);
        let hammered = [row(&password.target, PASSWORD_FAILURES_MAX, None)];
        assert_eq!(RULES.block_left(&password, &hammered, now), Some(RULES.longest_wait));
        let guessed: Vec<ThrottleRow> =
            pin.keys().iter().map(|key| row(key, PIN_FAILURES_MAX, None)).filter(|row| row.key != pin.target).collect();
        assert_eq!(RULES.block_left(&pin, &guessed, now), Some(RULES.longest_wait));
        assert_eq!(RULES.block_left(&known, &[hammered.as_slice(), &guessed].concat(), now), None);
        assert!(password.forgotten.iter().any(|key| guessed.iter().any(|row| row.key == *key)), "a password lifts it");
        assert!(known.address.is_none());
    }

    #[test]
    fn one_client_owns_a_whole_ipv6_network() {
        let of = |address: &str| tried(&Target::Nobody("x"), SecretColumn::Password, address).address;
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
