//! How often a secret may be tried.

use std::time::Duration;

use super::values::lifetime;

/// Settings of the throttle.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Throttle")]
pub struct Throttle {
    /// Failed sign-ins in a row that cost nothing, by account and by client address. `off` only with TEST_MODE=true.
    #[arg(long, default_value = "5", value_parser = free)]
    pub throttle_free_failures: Free,

    /// The wait after the next failure; it doubles with each one more.
    #[arg(long, default_value = "60s", value_parser = lifetime)]
    pub throttle_first_wait: Duration,

    /// The longest wait.
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    pub throttle_longest_wait: Duration,

    /// Sign-ups that one client address may try: 30/1h. `off` only with TEST_MODE=true.
    #[arg(long, default_value = "30/1h", value_parser = rate)]
    pub throttle_sign_ups: Rate,

    /// Refreshes that one client address may ask for: many people may share it. `off` only with TEST_MODE=true.
    #[arg(long, default_value = "1200/1m", value_parser = rate)]
    pub throttle_refreshes: Rate,
}

impl Throttle {
    /// What contradicts itself; to lift a bound is for test suites only.
    pub fn contradictions(&self, test_mode: bool) -> Vec<String> {
        let mut faults = Vec::new();
        if self.throttle_free_failures == Free::All && !test_mode {
            faults.push("THROTTLE_FREE_FAILURES: off lets anybody guess for ever; use a number, or TEST_MODE=true in a test suite".into());
        }
        let rates = [("THROTTLE_SIGN_UPS", self.throttle_sign_ups), ("THROTTLE_REFRESHES", self.throttle_refreshes)];
        for (name, rate) in rates {
            if rate == Rate::Off && !test_mode {
                faults.push(format!("{name}: off bounds nothing; use a rate, or TEST_MODE=true in a test suite"));
            }
        }
        if self.throttle_first_wait > self.throttle_longest_wait {
            faults.push("THROTTLE_FIRST_WAIT: it is longer than THROTTLE_LONGEST_WAIT; make it the shorter one".into());
        }
        faults
    }
}

/// So many in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// At most.
    Limit {
        /// So many.
        most: u32,
        /// In this.
        within: Duration,
    },
    /// No bound.
    Off,
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "off" {
        return Ok(Rate::Off);
    }
    let read = text.split_once('/').and_then(|(most, within)| Some((most.parse().ok()?, lifetime(within).ok()?)));
    match read {
        Some((most, within)) if most > 0 => Ok(Rate::Limit { most, within }),
        _ => Err(format!("{text:?} is no rate; write a number and a span of time: 30/1h")),
    }
}

/// How many failures are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Free {
    /// So many.
    Some(u32),
    /// All: no throttle.
    All,
}

fn free(text: &str) -> Result<Free, String> {
    match text.parse() {
        Ok(count @ 1..=50) => Ok(Free::Some(count)),
        _ if text == "off" => Ok(Free::All),
        _ => Err(format!("{text:?} is no such number; use 1 to 50")),
    }
}
