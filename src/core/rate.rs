//! How often one client address may sign up or refresh: a number in a span of time, counted in this node's memory, for
//! here the aim is to bound work and junk, not guesses. Those are throttle.rs's, which nodes share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Core;
use super::caller::Client;
use super::error::Refusal;
use crate::clock::Timestamp;
use crate::core::defence::throttle_policy::network;
use crate::settings::Rate;

/// Bounds memory: with more addresses than this at once, those whose span is over are forgotten, then all.
const ADDRESSES_MAX: usize = 100_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Registrations, and attempts at them.
    SignUp,
    /// Refresh tokens presented.
    Refresh,
}

/// The settings of the rates.
#[derive(Debug, Clone, Copy)]
pub struct RateRules {
    /// Of sign-ups.
    pub sign_ups: Rate,
    /// Of refreshes.
    pub refreshes: Rate,
}

/// The counts of a node.
#[derive(Debug, Default)]
pub struct Rates {
    spans: Mutex<HashMap<(Counted, IpAddr), Span>>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    began: Timestamp,
    count: u32,
}

impl Rates {
    /// Counts one; how long to wait if it is one too many.
    fn count(&self, what: Counted, address: IpAddr, rate: Rate, now: Timestamp) -> Option<Duration> {
        let Rate::Limit { most, within } = rate else { return None };
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() >= ADDRESSES_MAX {
            spans.retain(|_, span| span.is_on(now, within));
            if spans.len() >= ADDRESSES_MAX {
                spans.clear();
            }
        }
        let span = spans.entry((what, address)).or_insert(Span { began: now, count: 0 });
        if !span.is_on(now, within) {
            *span = Span { began: now, count: 0 };
        }
        if span.count >= most {
            return Some(span.began.plus(within).since(now).max(Duration::from_secs(1)));
        }
        span.count += 1;
        None
    }
}

impl Span {
    /// A clock set back must not make a span longer.
    fn is_on(&self, now: Timestamp, within: Duration) -> bool {
        now >= self.began && now < self.began.plus(within)
    }
}

impl Core {
    /// Counts one, and refuses it if it is too many for its client's address.
    pub fn keep_rate(&self, what: Counted, client: &Client) -> Result<(), Refusal> {
        let Some(address) = client.address else { return Ok(()) };
        let rate = match what {
            Counted::SignUp => self.rules.rates.sign_ups,
            Counted::Refresh => self.rules.rates.refreshes,
        };
        self.rates.count(what, network(address), rate, self.now()).map_or(Ok(()), |wait| Err(Refusal::Throttled(wait)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_waits_for_the_end_of_the_span() {
        let (rates, address) = (Rates::default(), "192.0.2.1".parse().unwrap());
        let rate = Rate::Limit { most: 2, within: Duration::from_mins(1) };
        let count = |second| rates.count(Counted::SignUp, address, rate, Timestamp::from_seconds(second));
        assert_eq!([count(100), count(110), count(120)], [None, None, Some(Duration::from_secs(40))]);
        assert_eq!([count(160), count(90)], [None, None], "a new span, and a clock that was set back");
        assert_eq!(rates.count(Counted::Refresh, address, rate, Timestamp::from_seconds(120)), None);
        assert_eq!(rates.count(Counted::SignUp, address, Rate::Off, Timestamp::from_seconds(120)), None);
    }
}
