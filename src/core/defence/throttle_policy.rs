//! Login throttle policy: the keys under which an attempt is counted, the wait after a failure, the rate of an address's
//! token bucket, and the remaining time of a block, as pure functions of settings and rows. Reading and writing the rows is
//! login_throttle.rs's.

use std::time::Duration;

use super::trusted_device::TrustedDevice;
use super::work_share::{WorkKey, WorkShare};
use crate::clock::Timestamp;
use crate::core::session::caller::{Client, network};
use crate::secret::{MacKey, base64url};
use crate::settings::Rate;
use crate::store::tables::accounts::SecretColumn;
use crate::store::tables::throttles::{RUN_KEY_PREFIX, ThrottleRow};
use crate::store::{AccountUuid, SessionId};

/// Consecutive failures after which no password from an untrusted device is verified, until a success or an operator resets
/// the counter. Below the 100 of NIST SP 800-63B-4 section 3.2.2 by enough for attempts that several nodes verify in parallel.
const PASSWORD_FAILURES_MAX: i64 = 90;

/// The same for a PIN, which takes fewer guesses.
const PIN_FAILURES_MAX: i64 = 50;

/// A run of this many failures is kept until it is reset, since it may be at its limit. A stranger needs days for each such
/// row, so they stay few.
pub(super) const KEPT_FAILURES: i64 = PIN_FAILURES_MAX;

/// How long a shorter run is kept after its last failure, whether or not an account has the identifier. An attacker who
/// waits for its end gets less than one guess a day.
pub(super) const RUN_RETENTION: Duration = Duration::from_hours(90 * 24);

/// How far a row may be ahead of this node's clock: clock skew between nodes. One further ahead was written by a wrong clock.
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(1);

/// The settings of the throttle.
#[derive(Debug, Clone, Copy)]
pub struct ThrottleRules {
    /// Consecutive failures without a wait; `None` disables waits and limits.
    pub free: Option<u32>,
    /// The wait after the first failure beyond these; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait.
    pub max_wait: Duration,
    /// The bucket of failures of an address; `None` is no limit.
    pub address: Option<TokenBucket>,
}

/// A token bucket: each failure takes a token, and time brings them back. No success does, or an attacker would fill the
/// bucket by signing in to an account of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    /// The time in which one token comes back.
    pub interval: Duration,
    /// The time in which an empty bucket is full again.
    pub period: Duration,
}

impl TokenBucket {
    /// The bucket of a rate. Times of rows are milliseconds.
    pub fn new(rate: Rate) -> Option<Self> {
        let Rate::Limit { burst, period } = rate else { return None };
        let period = period.max(Duration::from_millis(u64::from(burst)));
        Some(Self { interval: period / burst.max(1), period })
    }

    /// How long an attempt has to wait for a token, in a bucket that is full at `full_at`.
    fn wait(self, full_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let missing = full_at.since(now).min(self.period);
        missing.checked_sub(self.period.saturating_sub(self.interval)).filter(|wait| !wait.is_zero())
    }
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
        // A row from the future was written before the clock was set back. It would block the account until the clock reaches
        // that time again, longer than any wait. Ignoring it allows one attempt, not many: the failures stay counted.
        let plausible = |row: &&ThrottleRow| row.updated_at <= now.plus(MAX_CLOCK_SKEW);
        let of = |key: &String| rows.iter().find(|row| row.key == *key);
        let bucket = throttle_keys.bucket.as_ref().and_then(of).filter(plausible).zip(self.address);
        let by_address = bucket.and_then(|(row, bucket)| bucket.wait(row.expires_at?, now));
        if self.free.is_none() {
            return by_address;
        }
        let at_limit = |(key, limit): &(String, i64)| of(key).is_some_and(|row| row.failures >= *limit);
        let by_limit = throttle_keys.hard_limits.iter().any(at_limit).then_some(self.max_wait);
        let waiting = throttle_keys.waits.iter().filter_map(of).filter(plausible);
        let until = waiting.filter_map(|row| row.blocked_until).max().filter(|until| *until > now);
        let by_wait = until.map(|until| until.since(now).min(self.max_wait));
        by_limit.max(by_wait).max(by_address)
    }
}

/// The keys under which an attempt is counted. Each is a digest, so that the rows reveal neither accounts nor addresses.
#[derive(Debug, Clone)]
pub struct ThrottleKeys {
    /// The runs whose failures cost a wait: each identifier of the request, or the trusted device or session.
    pub(super) waits: Vec<String>,
    /// Runs with the number of failures that blocks until a reset, however long the wait.
    hard_limits: Vec<(String, i64)>,
    /// The bucket of the client's address; `None` for a trusted device or the account's own session.
    pub(super) bucket: Option<String>,
    /// The account whose identifiers' runs a success resets too.
    pub(super) account: Option<AccountUuid>,
    /// The other runs that a success resets.
    pub(super) reset_on_success: Vec<String>,
    /// What the attempt is counted under in the hashing queue: the account, or what a stranger takes for one.
    work: WorkKey,
}

/// The throttle subject of an attempt: strangers share the counters of an account, and each trusted source of attempts on it
/// has one of its own, so that an attacker's failures do not lock the owner out.
pub enum ThrottleSubject<'a> {
    /// An untrusted device, by the canonical identifiers that it presents and the account that they all belong to. Without
    /// an account the same rows are read and written, so that neither answers nor their time reveal which exist.
    Stranger(&'a [String], Option<AccountUuid>),
    /// An existing account, from a device that it has signed in from.
    TrustedDevice(AccountUuid, &'a TrustedDevice),
    /// An existing account, from one of its own sessions.
    OwnSession(AccountUuid, SessionId),
}

fn digest(key: &MacKey, text: &str) -> String {
    base64url(&key.sign(format!("throttle {text}").as_bytes()))
}

fn run(key: &MacKey, text: &str) -> String {
    format!("{RUN_KEY_PREFIX}{}", digest(key, text))
}

/// The key of an identifier in canonical form, whatever field it came in.
pub(super) fn identifier_key(key: &MacKey, canonical: &str) -> String {
    run(key, &format!("identifier {canonical}"))
}

impl ThrottleKeys {
    /// The keys of an attempt: those of the subject and, for a stranger, that of the client's address (of IPv6, the /64
    /// network that one client owns).
    pub fn new(key: &MacKey, subject: &ThrottleSubject<'_>, secret: SecretColumn, client: &Client) -> Self {
        let owner = match subject {
            ThrottleSubject::Stranger(identifiers, None) => format!("unknown {}", set_of(identifiers).join(" ")),
            ThrottleSubject::Stranger(_, Some(id))
            | ThrottleSubject::TrustedDevice(id, _)
            | ThrottleSubject::OwnSession(id, _) => format!("account {id}"),
        };
        let (strangers, pins) = (run(key, &owner), run(key, &format!("pins of {owner}")));
        let (waits, mut hard_limits, account) = match subject {
            ThrottleSubject::Stranger(identifiers, account) => {
                let waits = set_of(identifiers).into_iter().map(|identifier| identifier_key(key, identifier)).collect();
                (waits, vec![(strangers.clone(), PASSWORD_FAILURES_MAX)], *account)
            }
            ThrottleSubject::TrustedDevice(id, device) => {
                own(run(key, &format!("device {} {id}", device.as_str())), *id)
            }
            ThrottleSubject::OwnSession(id, session) => own(run(key, &format!("session {session} {id}")), *id),
        };
        let is_stranger = matches!(subject, ThrottleSubject::Stranger(..));
        let mut reset_on_success: Vec<String> = hard_limits.iter().map(|(key, _)| key.clone()).collect();
        reset_on_success.push(strangers.clone());
        match secret {
            // A success by password proves the owner, who may then use the PIN again.
            SecretColumn::Password => reset_on_success.push(pins),
            SecretColumn::Pin if is_stranger => {
                hard_limits.push((pins.clone(), PIN_FAILURES_MAX));
                reset_on_success.push(pins);
            }
            SecretColumn::Pin => {}
        }
        let bucket = client.address.filter(|_| is_stranger);
        let bucket = bucket.map(|address| digest(key, &format!("bucket {}", network(address))));
        let work = match subject {
            // By what was presented, not by the account: otherwise two parallel attempts would show that two identifiers are of
            // one account.
            ThrottleSubject::Stranger(identifiers, _) => {
                WorkKey::Strangers(digest(key, &set_of(identifiers).join(" ")))
            }
            ThrottleSubject::TrustedDevice(id, _) | ThrottleSubject::OwnSession(id, _) => WorkKey::Owner(*id),
        };
        Self { waits, hard_limits, bucket, account, reset_on_success, work }
    }

    /// Every key under which a failure is counted, in the order in which every transaction locks the rows.
    pub(super) fn keys(&self) -> Vec<String> {
        let hard_limits = self.hard_limits.iter().map(|(key, _)| key);
        let mut keys: Vec<String> = hard_limits.chain(&self.waits).chain(&self.bucket).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The attempt's share of the hashing queue.
    pub fn work_share(&self, client: &Client) -> WorkShare {
        WorkShare { account: Some(self.work.clone()), ..WorkShare::of_address(client) }
    }
}

/// The counters of a trusted source: one run, which costs waits and has the limit.
fn own(run: String, account: AccountUuid) -> (Vec<String>, Vec<(String, i64)>, Option<AccountUuid>) {
    (vec![run.clone()], vec![(run, PASSWORD_FAILURES_MAX)], Some(account))
}

/// Sorted, and each once: an identifier in two fields of a request is one.
fn set_of(identifiers: &[String]) -> Vec<&str> {
    let mut set: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    set.sort_unstable();
    set.dedup();
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ThrottleRules = ThrottleRules {
        free: Some(5),
        first_wait: Duration::from_secs(60),
        max_wait: Duration::from_secs(3600),
        address: Some(TokenBucket { interval: Duration::from_secs(36), period: Duration::from_secs(3600) }),
    };

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

    fn stranger(identifiers: &[&str], account: Option<u128>, address: &str) -> ThrottleKeys {
        let identifiers: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
        let subject =
            ThrottleSubject::Stranger(&identifiers, account.map(|number| AccountUuid(uuid::Uuid::from_u128(number))));
        keys_of(&subject, SecretColumn::Password, address)
    }

    fn row(key: &str, failures: i64, blocked_until: Option<Timestamp>) -> ThrottleRow {
        let updated_at = Timestamp::from_seconds(0);
        ThrottleRow { key: key.to_owned(), failures, blocked_until, updated_at, expires_at: None }
    }

    #[test]
    fn throttle_block_ends_and_never_exceeds_the_longest_wait() {
        let throttle_keys = stranger(&["x", "y"], None, "192.0.2.1");
        let until = |seconds| Some(Timestamp::from_seconds(seconds));
        let rows = [row(&throttle_keys.waits[0], 6, until(100)), row(&throttle_keys.waits[1], 6, None)];
        let left = |now| RULES.remaining_block(&throttle_keys, &rows, Timestamp::from_seconds(now));
        assert_eq!(left(40), Some(Duration::from_secs(60)));
        assert_eq!(left(100), None);
        assert_eq!(left(-60), Some(Duration::from_secs(160)), "clocks of nodes differ");
        assert_eq!((left(-61), left(-100_000)), (None, None), "a clock was set back");
        let far = [row(&throttle_keys.waits[0], 6, until(100_000))];
        let far = RULES.remaining_block(&throttle_keys, &far, Timestamp::from_seconds(0));
        assert_eq!(far, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn throttle_hard_limit_blocks_untrusted_devices_and_no_trusted_one() {
        let account = AccountUuid(uuid::Uuid::from_u128(7));
        let device = TrustedDevice::for_test("d");
        let (now, address, names) = (Timestamp::from_seconds(0), "192.0.2.1", ["x".to_owned()]);
        for owner in [Some(account), None] {
            let subject = ThrottleSubject::Stranger(&names, owner);
            let password = keys_of(&subject, SecretColumn::Password, address);
            let pin = keys_of(&subject, SecretColumn::Pin, address);
            let known = keys_of(&ThrottleSubject::TrustedDevice(account, &device), SecretColumn::Pin, address);
            let hammered = [row(&password.hard_limits[0].0, PASSWORD_FAILURES_MAX, None)];
            assert_eq!(RULES.remaining_block(&password, &hammered, now), Some(RULES.max_wait));
            let beyond = [row(&password.hard_limits[0].0, PASSWORD_FAILURES_MAX + 1, None)];
            assert_eq!(RULES.remaining_block(&password, &beyond, now), Some(RULES.max_wait));
            let off = ThrottleRules { free: None, ..RULES };
            assert_eq!(off.remaining_block(&password, &hammered, now), None, "a test suite has turned it off");
            let guessed = [row(&pin.hard_limits[1].0, PIN_FAILURES_MAX, None)];
            assert_eq!(RULES.remaining_block(&pin, &guessed, now), Some(RULES.max_wait));
            assert_eq!(RULES.remaining_block(&password, &guessed, now), None);
            assert_eq!(RULES.remaining_block(&known, &[hammered, guessed.clone()].concat(), now), None);
            assert!(password.reset_on_success.contains(&guessed[0].key), "a password lifts it");
            assert!(known.bucket.is_none());
        }
    }

    #[test]
    fn throttle_counts_an_identifier_alike_whoever_has_it_and_whatever_else_is_presented() {
        let [existing, unknown] = [Some(7), None].map(|account| stranger(&["x"], account, "192.0.2.1"));
        assert_eq!(existing.waits, unknown.waits);
        assert_eq!(existing.keys().len(), unknown.keys().len());
        assert_eq!(stranger(&["x", "x"], None, "192.0.2.1").keys(), unknown.keys());
        assert_eq!(stranger(&["y", "x"], None, "::1").waits.len(), 2);
        assert!(stranger(&["y", "x"], Some(7), "::1").waits.contains(&unknown.waits[0]));
        assert_eq!(existing.work, unknown.work);
        assert_ne!(existing.work, stranger(&["y"], Some(7), "192.0.2.1").work, "it tells whose identifiers they are");
    }

    #[test]
    fn throttle_counts_an_ipv6_network_as_one_client() {
        let of = |address: &str| stranger(&["x"], None, address).bucket;
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn throttle_bucket_blocks_while_it_is_empty_and_drains_with_time() {
        let throttle_keys = stranger(&["x"], None, "192.0.2.1");
        let wait = |full_at: i64, now: i64| {
            let full_at = Some(Timestamp::from_seconds(full_at));
            let rows = [ThrottleRow { expires_at: full_at, ..row(throttle_keys.bucket.as_ref().unwrap(), 1, None) }];
            let wait = RULES.remaining_block(&throttle_keys, &rows, Timestamp::from_seconds(now));
            wait.map(|wait| wait.as_secs())
        };
        assert_eq!([wait(3600, 0), wait(3600, 30)], [Some(36), Some(6)]);
        assert_eq!([wait(3600, 36), wait(3564, 0), wait(36, 0)], [None; 3], "a wait of no time is none");
        assert_eq!(wait(1_000_000, 0), Some(36), "no clock makes a bucket emptier than empty");
        let off = ThrottleRules { free: None, ..RULES };
        let full_at = Some(Timestamp::from_seconds(3600));
        let rows = [ThrottleRow { expires_at: full_at, ..row(throttle_keys.bucket.as_ref().unwrap(), 1, None) }];
        assert!(off.remaining_block(&throttle_keys, &rows, Timestamp::from_seconds(0)).is_some());
        assert!(
            ThrottleRules { address: None, ..off }
                .remaining_block(&throttle_keys, &rows, Timestamp::from_seconds(0))
                .is_none()
        );
    }

    #[test]
    fn throttle_bucket_of_any_rate_has_a_usable_interval() {
        for (burst, period, expected) in
            [(100, 3_600_000, 36_000), (1, 1000, 1000), (u32::MAX, 1000, 1), (0, 1000, 1000)]
        {
            let bucket = TokenBucket::new(Rate::Limit { burst, period: Duration::from_millis(period) }).unwrap();
            assert_eq!(bucket.interval, Duration::from_millis(expected), "{burst}");
        }
        assert_eq!(TokenBucket::new(Rate::Off), None);
    }
}
