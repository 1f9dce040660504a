//! Simulation of refreshes at random, with the production's decision on a mirror of the session's row: browsers whose tabs
//! refresh in bursts while messages are late, reordered and lost (browser.rs), and thieves who have copied their cookies
//! (thief.rs), against a service of two nodes (service.rs). Seeded, and in a time of its own, so a run of hours takes
//! milliseconds.
//!
//! model_checking.rs covers every order of events, with a few requests and coarse times; this has many requests, fine
//! times, and says how often and how soon a thief is caught.

mod browser;
mod service;
mod thief;

use std::collections::BTreeMap;

use crate::support::rng::Rng;
use crate::support::{is_soak, print_figure};
use browser::{Browser, Habits};
use service::{MINUTE, Millis, Rules, SECOND};
use thief::{End, Owner, Strategy};

/// Refreshes of one browser.
const REFRESHES: usize = 400;

/// The lifetimes of access tokens.
const LIFETIMES: [Millis; 5] = [5 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE];

/// What became of some browsers.
#[derive(Default)]
struct Tally {
    refreshes: usize,
    browsers: usize,
    signed_out: usize,
    verdicts: BTreeMap<&'static str, usize>,
}

/// Browsers that refresh until there were this many refreshes.
fn browse(refreshes: usize, rules: Rules) -> Tally {
    let (mut rng, mut tally) = (Rng::fixed(1), Tally::default());
    while tally.refreshes < refreshes {
        let access_ttl = LIFETIMES[tally.browsers % LIFETIMES.len()];
        let habits = Habits { access_ttl, lost_percent: rng.below(31), hasty_percent: [0, 5, 50][rng.below(3)] };
        let mut browser = Browser::new(habits, rules, rng.part());
        browser.run(REFRESHES);
        tally.browsers += 1;
        tally.refreshes += browser.service.refreshes();
        tally.signed_out += usize::from(browser.is_signed_out);
        for (verdict, count) in browser.service.verdicts {
            *tally.verdicts.entry(verdict).or_default() += count;
        }
    }
    tally
}

#[test]
fn tabs_that_refresh_in_bursts_over_a_bad_network_stay_signed_in() {
    let tally = browse(if is_soak() { 1_000_000 } else { 40_000 }, Rules::AsWritten);
    print_figure(&format!(
        "{} refreshes of {} browsers, {} signed out: {:?}",
        tally.refreshes, tally.browsers, tally.signed_out, tally.verdicts
    ));
    assert_eq!(tally.signed_out, 0);
    let reached: Vec<_> = tally.verdicts.keys().copied().collect();
    assert_eq!(reached, ["reissue", "reissue parent", "replace", "replay", "rotate"]);
}

/// What the rule for young generations is for.
#[test]
fn tabs_lose_the_session_where_a_young_generation_is_rotated() {
    let tally = browse(8_000, Rules::WithoutYouth);
    print_figure(&format!("without it: {} of {} browsers signed out", tally.signed_out, tally.browsers));
    assert!(tally.signed_out * 2 > tally.browsers, "{} of {}", tally.signed_out, tally.browsers);
}

/// How often each end was reached, and the median time from the thief's first refresh to it.
fn rob(strategy: Strategy) -> BTreeMap<End, (usize, Millis)> {
    let runs = if is_soak() { 2_000 } else { 200 };
    let mut rng = Rng::fixed(2);
    let mut times: BTreeMap<End, Vec<Millis>> = BTreeMap::new();
    for _ in 0..runs {
        let (end, after) = Owner::new(rng.part()).robbed_by(strategy);
        times.entry(end).or_default().push(after);
    }
    let mut ends = BTreeMap::new();
    for (end, mut times) in times {
        times.sort_unstable();
        let median = times[times.len() / 2];
        print_figure(&format!("{strategy:?}: {end:?} in {} of {runs} runs, after {} s", times.len(), median / SECOND));
        ends.insert(end, (times.len(), median));
    }
    ends
}

#[test]
fn a_thief_who_uses_what_he_refreshes_is_caught() {
    let ends = rob(Strategy::Uses);
    assert_eq!(ends.keys().collect::<Vec<_>>(), [&End::Caught]);
}

#[test]
fn a_thief_who_hides_what_he_refreshes_is_caught_or_shut_out() {
    assert!(!rob(Strategy::Hides).contains_key(&End::LivesOn));
    assert!(!rob(Strategy::HidesAndTries).contains_key(&End::LivesOn));
}

#[test]
fn a_thief_who_only_renews_at_checks_is_caught_or_shut_out() {
    assert!(!rob(Strategy::Renews).contains_key(&End::LivesOn));
}

#[test]
fn a_thief_who_leapfrogs_within_two_minutes_is_caught_or_shut_out() {
    assert!(!rob(Strategy::Leapfrogs { within: 2 * MINUTE }).contains_key(&End::LivesOn));
}

/// A limit: a thief who refreshes just before the owner each time, and shows nothing until the owner has collected it, has what
/// the owner has.
#[test]
fn a_thief_who_leapfrogs_within_the_time_for_lost_answers_lives_on() {
    assert!(rob(Strategy::Leapfrogs { within: 55 * SECOND }).contains_key(&End::LivesOn));
}
