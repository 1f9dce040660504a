//! A browser: four tabs with one cookie jar over a bad network. A tab checks its access token, or refreshes in a burst when
//! it has expired, or at any time if it is hasty. Each message is late by up to just under the grace, or lost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::service::{Answer, GRACE, HOUR, MINUTE, Millis, NODES, Rules, SECOND, Service};
use crate::support::rng::Rng;

const TABS: usize = 4;

/// The largest number of concurrent refreshes.
const BURST: usize = 6;

pub struct Habits {
    pub access_ttl: Millis,
    /// Of the messages.
    pub lost_percent: usize,
    /// Of the times that a tab wakes.
    pub hasty_percent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wakes,
    Sends,
    Refresh { presented: i64 },
    Check { access: i64 },
    Answered { access: i64, until: Millis, refresh: Option<i64> },
    SignedOut,
    FlushConfirmations(usize),
    Crash(usize),
}

pub struct Browser {
    pub service: Service,
    pub is_signed_out: bool,
    habits: Habits,
    rng: Rng,
    now: Millis,
    /// The refresh token's generation; the access token's, and its end.
    jar: (i64, i64, Millis),
    /// Ordered by time, then as they were added.
    events: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    added: u64,
}

impl Browser {
    pub fn new(habits: Habits, rules: Rules, rng: Rng) -> Self {
        let (service, jar) = (Service::new(rules), (0, 0, habits.access_ttl));
        let (events, is_signed_out) = (BinaryHeap::new(), false);
        let mut browser = Self { service, is_signed_out, habits, rng, now: 0, jar, events, added: 0 };
        for _ in 0..TABS {
            browser.wake_later();
        }
        for node in 0..NODES {
            browser.after(HOUR, Event::Crash(node));
        }
        browser
    }

    /// Until so many refreshes were decided, or the session is lost.
    pub fn run(&mut self, refreshes: usize) {
        while !self.is_signed_out && self.service.refreshes() < refreshes {
            let Some(Reverse((now, _, event))) = self.events.pop() else { return };
            self.now = now;
            self.handle(event);
        }
    }

    fn below(&mut self, end: Millis) -> Millis {
        u64::try_from(self.rng.below(usize::try_from(end).unwrap())).unwrap()
    }

    fn after(&mut self, wait: Millis, event: Event) {
        self.added += 1;
        self.events.push(Reverse((self.now + wait, self.added, event)));
    }

    /// The next thing that a tab does is soon, or after the machine has slept.
    fn wake_later(&mut self) {
        let longest = (self.habits.access_ttl / 2).clamp(10 * SECOND, 5 * MINUTE);
        let wait = if self.rng.below(100) == 0 { 8 * HOUR } else { 0 };
        let wait = wait + self.below(longest);
        self.after(wait, Event::Wakes);
    }

    /// Sends a message, which takes less than the grace.
    fn message(&mut self, event: Event) {
        let travels = self.below(GRACE);
        if self.rng.below(100) >= self.habits.lost_percent {
            self.after(travels, event);
        }
    }

    fn handle(&mut self, event: Event) {
        let node = self.rng.below(NODES);
        match event {
            Event::Wakes => self.wake(),
            Event::Sends => self.message(Event::Refresh { presented: self.jar.0 }),
            Event::Refresh { presented } => {
                let until = self.now + self.habits.access_ttl;
                let answer = match self.service.refresh(self.now, node, presented) {
                    Answer::Tokens { access, refresh } => Event::Answered { access, until, refresh },
                    Answer::SignedOut => Event::SignedOut,
                };
                self.message(answer);
            }
            Event::Check { access } => {
                if self.service.check(self.now, node, access) {
                    self.after(5 * SECOND, Event::FlushConfirmations(node));
                }
            }
            Event::Answered { access, until, refresh } => self.jar = (refresh.unwrap_or(self.jar.0), access, until),
            Event::SignedOut => self.is_signed_out = true,
            Event::FlushConfirmations(node) => self.service.flush_confirmations(node),
            Event::Crash(node) => {
                self.service.crash(node);
                let wait = self.below(HOUR);
                self.after(wait, Event::Crash(node));
            }
        }
    }

    fn wake(&mut self) {
        let (_, access, until) = self.jar;
        if until <= self.now || self.rng.below(100) < self.habits.hasty_percent {
            for _ in 0..=self.rng.below(BURST) {
                let wait = self.below(2 * SECOND);
                self.after(wait, Event::Sends);
            }
        } else {
            self.message(Event::Check { access });
        }
        self.wake_later();
    }
}
