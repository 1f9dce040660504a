//! Cookie-tossing detector: requests with two differing cookies of one name, one of which a sibling domain may have planted.
//! Any client can send them without an account, so they are counted in memory, and housekeeping writes them to the audit
//! table and the log in aggregate, with a rate limit. What such a request is answered is decided by web.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::Quota;
use governor::clock::Clock as _;
use governor::state::{InMemoryState, NotKeyed};

use super::rate_limit::{ClockedLimiter, MonotonicClock};
use super::throttle_policy::network;
use crate::clock::{Clock, Timestamp};
use crate::core::caller::Client;

/// The time in which an address gets one audit row.
const ADDRESS_INTERVAL: Duration = Duration::from_mins(1);

/// Audit rows of all addresses together: a burst, refilled evenly over a minute.
const ROWS_A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Bounds memory: requests of further addresses are counted together, without an address.
const ADDRESSES_MAX: usize = 256;

/// An audit row: how many requests it stands for, and the latest of them.
#[derive(Debug, Clone)]
pub struct Row {
    /// How many requests.
    pub requests: u64,
    /// Who sent the latest of them.
    pub client: Client,
    /// When that was.
    pub at: Timestamp,
}

/// What a node has counted and not written yet. It is lost when the node is killed.
#[derive(Debug)]
pub struct DuplicateCookies {
    clock: MonotonicClock,
    limiter: ClockedLimiter<NotKeyed, InMemoryState>,
    counters: Mutex<HashMap<Option<IpAddr>, Counter>>,
    /// Rows that passed the limiter and are not committed yet: while the database is unavailable they wait here.
    outbox: Mutex<Vec<Row>>,
}

/// One address.
#[derive(Debug)]
struct Counter {
    /// Its requests since its last row.
    row: Row,
    /// When the row may be written.
    due: Duration,
}

impl DuplicateCookies {
    /// Without a count.
    pub fn new(clock: &Clock) -> Self {
        let clock = MonotonicClock::new(clock);
        let limiter = ClockedLimiter::direct_with_clock(Quota::per_minute(ROWS_A_MINUTE), clock.clone());
        Self { clock, limiter, counters: Mutex::default(), outbox: Mutex::default() }
    }

    /// Counts a request, in memory alone.
    pub fn record(&self, client: Client, at: Timestamp) {
        let now = self.clock.now();
        let mut counters = lock(&self.counters);
        let network = client.address.map(network);
        let fits = counters.len() < ADDRESSES_MAX || counters.contains_key(&network);
        let (key, address) = if fits { (network, client.address) } else { (None, None) };
        let first = || Counter { row: Row { requests: 0, client: Client::default(), at }, due: now };
        let counter = counters.entry(key).or_insert_with(first);
        let client = Client { address, device: None, ..client };
        counter.row = Row { requests: counter.row.requests + 1, client, at };
    }

    /// The rows that may be written now, those that have been due longest first.
    fn take_due(&self) -> Vec<Row> {
        let now = self.clock.now();
        let mut counters = lock(&self.counters);
        counters.retain(|_, counter| counter.row.requests > 0 || counter.due > now);
        let mut due: Vec<_> = counters.values_mut().filter(|some| some.row.requests > 0 && some.due <= now).collect();
        due.sort_by_key(|counter| counter.due);
        let allowed = due.into_iter().take_while(|_| self.limiter.check().is_ok());
        let take = |counter: &mut Counter| {
            let row = counter.row.clone();
            (counter.row.requests, counter.due) = (0, now + ADDRESS_INTERVAL);
            row
        };
        allowed.map(take).collect()
    }

    /// Hands the rows that are due to `write`, and returns those that it has written. Those that it could not write come
    /// again next time, before any other: a long outage piles up no rows.
    pub fn flush<E>(&self, write: impl FnOnce(&[Row]) -> Result<(), E>) -> Result<Vec<Row>, E> {
        let mut outbox = lock(&self.outbox);
        if outbox.is_empty() {
            *outbox = self.take_due();
        }
        if !outbox.is_empty() {
            write(&outbox)?;
        }
        Ok(std::mem::take(&mut *outbox))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Detector {
        clock: Clock,
        cookies: DuplicateCookies,
    }

    impl Detector {
        fn new() -> Self {
            let clock = Clock::settable(Timestamp::from_seconds(0));
            Self { cookies: DuplicateCookies::new(&clock), clock }
        }

        fn record(&self, address: &str, second: i64) {
            self.clock.set(Timestamp::from_seconds(second));
            self.cookies.record(client(address), self.clock.now());
        }

        /// Addresses and numbers of requests of the rows that are written now.
        fn flush(&self, second: i64) -> Vec<(Option<IpAddr>, u64)> {
            self.clock.set(Timestamp::from_seconds(second));
            let rows = self.cookies.flush(|_| Ok::<_, ()>(())).unwrap();
            rows.iter().map(|row| (row.client.address, row.requests)).collect()
        }
    }

    fn client(address: &str) -> Client {
        Client { address: Some(address.parse().unwrap()), ..Client::default() }
    }

    #[test]
    fn an_address_gets_a_row_a_minute_that_counts_its_requests() {
        let (detector, one) = (Detector::new(), client("192.0.2.1").address);
        detector.record("192.0.2.1", 100);
        assert_eq!(detector.flush(100), [(one, 1)]);
        (101..=159).for_each(|second| detector.record("192.0.2.1", second));
        assert_eq!(detector.flush(159), []);
        assert_eq!(detector.flush(160), [(one, 59)]);
        assert_eq!(detector.flush(10_000), []);
        assert!(lock(&detector.cookies.counters).is_empty(), "an idle address is forgotten");
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_interval() {
        let (detector, one) = (Detector::new(), client("192.0.2.1").address);
        detector.record("192.0.2.1", 10_000);
        assert_eq!(detector.flush(10_000), [(one, 1)]);
        detector.record("192.0.2.1", 90);
        assert_eq!(detector.flush(149), []);
        assert_eq!(detector.flush(150), [(one, 1)]);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let detector = Detector::new();
        (1..=9).for_each(|host| detector.record(&format!("2001:db8::{host}"), 100));
        assert_eq!(detector.flush(100), [(client("2001:db8::9").address, 9)]);
    }

    #[test]
    fn all_addresses_share_a_few_rows_a_minute_and_wait_in_order() {
        let detector = Detector::new();
        (1..=25).for_each(|host| detector.record(&format!("192.0.2.{host}"), 100 + host));
        let rounds = [130, 131, 190, 250].map(|second| detector.flush(second));
        assert_eq!(rounds.each_ref().map(Vec::len), [10, 0, 10, 5]);
        let in_order: Vec<_> = (1..=25).map(|host| (client(&format!("192.0.2.{host}")).address, 1)).collect();
        assert_eq!(rounds.concat(), in_order);
    }

    #[test]
    fn an_address_that_goes_on_sending_has_a_turn_beside_many_others() {
        let (detector, mut rows) = (Detector::new(), 0);
        for second in 1000..1600 {
            detector.record("198.51.100.1", second);
            if second % 60 == 30 {
                (1..=30).for_each(|host| detector.record(&format!("192.0.2.{host}"), second));
            }
            let own = |(address, _): &&(Option<IpAddr>, u64)| *address == client("198.51.100.1").address;
            rows += detector.flush(second).iter().filter(own).count();
        }
        assert!(rows >= 3, "{rows} rows in ten minutes");
    }

    #[test]
    fn memory_is_bounded_and_still_counts() {
        let detector = Detector::new();
        for host in 0..1000 {
            detector.record(&format!("10.0.{}.{}", host / 250, host % 250), 100);
        }
        assert_eq!(lock(&detector.cookies.counters).len(), ADDRESSES_MAX + 1);
        let rows: Vec<_> = (0..100).flat_map(|minute| detector.flush(100 + minute * 60)).collect();
        let (with, without): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(address, _)| address.is_some());
        let requests = [with, without].map(|rows| rows.iter().map(|(_, requests)| requests).sum::<u64>());
        assert_eq!(requests, [256, 1000 - 256]);
    }

    #[test]
    fn rows_that_could_not_be_written_come_again_and_are_counted_once() {
        let (detector, one) = (Detector::new(), client("192.0.2.1").address);
        detector.record("192.0.2.1", 100);
        assert_eq!(detector.cookies.flush(|rows| Err(rows.len())).map(|_written| ()), Err(1));
        detector.record("192.0.2.1", 101);
        detector.record("192.0.2.2", 101);
        assert_eq!(detector.cookies.flush(|rows| Err(rows.len())).map(|_written| ()), Err(1), "and no more pile up");
        assert_eq!(detector.flush(102), [(one, 1)]);
        assert_eq!(detector.flush(103), [(client("192.0.2.2").address, 1)]);
        assert_eq!(detector.flush(160), [(one, 1)]);
    }
}
