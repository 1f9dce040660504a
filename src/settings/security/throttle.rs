//! Throttle settings: waits after failed sign-ins, and rate limits of sign-ups, refreshes and writes. How failures are counted is
//! decided in core/defence/login_throttle.rs, how rates are limited in core/defence/rate_limit.rs.

use std::time::Duration;

use crate::settings::values::{InvalidValue, lifetime};

/// Settings of the throttle.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Throttle")]
pub struct ThrottleSettings {
    /// The number of consecutive failed sign-ins without a wait, per identifier. `off` only with TEST_MODE=true.
    #[arg(long, default_value = "5", value_parser = free_failures)]
    pub throttle_free_failures: FreeFailures,

    /// The wait after the next failure. It doubles with each further one.
    #[arg(long, default_value = "60s", value_parser = lifetime)]
    pub throttle_first_wait: Duration,

    /// The maximum wait.
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    pub throttle_longest_wait: Duration,

    /// The failed sign-ins of a client address, whatever account they aim at. 100/1h allows a burst of 100 and 100 more an hour,
    /// evenly; a device that has signed in before is not affected. `off` only with TEST_MODE=true.
    #[arg(long, default_value = "100/1h", value_parser = rate)]
    pub throttle_address: Rate,

    /// The rate limit of sign-ups and confirmations together, per client address, counted by each node. 30/1h allows a burst
    /// of 30, refilled evenly: one every two minutes. `off` only with TEST_MODE=true.
    #[arg(long, default_value = "30/1h", value_parser = rate)]
    pub throttle_sign_ups: Rate,

    /// The rate limit of refreshes per client address, which many users may share. As THROTTLE_SIGN_UPS: a burst that is
    /// refilled evenly, counted by each node. `off` only with TEST_MODE=true.
    #[arg(long, default_value = "1200/1m", value_parser = rate)]
    pub throttle_refreshes: Rate,

    /// The rate limit of an account's writes that are no sign-in, refresh or sign-out: changes of its profile, and by session
    /// changes of the password and ends of other sessions. A burst and its even refill, as in THROTTLE_SIGN_UPS. `off` only with
    /// TEST_MODE=true.
    #[arg(long, default_value = "60/1m", value_parser = rate)]
    pub write_rate: Rate,
}

impl ThrottleSettings {
    /// Invalid combinations. Only test suites may lift a limit.
    pub fn conflicts(&self, test_mode: bool) -> Vec<String> {
        let mut errors = Vec::new();
        if self.throttle_free_failures == FreeFailures::All && !test_mode {
            errors.push(
                "THROTTLE_FREE_FAILURES: off allows unlimited password guesses; use a number, or TEST_MODE=true in a test suite"
                    .to_owned(),
            );
        }
        let rates = [
            ("THROTTLE_ADDRESS", self.throttle_address),
            ("THROTTLE_SIGN_UPS", self.throttle_sign_ups),
            ("THROTTLE_REFRESHES", self.throttle_refreshes),
            ("WRITE_RATE", self.write_rate),
        ];
        for (name, rate) in rates {
            if rate == Rate::Off && !test_mode {
                errors
                    .push(format!("{name}: off removes the rate limit; use a rate, or TEST_MODE=true in a test suite"));
            }
        }
        if self.throttle_first_wait > self.throttle_longest_wait {
            errors.push(
                "THROTTLE_FIRST_WAIT: longer than THROTTLE_LONGEST_WAIT; use at most THROTTLE_LONGEST_WAIT".to_owned(),
            );
        }
        errors
    }
}

/// A rate limit: a number of requests per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// A token bucket of `burst` requests that refills evenly within the period.
    Limit {
        /// The burst: requests that may follow each other without a pause.
        burst: u32,
        /// The period in which an empty bucket is full again.
        period: Duration,
    },
    /// No limit.
    Off,
}

fn rate(text: &str) -> Result<Rate, InvalidValue> {
    if text == "off" {
        return Ok(Rate::Off);
    }
    let parsed = text.split_once('/').and_then(|(burst, period)| Some((burst.parse().ok()?, lifetime(period).ok()?)));
    match parsed {
        Some((burst, period)) if burst > 0 => Ok(Rate::Limit { burst, period }),
        _ => Err(InvalidValue::new(format!("{text:?} is not a valid rate; write NUMBER/DURATION, as in 30/1h"))),
    }
}

/// How many consecutive failures have no wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeFailures {
    /// This many.
    Some(u32),
    /// All: the throttle is off.
    All,
}

fn free_failures(text: &str) -> Result<FreeFailures, InvalidValue> {
    match text.parse() {
        Ok(count @ 1..=50) => Ok(FreeFailures::Some(count)),
        _ if text == "off" => Ok(FreeFailures::All),
        _ => Err(InvalidValue::new(format!("{text:?} is not a valid number of failures; use 1 to 50"))),
    }
}
