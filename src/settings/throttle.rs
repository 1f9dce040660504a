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
