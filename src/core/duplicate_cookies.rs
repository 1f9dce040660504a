//! Requests that bring two cookies of ours that differ: one of the two is somebody else's. Each is worth an event, but
//! anybody can send them without an account, and as fast as checks are answered. So they are counted in this node's
//! memory and told in the background: a row a minute for an address, a few rows a minute for all; what is beyond that when
//! the node stops is not told. What such a request is answered is web's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Core;
use super::audit::{Event, Kind};
use super::caller::Client;
use super::error::Error;
use crate::clock::Timestamp;
use crate::core::defence::throttle_policy::network;

/// The span in which an address gets one row.
const SPAN: Duration = Duration::from_mins(1);

/// Rows in a span, whoever sends.
const ROWS_MAX: usize = 10;

/// Bounds memory: what further addresses send is counted together, as of no address.
const ADDRESSES_MAX: usize = 256;

/// What a node has met and not told yet.
#[derive(Debug, Default)]
pub struct DuplicateCookies {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    senders: HashMap<Option<IpAddr>, Sender>,
    began: Option<Timestamp>,
    rows: usize,
}

/// One address. The row names the latest of its requests.
#[derive(Debug, Default)]
struct Sender {
    waiting: u64,
    /// When the first of those that wait came.
    since: Option<Timestamp>,
    latest: Option<(Timestamp, Client)>,
    told: Option<Timestamp>,
}

/// A row to be written.
#[derive(Debug)]
struct Due {
    sender: Option<IpAddr>,
    waiting: u64,
    since: Timestamp,
    at: Timestamp,
    client: Client,
    told: Option<Timestamp>,
}

impl DuplicateCookies {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, client: Client, now: Timestamp) {
        let mut counts = self.lock();
        let own = client.address.map(network);
        let known = counts.senders.len() < ADDRESSES_MAX || counts.senders.contains_key(&own);
        let (key, address) = if known { (own, client.address) } else { (None, None) };
        let sender = counts.senders.entry(key).or_default();
        sender.waiting += 1;
        sender.since.get_or_insert(now);
        sender.latest = Some((now, Client { address, device: None, ..client }));
    }

    /// Takes what may be told now, those that have waited longest first.
    fn take_due(&self, now: Timestamp) -> Vec<Due> {
        let mut counts = self.lock();
        counts.senders.retain(|_, sender| sender.waiting > 0 || is_on(sender.told, now));
        if !is_on(counts.began, now) {
            (counts.began, counts.rows) = (Some(now), 0);
        }
        let may = |sender: &Sender| sender.waiting > 0 && !is_on(sender.told, now);
        let mut due: Vec<Due> = counts.senders.iter().filter(|(_, sender)| may(sender)).filter_map(as_due).collect();
        due.sort_by_key(|due| due.since);
        due.truncate(ROWS_MAX.saturating_sub(counts.rows));
        counts.rows += due.len();
        for taken in &due {
            if let Some(sender) = counts.senders.get_mut(&taken.sender) {
                (sender.waiting, sender.since, sender.told) = (0, None, Some(now));
            }
        }
        due
    }

    /// Takes back what could not be written.
    fn take_back(&self, untold: Vec<Due>) {
        let mut counts = self.lock();
        counts.rows = counts.rows.saturating_sub(untold.len());
        for Due { sender, waiting, since, at, client, told } in untold {
            let sender = counts.senders.entry(sender).or_default();
            sender.waiting += waiting;
            sender.since = Some(since);
            sender.told = told;
            sender.latest.get_or_insert((at, client));
        }
    }
}

fn as_due((key, sender): (&Option<IpAddr>, &Sender)) -> Option<Due> {
    let (at, client) = sender.latest.clone()?;
    let since = sender.since.unwrap_or(at);
    Some(Due { sender: *key, waiting: sender.waiting, since, at, client, told: sender.told })
}

/// A clock set back must not make a span longer.
fn is_on(began: Option<Timestamp>, now: Timestamp) -> bool {
    began.is_some_and(|began| now >= began && now < began.plus(SPAN))
}

impl Due {
    fn event(&self) -> Event {
        let requests = if self.waiting == 1 { "request" } else { "requests" };
        let detail = format!("{} {requests} with two of one name: a sibling domain may plant one", self.waiting);
        Event::new(Kind::DuplicateCookie, &self.client).detail(detail)
    }
}

impl Core {
    /// Counts a request whose cookies differ. Asks no row and waits for none.
    pub fn note_duplicate_cookie(&self, client: Client) {
        self.duplicate_cookies.count(client, self.now());
    }

    /// Tells what was counted, as far as it may be told by now. What cannot be written waits.
    pub fn write_duplicate_cookies(&self) -> Result<(), Error> {
        let due = self.duplicate_cookies.take_due(self.now());
        if due.is_empty() {
            return Ok(());
        }
        let written = self.store.write(|db| due.iter().try_for_each(|due| due.event().write(db, due.at)));
        match written {
            Ok(()) => due.iter().for_each(|due| self.tell(&due.event())),
            Err(_) => self.duplicate_cookies.take_back(due),
        }
        Ok(written?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        Client { address: Some(address.parse().unwrap()), ..Client::default() }
    }

    fn told(counts: &DuplicateCookies, second: i64) -> Vec<(Option<IpAddr>, u64)> {
        let due = counts.take_due(Timestamp::from_seconds(second));
        due.iter().map(|due| (due.client.address, due.waiting)).collect()
    }

    fn count(counts: &DuplicateCookies, address: &str, second: i64) {
        counts.count(client(address), Timestamp::from_seconds(second));
    }

    #[test]
    fn an_address_gets_a_row_a_minute_that_counts_them_all() {
        let (counts, one) = (DuplicateCookies::default(), client("192.0.2.1").address);
        count(&counts, "192.0.2.1", 100);
        assert_eq!(told(&counts, 100), [(one, 1)]);
        (101..=159).for_each(|second| count(&counts, "192.0.2.1", second));
        assert_eq!(told(&counts, 159), []);
        assert_eq!(told(&counts, 160), [(one, 59)]);
        count(&counts, "192.0.2.1", 161);
        assert_eq!(told(&counts, 90), [(one, 1)], "a clock that was set back holds nothing up");
        assert_eq!(told(&counts, 10_000), []);
        assert_eq!(counts.lock().senders.len(), 0, "who is told and gone is forgotten");
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let counts = DuplicateCookies::default();
        (1..=9).for_each(|host| count(&counts, &format!("2001:db8::{host}"), 100));
        assert_eq!(told(&counts, 100), [(client("2001:db8::9").address, 9)]);
    }

    #[test]
    fn all_addresses_share_a_few_rows_a_minute_and_wait_in_order() {
        let counts = DuplicateCookies::default();
        (1..=25).for_each(|host| count(&counts, &format!("192.0.2.{host}"), 100 + host));
        let rounds: Vec<usize> = [130, 131, 190, 250].map(|second| told(&counts, second).len()).into();
        assert_eq!(rounds, [10, 0, 10, 5]);
    }

    #[test]
    fn whoever_goes_on_sending_has_a_turn_beside_many_others() {
        let counts = DuplicateCookies::default();
        let mut heard = 0;
        for minute in 0..10 {
            for second in 0..60 {
                let now = 1000 + minute * 60 + second;
                count(&counts, "198.51.100.1", now);
                if second == 30 {
                    (1..=30).for_each(|host| count(&counts, &format!("192.0.2.{host}"), now));
                }
                heard += told(&counts, now).iter().filter(|(from, _)| *from == client("198.51.100.1").address).count();
            }
        }
        assert!(heard >= 3, "told {heard} times in ten minutes");
    }

    #[test]
    fn memory_is_bounded_and_still_counts() {
        let counts = DuplicateCookies::default();
        for host in 0..1000 {
            count(&counts, &format!("10.0.{}.{}", host / 250, host % 250), 100);
        }
        assert_eq!(counts.lock().senders.len(), ADDRESSES_MAX + 1);
        let rounds = (0..100_i64).flat_map(|minute| told(&counts, 100 + minute * 60));
        let (mut all, mut nameless) = (0, 0);
        for (address, number) in rounds {
            all += number;
            nameless += if address.is_none() { number } else { 0 };
        }
        assert_eq!((all, nameless), (1000, 1000 - 256));
    }

    #[test]
    fn what_could_not_be_written_waits_and_counts_on() {
        let counts = DuplicateCookies::default();
        count(&counts, "192.0.2.1", 100);
        let untold = counts.take_due(Timestamp::from_seconds(100));
        count(&counts, "192.0.2.1", 101);
        counts.take_back(untold);
        assert_eq!(told(&counts, 102), [(client("192.0.2.1").address, 2)]);
    }
}
