//! Login throttle policy: the keys under which an attempt is counted, the wait after a failure, and the remaining time of a
//! block, as pure functions of settings and rows. Reading and writing the rows is login_throttle.rs's.

use std::net::IpAddr;
use std::time::Duration;

use super::trusted_device::TrustedDevice;
use crate::clock::Timestamp;
use crate::core::session::caller::Client;
use crate::secret::{MacKey, base64url};
use crate::store::tables::accounts::SecretColumn;
use crate::store::tables::throttles::{ACCOUNT_KEY_PREFIX, ThrottleRow};
use crate::store::{AccountId, SessionId};

/// Consecutive failures after which no password from an untrusted device is verified, until a success or an operator resets
/// the counter. Below the 100 of NIST SP 800-63B-4 section 3.2.2 by enough for attempts that several nodes verify in parallel.
const PASSWORD_FAILURES_MAX: i64 = 90;

/// The same for a PIN, which takes fewer guesses.
const PIN_FAILURES_MAX: i64 = 50;

/// How far a row may be ahead of this node's clock: clock skew between nodes. One further ahead was written by a wrong clock.
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(1);

/// The settings of the throttle.
#[derive(Debug, Clone, Copy)]
pub struct ThrottleRules {
    /// Consecutive failures without a wait; `None` disables the throttle.
    pub free: Option<u32>,
    /// The wait after the first failure beyond these; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait.
    pub max_wait: Duration,
}

impl ThrottleRules {
    /// The wait after a failure, given the number of consecutive ones including it.
    pub fn wait_after(&self, failures: i64) -> Option<Duration> {
        let costly = failures.checked_sub(i64::from(self.free?))?;
        let doublings = u32::try_from(costly.checked_sub(1)?.min(20)).ok()?;
        Some(self.first_wait.saturating_mul(1 << doublings).min(self.max_wait))
    }

    /// The remaining time of a block, by the rows of an attempt's keys.
    pub(super) fn remaining_block(
        &self,
        throttle_keys: &ThrottleKeys,
        rows: &[ThrottleRow],
        now: Timestamp,
    ) -> Option<Duration> {
        self.free?;
        let exceeds = |row: &ThrottleRow| {
            throttle_keys.hard_limits.iter().any(|(key, limit)| row.key == *key && row.failures >= *limit)
        };
        if rows.iter().any(exceeds) {
            return Some(self.max_wait);
        }
        // A row from the future was written before the clock was set back. It would block the account until the clock reaches
        // that time again, longer than any wait. Ignoring it allows one attempt, not many: the failures stay counted.
        let plausible = rows.iter().filter(|row| row.updated_at <= now.plus(MAX_CLOCK_SKEW));
        let until = plausible.filter_map(|row| row.blocked_until).max()?;
        (until > now).then(|| until.since(now).min(self.max_wait))
    }
}

/// The keys under which an attempt is counted. Each is a digest, so that the rows reveal neither accounts nor addresses.
#[derive(Debug, Clone)]
pub struct ThrottleKeys {
    /// The key of the throttle subject.
    pub(super) subject: String,
    /// The key of the client's address; `None` for a trusted device or the account's own session.
    pub(super) address: Option<String>,
    /// Keys with the number of failures that blocks until a reset, however long the wait.
    hard_limits: Vec<(String, i64)>,
    /// The keys that a success resets.
    pub(super) reset_on_success: Vec<String>,
}

/// The throttle subject of an attempt: the account, or a trusted source of attempts on it, which has a counter of its own so
/// that an attacker's failures do not lock the owner out.
pub enum ThrottleSubject<'a> {
    /// An existing account, from an untrusted device.
    Account(AccountId),
    /// An existing account, from a device that it has signed in from.
    TrustedDevice(AccountId, &'a TrustedDevice),
    /// An existing account, from one of its own sessions.
    OwnSession(AccountId, SessionId),
    /// A canonical identifier without an account: throttled like an account, so that the throttle does not reveal which exist.
    UnknownIdentifier(&'a str),
}

impl ThrottleKeys {
    /// The keys of an attempt: that of the subject and, for an untrusted source, that of the client's address (of IPv6, the /64
    /// network that one client owns).
    pub fn new(key: &MacKey, subject: &ThrottleSubject<'_>, secret: SecretColumn, client: &Client) -> Self {
        let digest = |text: &str| base64url(&key.sign(format!("throttle {text}").as_bytes()));
        let of_account = |text: String| format!("{ACCOUNT_KEY_PREFIX}{}", digest(&text));
        let untrusted = |id: &AccountId| of_account(format!("account {id}"));
        let pins = |id: &AccountId| of_account(format!("pins of {id}"));
        let (subject, account, is_trusted) = match subject {
            ThrottleSubject::Account(id) => (untrusted(id), Some(id), false),
            ThrottleSubject::TrustedDevice(id, device) => {
                (of_account(format!("device {} {id}", device.as_str())), Some(id), true)
            }
            ThrottleSubject::OwnSession(id, session) => (of_account(format!("session {session} {id}")), Some(id), true),
            ThrottleSubject::UnknownIdentifier(canonical) => (digest(&format!("nobody {canonical}")), None, false),
        };
        let mut hard_limits = vec![(subject.clone(), PASSWORD_FAILURES_MAX)];
        let mut reset_on_success = vec![subject.clone()];
        if let Some(id) = account {
            reset_on_success.push(untrusted(id));
            match secret {
                // A success by password proves the owner, who may then use the PIN again.
                SecretColumn::Password => reset_on_success.push(pins(id)),
                SecretColumn::Pin if !is_trusted => {
                    hard_limits.push((pins(id), PIN_FAILURES_MAX));
                    reset_on_success.push(pins(id));
                }
                SecretColumn::Pin => {}
            }
            reset_on_success.sort();
            reset_on_success.dedup();
        }
        let address =
            client.address.filter(|_| !is_trusted).map(|address| digest(&format!("address {}", network(address))));
        Self { subject, address, hard_limits, reset_on_success }
    }

    /// Every key under which a failure is counted.
    pub(super) fn keys(&self) -> Vec<String> {
        let hard_limits = self.hard_limits.iter().map(|(key, _)| key);
        let mut keys: Vec<String> = hard_limits.chain(self.address.as_ref()).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// The network that one client owns: an IPv4 address, or an IPv6 /64.
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
        ThrottleRules { free: Some(5), first_wait: Duration::from_secs(60), max_wait: Duration::from_secs(3600) };

    #[test]
    fn throttle_wait_doubles_to_an_hour_after_five_free_failures() {
        let waits: Vec<u64> = (1..=14).map(|n| RULES.wait_after(n).map_or(0, |wait| wait.as_secs())).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(RULES.wait_after(i64::MAX), Some(Duration::from_secs(3600)));
        assert_eq!(ThrottleRules { free: None, ..RULES }.wait_after(99), None);
    }

    fn keys_of(subject: &ThrottleSubject<'_>, secret: SecretColumn, address: &str) -> ThrottleKeys {
        let client = Client { address: Some(address.parse().unwrap()), ..Client::default() };
        ThrottleKeys::new(&MacKey::new(b"k"), subject, secret, &client)
    }

    fn row(key: &str, failures: i64, blocked_until: Option<Timestamp>) -> ThrottleRow {
        ThrottleRow { key: key.to_owned(), failures, blocked_until, updated_at: Timestamp::from_seconds(0) }
    }

    #[test]
    fn throttle_block_ends_and_never_exceeds_the_longest_wait() {
        let until = |seconds| Some(Timestamp::from_seconds(seconds));
        let rows = [row("k", 6, until(100)), row("l", 6, None)];
        let throttle_keys = keys_of(&ThrottleSubject::UnknownIdentifier("x"), SecretColumn::Password, "192.0.2.1");
        let left = |now| RULES.remaining_block(&throttle_keys, &rows, Timestamp::from_seconds(now));
        assert_eq!(left(40), Some(Duration::from_secs(60)));
        assert_eq!(left(100), None);
        assert_eq!(left(-60), Some(Duration::from_secs(160)), "clocks of nodes differ");
        assert_eq!((left(-61), left(-100_000)), (None, None), "a clock was set back");
        let far = RULES.remaining_block(&throttle_keys, &[row("k", 6, until(100_000))], Timestamp::from_seconds(0));
        assert_eq!(far, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn throttle_hard_limit_blocks_untrusted_devices_and_no_trusted_one() {
        let account = AccountId(7);
        let device = TrustedDevice::for_test("d");
        let (now, address) = (Timestamp::from_seconds(0), "192.0.2.1");
        let password = keys_of(&ThrottleSubject::Account(account), SecretColumn::Password, address);
        let pin = keys_of(&ThrottleSubject::Account(account), SecretColumn::Pin, address);
        let known = keys_of(&ThrottleSubject::TrustedDevice(account, &device), SecretColumn::Pin, address);
        let hammered = [row(&password.subject, PASSWORD_FAILURES_MAX, None)];
        assert_eq!(RULES.remaining_block(&password, &hammered, now), Some(RULES.max_wait));
        let guessed: Vec<ThrottleRow> = pin
            .keys()
            .iter()
            .map(|key| row(key, PIN_FAILURES_MAX, None))
            .filter(|row| row.key != pin.subject)
            .collect();
        assert_eq!(RULES.remaining_block(&pin, &guessed, now), Some(RULES.max_wait));
        assert_eq!(RULES.remaining_block(&known, &[hammered.as_slice(), &guessed].concat(), now), None);
        assert!(
            password.reset_on_success.iter().any(|key| guessed.iter().any(|row| row.key == *key)),
            "a password lifts it"
        );
        assert!(known.address.is_none());
    }

    #[test]
    fn throttle_counts_an_ipv6_network_as_one_client() {
        let of =
            |address: &str| keys_of(&ThrottleSubject::UnknownIdentifier("x"), SecretColumn::Password, address).address;
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
