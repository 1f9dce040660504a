//! Login throttle policy: which keys a sign-in attempt is counted under, what wait a failure costs, and what is left of a
//! block, as pure functions of settings and rows. Reading and writing the rows is login_throttle.rs's.

use std::net::IpAddr;
use std::time::Duration;

use super::trusted_device::TrustedDevice;
use crate::clock::Timestamp;
use crate::core::caller::Client;
use crate::secret::{MacKey, base64url};
use crate::store::tables::accounts::SecretColumn;
use crate::store::tables::throttles::{ACCOUNT_KEY_PREFIX, ThrottleRow};
use crate::store::{AccountId, SessionId};

/// Failures in a row after which a stranger's password is not looked at any more, until a success or an operator lifts
/// it: under the 100 of NIST SP 800-63B-4 section 3.2.2, also when several nodes let the last ones in at once.
const PASSWORD_FAILURES_MAX: i64 = 90;

/// The same for a PIN, which is sooner guessed.
const PIN_FAILURES_MAX: i64 = 50;

/// More than the clocks of nodes differ by; what is further ahead was written by a clock that was wrong.
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(1);

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
    pub(super) fn block_left(&self, tried: &ThrottleKeys, rows: &[ThrottleRow], now: Timestamp) -> Option<Duration> {
        self.free?;
        let spent = |row: &ThrottleRow| tried.limits.iter().any(|(key, most)| row.key == *key && row.failures >= *most);
        if rows.iter().any(spent) {
            return Some(self.longest_wait);
        }
        // A block from ahead was made under a clock that has been set back since. Until that time comes once more it would
        // lock a person out for longer than any wait is; the failures stay counted, so it frees one try, not many.
        let begun = rows.iter().filter(|row| row.updated_at <= now.plus(MAX_CLOCK_SKEW));
        let until = begun.filter_map(|row| row.blocked_until).max()?;
        (until > now).then(|| until.since(now).min(self.longest_wait))
    }
}

/// The keys under which a try is counted.
#[derive(Debug, Clone)]
pub struct ThrottleKeys {
    /// What it aims at, or the known device that it comes from.
    pub(super) target: String,
    /// A stranger's address.
    pub(super) address: Option<String>,
    /// Keys whose failures end in a block that no wait lifts.
    limits: Vec<(String, i64)>,
    /// What a success forgets.
    pub(super) forgotten: Vec<String>,
}

/// Who a try aims at, and from where as far as that matters.
pub enum Target<'a> {
    /// An account that exists, by a stranger.
    Account(AccountId),
    /// An account that exists, by a device that it has signed in from.
    FromDevice(AccountId, &'a TrustedDevice),
    /// An account that exists, by a session of its own.
    FromSession(AccountId, SessionId),
    /// An identifier in canonical form that names nobody.
    Nobody(&'a str),
}

impl ThrottleKeys {
    /// Under the target and, for a stranger, the client's address, or the network that one client owns: /32, and /64 of
    /// IPv6.
    pub fn new(key: &MacKey, target: &Target<'_>, secret: SecretColumn, client: &Client) -> Self {
        let digest = |text: &str| base64url(&key.sign(format!("throttle {text}").as_bytes()));
        let of_account = |text: String| format!("{ACCOUNT_KEY_PREFIX}{}", digest(&text));
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
    pub(super) fn keys(&self) -> Vec<String> {
        let limits = self.limits.iter().map(|(key, _)| key);
        let mut keys: Vec<String> = limits.chain(self.address.as_ref()).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

pub(in crate::core) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() & (u128::MAX << 64)).into()),
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

    fn tried(target: &Target<'_>, secret: SecretColumn, address: &str) -> ThrottleKeys {
        let client = Client { address: Some(address.parse().unwrap()), ..Client::default() };
        ThrottleKeys::new(&MacKey::new(b"k"), target, secret, &client)
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
        let device = TrustedDevice::for_test("d");
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
