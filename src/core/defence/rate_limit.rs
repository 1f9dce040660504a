//! Rate limiter (GCRA, a token bucket) of sign-ups and refreshes by client address and of writes by account, in this node's
//! memory: it bounds work and junk. Each kind has a limiter of its own. Guesses of secrets are counted by login_throttle.rs, in
//! rows that all nodes share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::Quota;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;

use crate::clock::{Clock, Timestamp};
use crate::core::session::caller::network;
use crate::settings::Rate;
use crate::store::{AccountUuid, SessionId};

/// From this many keys on, addresses are counted by wider networks: memory is bounded, and no limit is dropped.
const KEYS_MAX: usize = 100_000;

/// From this many keys on, all further addresses share one.
const WIDE_KEYS_MAX: usize = 2 * KEYS_MAX;

/// The longest time that governor is given: it counts nanoseconds in 64 bits, and panics beyond.
const TIME_MAX: Duration = Duration::from_hours(200 * 365 * 24);

/// What a forward step of the clock adds at most: a clock that is a century ahead for a moment must not use up `TIME_MAX`,
/// where time would stop and no quota would be refilled.
const STEP_MAX: Duration = Duration::from_hours(365 * 24);

/// An action that is limited. Each has a limiter of its own, so that junk of one kind never touches another's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedAction {
    /// Registrations and confirmations, failed ones too.
    SignUp,
    /// Presented refresh tokens, invalid ones too.
    Refresh,
}

/// Whose writes are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writer {
    /// The account, by whichever of its sessions.
    Account(AccountUuid),
    /// One session, for what protects the account: a thief of another one must not be able to use up its owner's rate.
    Session(SessionId),
}

/// The configured limits.
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    /// Of sign-ups.
    pub sign_ups: Rate,
    /// Of refreshes.
    pub refreshes: Rate,
    /// Of writes.
    pub writes: Rate,
}

/// governor's limiter over the service's clock.
pub(super) type ClockedLimiter<K, S> = governor::RateLimiter<K, S, MonotonicClock, NoOpMiddleware<Duration>>;

type AddressLimiter = ClockedLimiter<IpAddr, HashMapStateStore<IpAddr>>;

/// Its memory is bounded by the accounts and sessions that write.
type WriteLimiter = ClockedLimiter<Writer, HashMapStateStore<Writer>>;

/// The limiters of a node. `None` is an action without a limit.
#[derive(Debug)]
pub struct RateLimiter {
    sign_ups: Option<AddressLimiter>,
    refreshes: Option<AddressLimiter>,
    writes: Option<WriteLimiter>,
}

impl RateLimiter {
    /// A limiter that has counted nothing yet.
    pub fn new(limits: RateLimits, clock: &Clock) -> Self {
        let limiter = |rate| Some(AddressLimiter::hashmap_with_clock(quota(rate)?, MonotonicClock::new(clock)));
        let writes =
            quota(limits.writes).map(|quota| WriteLimiter::hashmap_with_clock(quota, MonotonicClock::new(clock)));
        Self { sign_ups: limiter(limits.sign_ups), refreshes: limiter(limits.refreshes), writes }
    }

    /// Counts an action; if it exceeds the limit it is not counted, and the result is the wait until the next is allowed.
    pub fn check(&self, action: LimitedAction, address: IpAddr) -> Option<Duration> {
        let limiter = match action {
            LimitedAction::SignUp => self.sign_ups.as_ref()?,
            LimitedAction::Refresh => self.refreshes.as_ref()?,
        };
        let exceeded = limiter.check_key(&key(address, limiter.len())).err()?;
        Some(whole_seconds(exceeded.wait_time_from(governor::clock::Clock::now(limiter.clock()))))
    }

    /// As `check`, for a write.
    pub fn check_write(&self, writer: Writer) -> Option<Duration> {
        let limiter = self.writes.as_ref()?;
        let exceeded = limiter.check_key(&writer).err()?;
        Some(whole_seconds(exceeded.wait_time_from(governor::clock::Clock::now(limiter.clock()))))
    }

    /// Removes the keys whose quota is full again: a new limiter would treat them alike. Until then (housekeeping calls this with
    /// each purge) they count towards `KEYS_MAX`.
    pub fn remove_idle(&self) {
        [&self.sign_ups, &self.refreshes].into_iter().flatten().for_each(AddressLimiter::retain_recent);
        self.writes.iter().for_each(WriteLimiter::retain_recent);
    }
}

/// Retry-After has whole seconds: a client that obeys it must not come a fraction too early.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(Duration::from_secs(1))
}

/// `30/1h` is a burst of 30, refilled evenly over the hour.
fn quota(rate: Rate) -> Option<Quota> {
    let Rate::Limit { burst, period } = rate else { return None };
    // Neither a burst nor an interval of 0 may become no limit: governor has no quota for them.
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let interval = (period.min(TIME_MAX) / burst.get()).max(Duration::from_nanos(1));
    Some(Quota::with_period(interval)?.allow_burst(burst))
}

/// What an address is counted under: itself, or the /64 that one IPv6 client owns. An attacker who owns enough of these to
/// fill the memory is counted by the network that a provider owns; clients elsewhere keep their own limits.
fn key(address: IpAddr, keys: usize) -> IpAddr {
    match (keys, address) {
        (..KEYS_MAX, _) => network(address),
        (..WIDE_KEYS_MAX, IpAddr::V4(four)) => Ipv4Addr::from_bits(four.to_bits() & (u32::MAX << 16)).into(),
        (..WIDE_KEYS_MAX, IpAddr::V6(six)) => Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 96)).into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Elapsed time by the service's clock. When that is set back nothing is added, and time goes on from there: the step
/// refills no quota, and locks no client out until the old time comes again.
#[derive(Debug, Clone)]
pub(super) struct MonotonicClock {
    clock: Clock,
    last: Arc<Mutex<(Timestamp, Duration)>>,
}

impl MonotonicClock {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), last: Arc::new(Mutex::new((clock.now(), Duration::ZERO))) }
    }
}

impl governor::clock::Clock for MonotonicClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        // The clock is read under the lock: two threads must not both add the same step.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        *last = (now, last.1.saturating_add(now.since(last.0).min(STEP_MAX)).min(TIME_MAX));
        last.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    struct Limiter {
        clock: Clock,
        limiter: RateLimiter,
    }

    impl Limiter {
        /// Two sign-ups an hour, three refreshes a minute, two writes a minute.
        fn new() -> Self {
            let limits = RateLimits {
                sign_ups: Rate::Limit { burst: 2, period: HOUR },
                refreshes: Rate::Limit { burst: 3, period: Duration::from_mins(1) },
                writes: Rate::Limit { burst: 2, period: Duration::from_mins(1) },
            };
            let clock = Clock::settable(Timestamp::from_seconds(1_000_000));
            Self { limiter: RateLimiter::new(limits, &clock), clock }
        }

        /// The wait in seconds, 0 if the action is allowed.
        fn check(&self, action: LimitedAction, address: &str) -> u64 {
            self.limiter.check(action, address.parse().unwrap()).map_or(0, |wait| wait.as_secs())
        }

        fn sign_up(&self, address: &str) -> u64 {
            self.check(LimitedAction::SignUp, address)
        }

        fn flood(&self, action: LimitedAction, addresses: usize) {
            for number in 0..u32::try_from(addresses).unwrap() {
                self.limiter.check(action, Ipv6Addr::from_bits(u128::from(number) << 64).into());
            }
        }
    }

    #[test]
    fn rate_limit_allows_a_burst_and_refills_it_evenly() {
        let limiter = Limiter::new();
        assert_eq!([(); 3].map(|()| limiter.sign_up("192.0.2.1")), [0, 0, 1800]);
        limiter.clock.advance(Duration::from_millis(1500));
        assert_eq!(limiter.sign_up("192.0.2.1"), 1799, "rounded up");
        limiter.clock.advance(Duration::from_secs(1799));
        assert_eq!([(); 2].map(|()| limiter.sign_up("192.0.2.1")), [0, 1800]);
        limiter.clock.advance(HOUR);
        assert_eq!([(); 3].map(|()| limiter.sign_up("192.0.2.1")), [0, 0, 1800]);
    }

    #[test]
    fn rate_limit_counts_an_ipv6_client_by_its_64_bit_network() {
        let limiter = Limiter::new();
        let six = ["2001:db8::1", "2001:db8::2", "2001:db8::3:0:0:3", "2001:db8:0:1::1"];
        assert_eq!(six.map(|address| limiter.sign_up(address)), [0, 0, 1800, 0]);
        assert_eq!(["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|a| limiter.sign_up(a)), [0, 0, 1800, 0]);
    }

    #[test]
    fn rate_limit_off_always_allows() {
        let limits = RateLimits { sign_ups: Rate::Off, refreshes: Rate::Off, writes: Rate::Off };
        let limiter = RateLimiter::new(limits, &Clock::system());
        assert!((0..1000).all(|_| limiter.check(LimitedAction::SignUp, Ipv4Addr::LOCALHOST.into()).is_none()));
    }

    #[test]
    fn rate_limit_of_sign_ups_survives_junk_refreshes() {
        let limiter = Limiter::new();
        assert_eq!([(); 3].map(|()| limiter.sign_up("192.0.2.1")), [0, 0, 1800]);
        limiter.flood(LimitedAction::Refresh, KEYS_MAX + 10);
        // Longer than refreshes are counted for, shorter than sign-ups are.
        limiter.clock.advance(Duration::from_mins(10));
        limiter.flood(LimitedAction::Refresh, KEYS_MAX + 10);
        limiter.limiter.remove_idle();
        assert_eq!(limiter.sign_up("192.0.2.1"), 1200);
    }

    #[test]
    fn rate_limit_of_refreshes_survives_junk_sign_ups() {
        let limiter = Limiter::new();
        let refresh = || limiter.check(LimitedAction::Refresh, "192.0.2.1");
        assert_eq!([(); 4].map(|()| refresh()), [0, 0, 0, 20]);
        limiter.flood(LimitedAction::SignUp, KEYS_MAX + 10);
        limiter.limiter.remove_idle();
        assert_eq!(refresh(), 20);
    }

    #[test]
    fn rate_limit_of_writes_is_by_account_and_survives_junk_of_every_other_kind() {
        let limiter = Limiter::new();
        let write = |writer| limiter.limiter.check_write(writer).map_or(0, |wait| wait.as_secs());
        let [emily, bob] = [7, 8].map(|id| Writer::Account(AccountUuid(uuid::Uuid::from_u128(id))));
        let session = Writer::Session(SessionId(uuid::Uuid::from_u128(7)));
        assert_eq!([emily, emily, emily, bob, session].map(write), [0, 0, 30, 0, 0]);
        for action in [LimitedAction::SignUp, LimitedAction::Refresh] {
            limiter.flood(action, KEYS_MAX + 10);
        }
        for id in 1000..2000 {
            write(Writer::Account(AccountUuid(uuid::Uuid::from_u128(id))));
        }
        limiter.limiter.remove_idle();
        assert_eq!([emily, bob, bob].map(write), [30, 0, 30]);
        limiter.clock.advance(Duration::from_mins(2));
        limiter.limiter.remove_idle();
        assert!(limiter.limiter.writes.as_ref().unwrap().is_empty());
        assert_eq!(write(emily), 0);
    }

    #[test]
    fn rate_limit_memory_is_bounded_and_junk_resets_no_other_limit() {
        let limiter = Limiter::new();
        let sign_ups = limiter.limiter.sign_ups.as_ref().unwrap();
        assert_eq!([(); 2].map(|()| limiter.sign_up("192.0.2.1")), [0, 0]);
        limiter.flood(LimitedAction::SignUp, 2 * KEYS_MAX);
        assert!(sign_ups.len() <= KEYS_MAX + 1, "{}", sign_ups.len());
        assert!(limiter.sign_up("::1") > 0, "the attacker's network has one limit now");
        assert_eq!(limiter.sign_up("198.51.100.1"), 0, "a client elsewhere has its own");
        limiter.limiter.remove_idle();
        assert!(sign_ups.len() > KEYS_MAX, "no limit is forgotten while it counts");
        limiter.clock.advance(2 * HOUR);
        limiter.limiter.remove_idle();
        assert!(sign_ups.is_empty());
    }

    #[test]
    fn rate_limit_keys_widen_as_memory_fills() {
        let keys = |address: &str| {
            let keys = [0, KEYS_MAX - 1, KEYS_MAX, WIDE_KEYS_MAX].map(|keys| key(address.parse().unwrap(), keys));
            keys.map(|key| key.to_string())
        };
        assert_eq!(keys("192.0.2.1"), ["192.0.2.1", "192.0.2.1", "192.0.0.0", "::"]);
        assert_eq!(keys("2001:db8:1:2:3::4"), ["2001:db8:1:2::", "2001:db8:1:2::", "2001:db8::", "::"]);
    }

    #[test]
    fn rate_limit_survives_a_clock_set_back() {
        let limiter = Limiter::new();
        assert_eq!([(); 3].map(|()| limiter.sign_up("192.0.2.1")), [0, 0, 1800]);
        for (number, back) in [999_000, 500_000, 0, i64::MIN].into_iter().enumerate() {
            limiter.clock.set(Timestamp::from_seconds(back));
            assert_eq!(limiter.sign_up("192.0.2.1"), 1800, "{back}");
            assert_eq!(limiter.sign_up(&format!("198.51.100.{number}")), 0, "{back}");
        }
        limiter.clock.advance(Duration::from_mins(30));
        assert_eq!([(); 2].map(|()| limiter.sign_up("192.0.2.1")), [0, 1800]);
    }

    #[test]
    fn rate_limit_refills_after_a_clock_was_far_ahead() {
        let limiter = Limiter::new();
        limiter.clock.set(Timestamp::from_seconds(i64::MAX));
        assert_eq!([(); 3].map(|()| limiter.sign_up("192.0.2.1")), [0, 0, 1800]);
        limiter.clock.set(Timestamp::from_seconds(1_000_000));
        assert_eq!(limiter.sign_up("192.0.2.1"), 1800);
        limiter.clock.advance(HOUR);
        assert_eq!([(); 3].map(|()| limiter.sign_up("192.0.2.1")), [0, 0, 1800]);
    }

    #[test]
    fn rate_limit_does_not_panic_on_extreme_times_and_rates() {
        let limits = |burst, period| RateLimits {
            sign_ups: Rate::Limit { burst, period },
            refreshes: Rate::Off,
            writes: Rate::Off,
        };
        for (burst, period) in
            [(1, Duration::MAX), (u32::MAX, Duration::from_secs(1)), (0, Duration::ZERO), (u32::MAX, Duration::MAX)]
        {
            let clock = Clock::settable(Timestamp::from_seconds(0));
            let limiter = RateLimiter::new(limits(burst, period), &clock);
            for at in [0, i64::MAX, i64::MIN].into_iter().cycle().take(1000) {
                clock.set(Timestamp::from_millis(at));
                limiter.check(LimitedAction::SignUp, Ipv4Addr::LOCALHOST.into());
                limiter.remove_idle();
            }
        }
    }
}
