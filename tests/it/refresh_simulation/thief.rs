//! An owner who is checked every half minute and refreshes every quarter of an hour, within a minute after the access token
//! has expired, and a thief who copied the cookies and refreshes first. The messages are fast here; one in fifty of the
//! owner's answers is lost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::service::{Answer, HOUR, MINUTE, Millis, NODES, Rules, SECOND, Service};
use crate::support::rng::Rng;

const ACCESS_TTL: Millis = 15 * MINUTE;

/// The time after which a thief who is not found counts as one who lives on.
const LONG: Millis = 12 * HOUR;

/// What a thief does with the cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Refreshes, and uses what he gets, and so on whenever his access token has expired.
    Uses,
    /// Refreshes once, and keeps what he gets.
    Hides,
    /// The same, and tries it within two hours.
    HidesAndTries,
    /// Has access tokens renewed at checks.
    Renews,
    /// Refreshes at most so long before each refresh of the owner, and shows nothing before that.
    Leapfrogs { within: Millis },
}

/// What became of the thief.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The session ended as reuse.
    Caught,
    /// Every token that he has is refused.
    ShutOut,
    LivesOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    OwnerChecks,
    OwnerRefreshes,
    Theft,
    ThiefRefreshes,
    ThiefChecks,
    ThiefRenews,
    FlushConfirmations(usize),
}

/// The refresh token's generation; the access token's.
#[derive(Debug, Clone, Copy, Default)]
struct Jar {
    refresh: i64,
    access: i64,
}

pub struct Owner {
    service: Service,
    rng: Rng,
    now: Millis,
    jar: Jar,
    next_refresh: Millis,
    /// What the thief holds: the cookies that he copied, and what he made of them.
    copied: Option<Jar>,
    thief: Jar,
    /// The thief's first request.
    began: Option<Millis>,
    /// Ordered by time, then as they were added.
    events: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    added: u64,
}

impl Owner {
    pub fn new(rng: Rng) -> Self {
        Self {
            service: Service::new(Rules::AsWritten),
            rng,
            now: 0,
            jar: Jar::default(),
            next_refresh: 0,
            copied: None,
            thief: Jar::default(),
            began: None,
            events: BinaryHeap::new(),
            added: 0,
        }
    }

    /// Runs until the thief is found, and says how, and how long after his first request.
    pub fn robbed_by(mut self, strategy: Strategy) -> (End, Millis) {
        self.refresh_later(ACCESS_TTL);
        self.after(30 * SECOND, Event::OwnerChecks);
        let theft = 2 * ACCESS_TTL + self.below(ACCESS_TTL);
        self.after(theft, Event::Theft);
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            self.now = now;
            self.handle(event, strategy);
            let Some(began) = self.began else { continue };
            let end = match () {
                () if self.service.is_ended() => End::Caught,
                // Who goes on using what he has is caught by that.
                () if strategy != Strategy::Uses && !self.is_thief_accepted() => End::ShutOut,
                () if now > began + LONG => End::LivesOn,
                () => continue,
            };
            return (end, now - began);
        }
        (End::LivesOn, 0)
    }

    fn below(&mut self, end: Millis) -> Millis {
        u64::try_from(self.rng.below(usize::try_from(end).unwrap())).unwrap()
    }

    fn after(&mut self, wait: Millis, event: Event) {
        self.added += 1;
        self.events.push(Reverse((self.now + wait, self.added, event)));
    }

    fn refresh_later(&mut self, wait: Millis) {
        self.next_refresh = self.now + wait;
        self.after(wait, Event::OwnerRefreshes);
    }

    fn is_thief_accepted(&self) -> bool {
        let held = self.copied.iter().chain([&self.thief]).map(|jar| jar.refresh);
        let accepts = |generation| {
            (0..NODES).any(|node| {
                crate::model_checking::rows::gives_tokens(&self.service.verdict(self.now, node, generation))
            })
        };
        held.into_iter().any(accepts)
    }

    fn handle(&mut self, event: Event, strategy: Strategy) {
        let node = self.rng.below(NODES);
        match event {
            Event::OwnerChecks => {
                self.after(30 * SECOND, event);
                if self.service.check(self.now, node, self.jar.access) {
                    self.after(5 * SECOND, Event::FlushConfirmations(node));
                } else {
                    self.owner_refreshes(node);
                }
            }
            Event::OwnerRefreshes if self.now == self.next_refresh => {
                self.owner_refreshes(node);
                self.leapfrog(strategy);
            }
            Event::OwnerRefreshes => {}
            Event::Theft => {
                (self.copied, self.thief) = (Some(self.jar), self.jar);
                match strategy {
                    Strategy::Renews => self.after(SECOND, Event::ThiefRenews),
                    Strategy::Leapfrogs { .. } => self.leapfrog(strategy),
                    _ => self.after(SECOND, Event::ThiefRefreshes),
                }
            }
            Event::ThiefRefreshes => self.thief_refreshes(node, strategy),
            Event::ThiefChecks => {
                self.service.check(self.now, node, self.thief.access);
                self.after(5 * SECOND, Event::FlushConfirmations(node));
                self.after(30 * SECOND, event);
            }
            Event::ThiefRenews => {
                self.began.get_or_insert(self.now);
                self.service.renew(self.now, node, self.thief.refresh);
                self.after(5 * SECOND, Event::FlushConfirmations(node));
                self.after(MINUTE, event);
            }
            Event::FlushConfirmations(node) => self.service.flush_confirmations(node),
        }
    }

    fn owner_refreshes(&mut self, node: usize) {
        let answer = self.service.refresh(self.now, node, self.jar.refresh);
        if self.rng.below(50) == 0 {
            return self.refresh_later(3 * SECOND);
        }
        if let Answer::Tokens { access, refresh } = answer {
            self.jar = Jar { access, refresh: refresh.unwrap_or(self.jar.refresh) };
            // The page that refreshed goes on with what it wanted.
            self.service.check(self.now, node, access);
            self.after(5 * SECOND, Event::FlushConfirmations(node));
            let wait = ACCESS_TTL + self.below(MINUTE);
            self.refresh_later(wait);
        }
    }

    /// The thief refreshes before the owner does so next.
    fn leapfrog(&mut self, strategy: Strategy) {
        let Strategy::Leapfrogs { within } = strategy else { return };
        if self.copied.is_some() && self.next_refresh > self.now + within {
            let wait = self.next_refresh - self.now - self.below(within);
            self.after(wait, Event::ThiefRefreshes);
        }
    }

    fn thief_refreshes(&mut self, node: usize, strategy: Strategy) {
        let is_first = self.began.is_none();
        self.began.get_or_insert(self.now);
        if let Answer::Tokens { access, refresh } = self.service.refresh(self.now, node, self.thief.refresh) {
            self.thief = Jar { access, refresh: refresh.unwrap_or(self.thief.refresh) };
        }
        match strategy {
            Strategy::Uses => {
                if is_first {
                    self.after(0, Event::ThiefChecks);
                }
                let wait = ACCESS_TTL + self.below(MINUTE);
                self.after(wait, Event::ThiefRefreshes);
            }
            Strategy::HidesAndTries => {
                let wait = self.below(2 * HOUR);
                self.after(wait, Event::ThiefRefreshes);
            }
            Strategy::Hides | Strategy::Renews | Strategy::Leapfrogs { .. } => {}
        }
    }
}
