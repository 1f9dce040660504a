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
use crate::clock::{Clock, Timestamp};
use crate::core::session::caller::{Client, network};

/// The interval between two audit rows of one address.
const ADDRESS_INTERVAL: Duration = Duration::from_mins(1);

/// Audit rows of all addresses together: a burst that is refilled evenly over a minute.
const ROWS_A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Bounds memory: requests of further addresses are counted together, without an address.
const ADDRESSES_MAX: usize = 256;

/// An aggregated audit row: the number of requests, and the latest of them.
#[derive(Debug, Clone)]
pub struct DuplicateCookieRow {
    /// The number of requests.
    pub requests: u64,
    /// The client of the latest request.
    pub client: Client,
    /// The time of the latest request.
    pub at: Timestamp,
}

/// The detector of one node. Counts that are not written yet are lost if the node is killed.
#[derive(Debug)]
pub struct DuplicateCookies {
    clock: MonotonicClock,
    limiter: ClockedLimiter<NotKeyed, InMemoryState>,
    counters: Mutex<HashMap<Option<IpAddr>, AddressCounter>>,
    /// Rows that passed the limiter and are not committed yet: while the database is unavailable they wait here.
    outbox: Mutex<Vec<DuplicateCookieRow>>,
}

/// The counter of one address.
#[derive(Debug)]
struct AddressCounter {
    /// The requests since the address's last row.
    row: DuplicateCookieRow,
    /// The time from which the row may be written.
    due: Duration,
}

impl DuplicateCookies {
    /// A detector without counts.
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
        let first =
            || AddressCounter { row: DuplicateCookieRow { requests: 0, client: Client::default(), at }, due: now };
        let counter = counters.entry(key).or_insert_with(first);
        let client = Client { address, device: None, ..client };
        counter.row = DuplicateCookieRow { requests: counter.row.requests + 1, client, at };
    }

    /// Takes the rows that may be written now, in the order in which they became due.
    fn take_due(&self) -> Vec<DuplicateCookieRow> {
        let now = self.clock.now();
        let mut counters = lock(&self.counters);
        counters.retain(|_, counter| counter.row.requests > 0 || counter.due > now);
        let mut due: Vec<_> =
            counters.values_mut().filter(|counter| counter.row.requests > 0 && counter.due <= now).collect();
        due.sort_by_key(|counter| counter.due);
        let allowed = due.into_iter().take_while(|_| self.limiter.check().is_ok());
        let take = |counter: &mut AddressCounter| {
            let row = counter.row.clone();
            (counter.row.requests, counter.due) = (0, now + ADDRESS_INTERVAL);
            row
        };
        allowed.map(take).collect()
    }

    /// Passes due rows to `write`, and returns them once written. Rows that could not be written stay in the outbox, and the
    /// next call passes them again before it takes others: an outage accumulates no rows.
    pub fn flush<E>(
        &self,
        write: impl FnOnce(&[DuplicateCookieRow]) -> Result<(), E>,
    ) -> Result<Vec<DuplicateCookieRow>, E> {
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
    fn duplicate_cookies_of_an_address_get_one_row_a_minute() {
        let (detector, one) = (Detector::new(), client("192.0.2.1").address);
        detector.record("192.0.2.1", 100);
        assert_eq!(detector.flush(100), [(one, 1)]);
        (101..=159).for_each(|second| detector.record("192.0.2.1", second));
        assert_eq!(detector.flush(159), []);
        assert_eq!(detector.flush(160), [(one, 59)]);
        assert_eq!(detector.flush(10_000), []);
        assert!(lock(&detector.cookies.counters).is_empty(), "an idle address is removed");
    }

    #[test]
    fn duplicate_cookie_interval_survives_a_clock_set_back() {
        let (detector, one) = (Detector::new(), client("192.0.2.1").address);
        detector.record("192.0.2.1", 10_000);
        assert_eq!(detector.flush(10_000), [(one, 1)]);
        detector.record("192.0.2.1", 90);
        assert_eq!(detector.flush(149), []);
        assert_eq!(detector.flush(150), [(one, 1)]);
    }

    #[test]
    fn duplicate_cookies_of_an_ipv6_network_share_a_row() {
        let detector = Detector::new();
        (1..=9).for_each(|host| detector.record(&format!("2001:db8::{host}"), 100));
        assert_eq!(detector.flush(100), [(client("2001:db8::9").address, 9)]);
    }

    #[test]
    fn duplicate_cookie_rows_are_limited_and_written_in_order() {
        let detector = Detector::new();
        (1..=25).for_each(|host| detector.record(&format!("192.0.2.{host}"), 100 + host));
        let batches = [130, 131, 190, 250].map(|second| detector.flush(second));
        assert_eq!(batches.each_ref().map(Vec::len), [10, 0, 10, 5]);
        let in_order: Vec<_> = (1..=25).map(|host| (client(&format!("192.0.2.{host}")).address, 1)).collect();
        assert_eq!(batches.concat(), in_order);
    }

    #[test]
    fn duplicate_cookies_of_a_busy_address_are_written_beside_many_others() {
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
    fn duplicate_cookie_counters_are_bounded_and_lose_no_request() {
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
    fn duplicate_cookie_rows_are_retried_and_counted_once() {
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
